"""Records of measurements: JSON lines with commit, machine and backend; tables and plots."""

import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from neural_render.core.errors import UserError
from neural_render.evaluation.machine import machine_description
from neural_render.kernels import dispatch

ROOT = Path(__file__).resolve().parent.parent
ABOUT = ("benchmarks/records", "benchmarks/README.md", "CHANGELOG.md")  # the code, and none


_begun = ""  # the commit of which this process began to measure


class RecordError(UserError):
    """A record that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Medians of repeated runs of one call: wall seconds, and process CPU seconds per thread."""

    wall: float
    cpu: float


def timed(
    call: Callable[..., Any],
    repeats: int,
    threads: int,
    prepare: Callable[[], Any] | None = None,
) -> Cost:
    """The cost of ``call``, after one run to warm up.

    With ``prepare`` the call gets what that returned, made anew for each run and not timed.
    """
    runs = []
    for _ in range(repeats + 1):
        arguments = (prepare(),) if prepare else ()
        runs.append(spent(lambda given=arguments: call(*given), threads))
    return _median(runs[1:])


def rates_of(costs: Mapping[str, Cost], batch: int) -> dict[str, Any]:
    """The figures of one step of so many samples, and what its parts would do alone."""
    rates = {name: batch / cost.cpu / 1e6 for name, cost in costs.items()}
    return {
        "million_samples_per_second": rates["step"],
        "seconds": costs["step"].cpu,
        "wall_seconds": costs["step"].wall,
        "steps": 1,
        "parts": rates,
    }


def timed_in_turn(
    calls: Mapping[str, Callable[[], Any]], repeats: int, threads: int
) -> dict[str, Cost]:
    """The cost of each call, after one run to warm up.

    They take turns, so that a change of the machine meets all alike.
    """
    runs: dict[str, list[Cost]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            runs[name].append(spent(call, threads))
    return {name: _median(costs[1:]) for name, costs in runs.items()}


def spent(call: Callable[[], Any], threads: int) -> Cost:
    """What one run of a call took."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(wall=time.perf_counter() - wall, cpu=(time.process_time() - cpu) / threads)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(wall=median(cost.wall for cost in costs), cpu=median(cost.cpu for cost in costs))


def commit() -> str:
    """The last commit that changed more than `ABOUT`, with ``+`` where such files differ from it.

    Files that git neither tracks nor ignores differ, too. So what is measured again after records
    were committed is of the same code. "" outside a checkout.
    """
    what = ["--", ":/", *(f":(top,exclude){name}" for name in ABOUT)]
    last = _git("log", "-1", "--format=%h", *what)
    return last + ("+" if _git("status", "--porcelain", "--untracked-files=all", *what) else "")


def _git(*words: str) -> str:
    """What git says of the checkout; "" where there is none, or no git."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *words], capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip()


def begin() -> str:
    """Keeps the commit of now as that of all that is measured from here on, and gives it."""
    global _begun
    _begun = commit()
    return _begun


def _label(began: str) -> str:
    """A commit, with ``+`` where the code is no longer exactly that."""
    now = commit()
    return now if began in ("", now) else began.removesuffix("+") + "+"


def append(
    suite: str, backend: str, threads: int, values: dict[str, Any], *, began: str = ""
) -> Path:
    """Adds one line to ``benchmarks/records/<suite>.jsonl`` and gives its path.

    ``began`` is the commit of before the work, where that is not the one that `begin` kept.
    """
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "commit": _label(began or _begun),
        "machine": machine_description(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "backend": backend,
        "threads": threads,
        **values,
    }
    path = ROOT / "benchmarks" / "records" / f"{suite}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    return path


def lines(suite: str) -> list[dict[str, Any]]:
    """What ``append`` has written for a suite so far."""
    path = ROOT / "benchmarks" / "records" / f"{suite}.jsonl"
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise RecordError(
                f"line {number} of {path} is not JSON ({error.msg}): delete that line"
            ) from error
    return found


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under their heads, the first column left-aligned."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    print(title)
    for row in [heads, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells[1:]]))


def start(backend: str, threads: int, precision: str = "auto") -> tuple[str, int]:
    """Selects a backend; gives its name and threads. One torch thread beside C++ kernels."""
    threads = threads or dispatch.usable_cores()
    # The reference defines every op in the numbers it is given: no choice is left to it.
    resolved = dispatch.select(backend, threads, "auto" if backend == "reference" else precision)
    torch.set_num_threads(1 if resolved == "cpu" else threads)
    return resolved, threads


def bar_plot(name: str, title: str, values: Mapping[str, float], unit: str) -> None:
    """Writes ``plots/<name>.png`` with one labelled bar per value, and says where."""
    figure, axes = _figure(name, 0.45 * len(values) + 1.6)
    if figure is None:
        return
    bars = axes.barh(list(values), list(values.values()), color="#4477aa")
    axes.bar_label(bars, fmt=" %.3g")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(title=title, xlabel=unit)
    _save(figure, name)


def curve_plot(
    name: str, title: str, series: Mapping[str, Sequence[tuple[float, float]]], y_label: str
) -> None:
    """Writes ``plots/<name>.png``: y over seconds (logarithmic), every point with its number."""
    figure, axes = _figure(name, 5.0)
    if figure is None:
        return
    for place, (label, points) in enumerate(series.items()):
        x, y = zip(*points, strict=True)
        (line,) = axes.plot(x, y, "o-", label=label)
        for point in points:
            below = (0, 8) if place == 0 else (0, -15)
            style = {"ha": "center", "fontsize": 9, "color": line.get_color()}
            axes.annotate(f"{point[1]:.2f}", point, below, textcoords="offset points", **style)
    ticks = sorted({x for points in series.values() for x, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    axes.set(title=title, xlabel="seconds of training", ylabel=y_label)
    _save(figure, name)


def _figure(name: str, height: float) -> tuple[Any, Any]:
    """A figure and its axes; nothing, and a line that says so, where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no plot of {name}: matplotlib is not installed")
        return None, None
    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, name: str) -> None:
    path = ROOT / "benchmarks" / "plots" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(path)
