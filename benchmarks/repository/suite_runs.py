"""Suite ``tests``: the whole test suite again and again; which tests fail now and then, its time.

Each run is recorded as it ends, so a series that was stopped goes on where it was: what is shown is
of all runs at this commit, their time of those on this machine.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from xml.etree import ElementTree

from benchmarks.options import BenchmarkOptions
from benchmarks.records import ROOT, append, commit, lines, print_table
from neural_render.core.errors import UserError
from neural_render.kernels import dispatch

# As README.md tells it.
COMMAND = ("-m", "pytest", "-n", "auto")
NUM_SLOWEST = 10


class SuiteError(UserError):
    """A test suite that did not run."""


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """What one run of a test suite came to."""

    wall_seconds: float
    cpu_seconds: float
    passed: int
    skipped: int
    failed: tuple[str, ...]  # names
    slowest: dict[str, float]  # wall seconds of a test with its set-up and tear-down


def run(options: BenchmarkOptions) -> None:
    """Runs the suite ``runs=`` times, records each, and shows all runs at this commit."""
    for number in range(1, options.runs + 1):
        began = commit()
        found = suite_run(ROOT)
        append("tests", "auto", dispatch.usable_cores(), asdict(found), began=began)
        print(
            f"run {number} of {options.runs}: {found.passed} passed, {len(found.failed)} failed,"
            f" {found.skipped} skipped in {found.wall_seconds:.0f} s"
            f" ({found.cpu_seconds:.0f} s of CPU)",
            *found.failed,
            sep="\n  ",
            flush=True,
        )
    show(series())


def series() -> list[dict[str, Any]]:
    """All runs at the commit of the newest one; that alone where its code was not committed."""
    found = lines("tests")
    if not found or found[-1]["commit"].endswith("+"):
        return found[-1:]
    return [line for line in found if line["commit"] == found[-1]["commit"]]


def on_one_machine(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those runs whose times compare with the newest one's."""
    return [line for line in found if line["machine"] == found[-1]["machine"]]


def suite_run(folder: Path, command: Sequence[str] = COMMAND) -> SuiteRun:
    """One run of the tests in ``folder``; SuiteError where none ran."""
    with tempfile.TemporaryDirectory() as place:
        results = Path(place) / "results.xml"
        words = [*command, f"--junitxml={results}", "-o", "junit_family=xunit1"]
        began, before = perf_counter(), _children_cpu()
        # Programs keep their bytecode, as in .ci/run.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        wall, cpu = perf_counter() - began, _children_cpu() - before
        cases = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
    if not cases:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise SuiteError(f"no test ran in {folder}: pytest said {said[-1]}")
    seconds: defaultdict[str, float] = defaultdict(float)
    for case in cases:  # a test whose tear-down fails has two
        seconds[_name(case)] += float(case.get("time", 0.0))
    failed = {_name(case) for case in cases if _has(case, "failure", "error")}
    skipped = {_name(case) for case in cases if _has(case, "skipped")} - failed
    ended = [] if done.returncode in (0, 1) else [f"pytest, which ended with {done.returncode}"]
    return SuiteRun(
        wall_seconds=round(wall, 1),
        cpu_seconds=round(cpu, 1),
        passed=len(seconds) - len(failed) - len(skipped),
        skipped=len(skipped),
        failed=(*sorted(failed), *ended),
        slowest={name: round(spent, 2) for name, spent in _largest(seconds)},
    )


def show(found: Sequence[dict[str, Any]]) -> None:
    """Prints what recorded runs have in common: failures, time, and the slowest tests."""
    if not found:
        print("no run of the tests is recorded")
        return
    failures = Counter(name for line in found for name in line["failed"])
    timed = on_one_machine(found)
    wall, cpu = (median(line[f"{clock}_seconds"] for line in timed) for clock in ("wall", "cpu"))
    print(
        f"{len(found)} runs at {found[-1]['commit']}: {len(failures)} tests failed in some of them;"
        f" median {wall:.0f} s, {cpu:.0f} s of CPU"
    )
    for name, times in failures.most_common():
        print(f"  failed in {times} of {len(found)}: {name}")
    names = {name for line in timed for name in line["slowest"]}
    spent = {
        name: median(line["slowest"][name] for line in timed if name in line["slowest"])
        for name in names
    }
    rows = [[name, f"{each:.1f}"] for name, each in _largest(spent)]
    print_table("slowest tests", ["test", "s"], rows)


def _largest(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """The slowest tests, slowest first."""
    return sorted(seconds.items(), key=lambda entry: -entry[1])[:NUM_SLOWEST]


def _children_cpu() -> float:
    """CPU seconds of all processes that were started here, and by those, and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _name(case: ElementTree.Element) -> str:
    """A test by its file and name, as pytest takes it."""
    return f"{case.get('file', case.get('classname', ''))}::{case.get('name', '')}"


def _has(case: ElementTree.Element, *tags: str) -> bool:
    return any(case.find(tag) is not None for tag in tags)
