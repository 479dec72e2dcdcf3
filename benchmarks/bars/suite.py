"""Suite ``bars``: measures every bar again, row by row, and writes their table.

Each row is one command, run as it would be typed. What it leaves behind is read from the run's
``metrics.json`` or from the lines that it adds to ``benchmarks/records``; a line in
``records/bars.jsonl`` keeps the figures, and the table in ``benchmarks/README.md`` is made of the
newest line of each row.
"""

import json
import math
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import records
from benchmarks.bars.places import BarError, Places
from benchmarks.bars.records import Asked, Found, Row, figure_of
from benchmarks.bars.rows import ROWS
from benchmarks.bars.table import into_readme
from benchmarks.options import BenchmarkOptions
from benchmarks.processes import measures
from benchmarks.records import append, commit, lines
from neural_render.core.errors import SettingError
from neural_render.evaluation.machine import machine_description
from neural_render.kernels import dispatch

RECORDS = "bars"
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)  # exit codes of what was no measurement


def run(options: BenchmarkOptions) -> None:
    """Measures the rows that ``bars`` names, all without it, none with ``bars=none``."""
    wanted = chosen(options.bars)
    _refuse_unused(options)
    backend = dispatch.resolve("auto")
    threads = dispatch.usable_cores()
    for number, row in enumerate(wanted, start=1):
        if row.device and not torch.cuda.is_available():
            print(f"{row.name}: left out, it needs {row.device}", flush=True)
            continue
        places = Places.of(options, newest())
        print(f"{number} of {len(wanted)}, {row.name}: {row.command}", flush=True)
        began = commit()
        try:
            values = measured(row, places)
        except BarError as error:
            print(f"{row.name}: {error}", flush=True)
            continue
        append(RECORDS, backend, threads, values, began=began)
        for bar in row.asked:
            value = figure_of(values, bar.what)
            missed = "" if bar.met(value) else "  MISSED"
            print(f"  {bar.what}: {bar.told(value)} ({bar.wanted}){missed}", flush=True)
    print(into_readme(records.ROOT / "benchmarks" / "README.md", ROWS, newest()))


def _refuse_unused(options: BenchmarkOptions) -> None:
    """SettingError for an option that the commands of rows would not be given."""
    for name in ("backend", "threads", "precision"):
        value = getattr(options, name)
        if value != getattr(BenchmarkOptions(), name):
            raise SettingError(
                f"{name}={value} is not for suite=bars, whose commands run as they stand: leave it"
                " out, or give it to the row's own command."
            )


def chosen(names: tuple[str, ...]) -> tuple[Row, ...]:
    """The rows of these names, in the table's order; SettingError for a name that no row has."""
    known = {row.name for row in ROWS}
    if names == ("none",):
        return ()
    if unknown := [name for name in names if name not in known]:
        raise SettingError(f"bars={unknown[0]} is not one of {', '.join(sorted(known))}, none.")
    return tuple(row for row in ROWS if not names or row.name in names)


def newest() -> dict[str, dict[str, Any]]:
    """The newest line of each row that was measured."""
    return {line["row"]: line for line in lines(RECORDS)}


def measured(row: Row, places: Places) -> dict[str, Any]:
    """Runs the command of a row; its figures, cost and run folder.

    Without figures where it failed. BarError where it was stopped, or cannot be run here.
    """
    here = commit()
    before = {path: len(path.read_bytes()) for path in _record_files()}
    log = places.log(row.name)
    began = time.perf_counter()
    said, code, usage = _ran(words(row, places), log, places.environment)
    wall = time.perf_counter() - began
    last = records.ROOT / (said or ["none"])[-1]
    added = tuple(_added(before))
    folder = last if (last / "evaluation" / "metrics.json").is_file() else None
    if code in STOPPED:
        raise BarError(f"the command was stopped (exit code {code}), nothing is kept: see {log}")
    if code != 0:
        print(f"{row.name}: the command failed (exit code {code}): see {log}", flush=True)
    record: Mapping[str, Any] = measures(folder) if folder else (added[-1] if added else {})
    found = Found(
        record=record,
        lines=added,
        code=code,
        wall=wall,
        peak_gib=usage.ru_maxrss / 2**20,  # of kibibytes; at least what this process has itself
        earlier=newest(),
        said=tuple(said),
        commit=here,
        machine=machine_description(),
    )
    of = places.commit_of_run(row.command)
    return {
        "row": row.name,
        "command": row.command,
        "figures": {bar.what: _figure(bar, found) for bar in row.asked},
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "run": said[-1] if folder and code == 0 else "",
        **({"of": of} if of is not None else {}),
        **({"failed": code} if code != 0 else {}),
    }


def _ran(
    command: list[str], log: Path, environment: Mapping[str, str]
) -> tuple[list[str], int, resource.struct_rusage]:
    """The lines that a command printed, its exit code and what it and its children took."""
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            cwd=records.ROOT,
            env={**os.environ, **environment},
        )
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        file.write(said)
    return said.strip().splitlines(), process.returncode, usage


def _figure(bar: Asked, found: Found) -> float | None:
    """A figure; nothing where it is not known, as those of a command that failed are not."""
    if found.code != 0 and not bar.is_exit_code:
        return None
    value = bar.figure(found)
    return value if math.isfinite(value) else None


def words(row: Row, places: Places) -> list[str]:
    """The command as the system takes it."""
    first, *others = (places.filled(word) for word in shlex.split(row.command))
    if first == "python":
        return [sys.executable, *others]
    found = shutil.which(first)
    if found is None:
        raise BarError(f"{first} is not installed")
    return [found, *others]


def _record_files() -> list[Path]:
    folder = records.ROOT / "benchmarks" / "records"
    return [path for path in sorted(folder.glob("*.jsonl")) if path.stem != RECORDS]


def _added(before: Mapping[Path, int]) -> list[dict[str, Any]]:
    """The lines that stand behind the sizes that files had before."""
    found = []
    for path in _record_files():
        text = path.read_bytes()[before.get(path, 0) :].decode("utf-8")
        found += [json.loads(line) for line in text.splitlines() if line]
    return sorted(found, key=lambda line: line["time"])
