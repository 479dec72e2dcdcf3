"""Suite ``curve``: what quality a budget of seconds buys.

One run of ``train.py`` per budget, because batch, table size and learning rate follow from the
budget; the prototype likewise.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.options import BenchmarkOptions
from benchmarks.peers.prototype import Prototype
from benchmarks.processes import trained
from benchmarks.records import append, curve_plot, print_table, start
from neural_render.core.errors import SettingError

SECONDS = (15.0, 30.0, 60.0, 300.0)
HOLDOUT_EVERY = 10
# From here on the prototype's README takes more rows, and batches that rise, as ours do.
LONG_SECONDS = 90.0
FIGURES = ("psnr", "train_seconds", "train_cpu_seconds", "num_steps", "num_samples", "num_views")


def words_for(options: BenchmarkOptions, seconds: float) -> list[str]:
    """The settings of ``train.py`` for one budget."""
    words = {
        "capture.path": options.capture,
        "capture.max_side": options.max_side,
        "capture.holdout_every": HOLDOUT_EVERY if options.holdout else 0,
        "training.max_seconds": seconds,
        "training.clock": "cpu",
        "kernels.backend": options.backend,
        "kernels.threads": options.threads,
    }
    if options.precision != "auto":
        words["kernels.precision"] = options.precision
    quick = ["evaluation.ssim=false", "evaluation.flip=false"]
    return [f"{name}={value}" for name, value in words.items()] + quick


def ours(options: BenchmarkOptions) -> list[dict[str, Any]]:
    """The figures of every budget and the protocol they were measured by."""
    found = []
    for seconds in options.seconds or SECONDS:
        record = trained(words_for(options, seconds))
        split = {"split": record["protocol"]["split"]}
        found.append({"budget": seconds, **{name: record[name] for name in FIGURES}, **split})
        print(f"{seconds:g} s: {record['psnr']:.2f} dB", flush=True)
    return found


def prototype(options: BenchmarkOptions) -> list[dict[str, Any]]:
    """The prototype's figures after the same budgets, on its 8 of the test views."""
    found = []
    with tempfile.TemporaryDirectory() as work:
        capture = Path(options.capture).expanduser()
        ready = Prototype(Path(options.prototype), capture, Path(work))
        for seconds in options.seconds or SECONDS:
            long = seconds > LONG_SECONDS
            batch = {"batch": 1 << 16, "rising": 1 << 14} if long else {"batch": 1 << 14}
            figures = ready.train(seconds, log2_rows=18 if long else 17, **batch)
            found.append({"budget": seconds, "psnr": figures["psnr_of_8_views"], **figures})
    return found


def run(options: BenchmarkOptions) -> None:
    """Trains once per budget, prints, plots and records PSNR against seconds."""
    if not options.capture:
        raise SettingError("suite=curve needs capture=DIR, the folder of a capture.")
    if options.holdout and options.prototype:
        raise SettingError("the prototype holds nothing out: leave holdout or prototype out.")
    if 0 in options.seconds:
        raise SettingError("suite=curve needs seconds above 0.")
    resolved, threads = start(options.backend, options.threads, options.precision)
    sides = {"neural_render": ours(options)}
    if options.prototype:
        sides["prototype (8 of the views)"] = prototype(options)
    show(Path(options.capture).expanduser().name, sides, options.holdout)
    values = {
        "capture": Path(options.capture).expanduser().name,
        "precision": options.precision,
        "holdout": options.holdout,
        "results": sides,
    }
    print(append("curve", resolved, threads, values))


def show(capture: str, sides: Mapping[str, list[dict[str, Any]]], holdout: bool) -> None:
    """Prints and plots PSNR against the budget."""
    views = "views held out of training" if holdout else "test views"
    heads = ["CPU seconds per thread", *sides]
    budgets = [entry["budget"] for entry in next(iter(sides.values()))]
    rows = [
        [f"{budget:g}", *(f"{entries[place]['psnr']:.2f}" for entries in sides.values())]
        for place, budget in enumerate(budgets)
    ]
    print_table(f"PSNR in dB on {capture}'s {views}", heads, rows)
    series = {
        name: [(entry["budget"], entry["psnr"]) for entry in entries]
        for name, entries in sides.items()
    }
    name = f"curve_{capture}{'_holdout' if holdout else ''}"
    curve_plot(name, f"{capture}, {views}, seconds of CPU / threads", series, "PSNR, dB")
