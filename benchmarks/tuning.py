"""Settings tried against the defaults on photos held out of training, test views unseen.

Every variant is a run of ``train.py`` on the cpu clock for each capture and seed. Runs are
interleaved, the variant changing fastest, so that a change of the machine meets all alike.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.options import HELD_OUT, parsed, split_values
from benchmarks.processes import trained
from benchmarks.records import append, commit, print_table, start
from neural_render.core.errors import SettingError

BASE: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """What ``scripts/tune.py`` can be told beside the settings to try."""

    capture: tuple[str, ...] = ()
    seconds: float = 30.0
    steps: int = 0  # the budget instead of seconds
    seeds: tuple[int, ...] = (0,)
    every: int = field(default=10, metadata=HELD_OUT)  # photos that are held out
    grid: bool = False  # every combination of values, not one setting at a time
    fixed: str = ""  # settings of all runs, with blanks between them
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Options, and the settings of each variant, the unchanged base first."""

    options: TuningOptions
    variants: tuple[tuple[str, ...], ...]


def planned(arguments: Iterable[str]) -> Plan:
    """What the words ask for: a setting with a dot is tried, any other is an option."""
    words = list(arguments)
    tried = [word for word in words if "." in word.partition("=")[0]]
    options = parsed(TuningOptions, [word for word in words if word not in tried])
    if not options.capture:
        raise SettingError("give capture=DIR, or several captures with commas between them.")
    if not options.seeds:
        raise SettingError("give at least one seed, such as seeds=0,1.")
    return Plan(options=options, variants=variants_of(tried, options.grid))


def variants_of(tried: Sequence[str], grid: bool) -> tuple[tuple[str, ...], ...]:
    """The base, then one variant for each value, or with ``grid`` for each combination."""
    choices = []
    for word in tried:
        name, equals, text = word.partition("=")
        values = split_values(text)
        if not equals or not values:
            raise SettingError(f"{word} is not a setting to try; write {name}=value,value.")
        choices.append([f"{name}={value}" for value in values])
    if grid and choices:
        return (BASE, *itertools.product(*choices))
    return (BASE, *((word,) for words in choices for word in words))


def words_for(options: TuningOptions, capture: str, seed: int, variant: Sequence[str]) -> list[str]:
    """The settings of ``train.py`` for one run; those of the variant come last and win."""
    budget = (
        [f"training.num_steps={options.steps}"]
        if options.steps
        else [f"training.max_seconds={options.seconds}", "training.clock=cpu"]
    )
    return [
        f"capture.path={capture}",
        f"capture.holdout_every={options.every}",
        f"kernels.threads={options.threads}",
        f"seed={seed}",
        *budget,
        *("evaluation.ssim=false", "evaluation.flip=false"),
        *options.fixed.split(),
        *variant,
    ]


def run(
    plan: Plan, train_run: Callable[[Sequence[str]], dict[str, Any]] = trained
) -> dict[tuple[str, ...], dict[tuple[str, int], float]]:
    """PSNR by variant, then by capture and seed; every run is recorded as soon as it is done."""
    options = plan.options
    backend, threads = start("auto", options.threads)
    study = time.strftime("%Y-%m-%dT%H:%M:%S")
    found: dict[tuple[str, ...], dict[tuple[str, int], float]] = {}
    cases = itertools.product(options.seeds, options.capture, plan.variants)
    for seed, capture, variant in cases:
        began = commit()
        record = train_run(words_for(options, capture, seed, variant))
        name = Path(capture).name
        found.setdefault(variant, {})[name, seed] = record["psnr"]
        print(f"{name}, seed {seed}, {label(variant)}: {record['psnr']:.3f} dB", flush=True)
        values = {"study": study, "capture": name, "seed": seed, "variant": list(variant)}
        values |= {"fixed": options.fixed, "budget": options.steps or options.seconds}
        kept = ("psnr", "num_views", "num_steps", "num_samples", "train_cpu_seconds", "protocol")
        figures = {key: record[key] for key in kept}
        append("tuning", backend, threads, {**values, **figures}, began=began)
    return found


def label(variant: Sequence[str]) -> str:
    """The variant as it is shown."""
    return " ".join(variant) or "(defaults)"


def show(plan: Plan, found: dict[tuple[str, ...], dict[tuple[str, int], float]]) -> None:
    """Prints a line per variant: its PSNR, and its difference to the base at equal seeds."""
    captures = [Path(capture).name for capture in plan.options.capture]
    rows = []
    for variant, scores in found.items():
        differences = [score - found[BASE][case] for case, score in scores.items()]
        each = [mean(score for (name, _), score in scores.items() if name == c) for c in captures]
        rows.append(
            [
                label(variant),
                f"{mean(scores.values()):.3f}",
                *(f"{score:.3f}" for score in each if len(captures) > 1),
                f"{max(_spread(scores, name) for name in captures):.3f}",
                f"{mean(differences):+.3f}",
                f"{stdev(differences):.3f}" if len(differences) > 1 else "-",
            ]
        )
    heads = ["variant", "PSNR", *(captures if len(captures) > 1 else []), "spread over seeds"]
    print_table(
        f"PSNR in dB on training views held out, 1 in {plan.options.every}",
        [*heads, "to defaults", "its deviation"],
        rows,
    )


def _spread(scores: dict[tuple[str, int], float], capture: str) -> float:
    """The largest difference between the seeds of one capture."""
    own = [score for (name, _), score in scores.items() if name == capture]
    return max(own) - min(own)
