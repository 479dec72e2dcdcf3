"""Suite ``processes``: the same steps in one process and shared by several, on this machine.

They draw the same rays, so that what differs is rounding and the samples that roulette leaves out:
enough for runs to part after some dozens of steps. How far one process parts from itself is told by
a third run, whose roulette is different by next to nothing. On a machine whose cores one process
uses already, several are slower by what they exchange.
"""

from statistics import mean
from typing import Any

from benchmarks.options import BenchmarkOptions
from benchmarks.processes import trained
from benchmarks.records import append, print_table, start
from neural_render.core.errors import SettingError

ROULETTE = 0.5001  # beside the default of 0.5


def run(options: BenchmarkOptions) -> None:
    """Trains with each seed in one process and in several; shows and records both."""
    if options.processes < 2 or options.steps < 1:
        raise SettingError("suite=processes compares one process with 2 or more, after some steps.")
    resolved, threads = start(options.backend, options.threads, options.precision)
    words = [
        f"training.num_steps={options.steps}",
        f"kernels.backend={options.backend}",
        f"kernels.precision={options.precision}",
        f"kernels.threads={options.threads}",
        "evaluation.flip=false",
        "capture.check=off",
        *([f"capture.path={options.capture}"] if options.capture else []),
    ]
    found = [compared(words, seed, options.processes) for seed in options.seeds]
    rows = [
        [
            f"seed {pair['seed']}",
            f"{pair['one']['psnr']:.3f}",
            f"{pair['several']['psnr']:.3f}",
            f"{pair['several']['psnr'] - pair['one']['psnr']:+.3f}",
            f"{pair['again']['psnr'] - pair['one']['psnr']:+.3f}",
            f"{pair['several']['train_seconds'] / pair['one']['train_seconds']:.2f}",
        ]
        for pair in found
    ]
    away = [
        mean(pair[side]["psnr"] - pair["one"]["psnr"] for pair in found)
        for side in ("several", "again")
    ]
    heads = ["", "one", f"{options.processes} processes", "PSNR", "one again", "seconds"]
    title = f"{options.steps} steps, mean difference {away[0]:+.3f} dB, of one again {away[1]:+.3f}"
    print_table(title, heads, rows)
    told = {"processes": options.processes, "steps": options.steps, "capture": options.capture}
    print(append("processes", resolved, threads, {**told, "results": found}))


def compared(words: list[str], seed: int, processes: int) -> dict[str, Any]:
    """The figures of both ways to train with a seed, and of one process again."""
    given = [*words, f"seed={seed}"]
    kept = ("psnr", "ssim", "train_seconds", "num_rays", "num_samples")
    sides = {
        "one": trained(given),
        "several": trained(given, processes),
        "again": trained([f"training.roulette={ROULETTE}", *given]),
    }
    figures = {name: {key: side[key] for key in kept} for name, side in sides.items()}
    return {"seed": seed, **figures}
