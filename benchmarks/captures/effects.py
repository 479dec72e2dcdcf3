"""Suite ``settings``: what each setting for photographs changes on photos held out of training.

Each run is one of ``train.py`` on the cpu clock, with the defaults or with one setting changed.
What is fitted to held-out views is the same on both sides of each difference. Runs that the records
hold already of the same commit are not made again.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import processes, records
from benchmarks.captures.changes import EVERY_FIT, WATCHED, Change, changes, default_of
from benchmarks.options import BenchmarkOptions
from benchmarks.processes import LeftOut
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import SettingError
from neural_render.evaluation.machine import machine_description
from neural_render.evaluation.protocol import check_comparable

SECONDS, MAX_SIDE = 40.0, 480  # where the options say nothing
DATA = "NEURAL_RENDER_DATA"
RECORDS = "photo_settings"
# What a recorded run must share with one that is asked for, to stand for it.
KEY = ("commit", "machine", "backend", "precision", "threads", "seconds", "max_side", "every")
CASE = ("capture", "words", "seed")
FIGURES = ("num_views", "num_steps", "num_samples", "train_seconds", "train_cpu_seconds")
Measure = Callable[[Sequence[str], Sequence[Sequence[str]]], list[dict[str, Any]]]
Found = Mapping[tuple[str, tuple[str, ...]], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run: the capture, what differs from the defaults, and how it is measured."""

    path: Path
    name: str  # of the change
    words: tuple[str, ...]
    fits: tuple[str, ...]
    seed: int

    @property
    def key(self) -> tuple[Any, ...]:
        """The case as records name it."""
        return (self.path.name, self.words, self.seed)


def run(options: BenchmarkOptions, measure: Measure = processes.measured) -> None:
    """Makes the runs that the records lack, shows all of them, and records each when it ends."""
    if len(options.seconds) > 1 or 0 in options.seconds:
        raise SettingError("suite=settings takes one number of seconds, above 0.")
    if not options.seeds:
        raise SettingError("give at least one seed, such as seeds=0.")
    chosen, captures = changes(options.settings), opened(options)
    backend, threads = records.start(options.backend, options.threads, options.precision)
    shared = {
        "commit": records.commit(),
        "machine": machine_description(),
        "backend": backend,
        "precision": options.precision,
        "threads": threads,
        "seconds": options.seconds[0] if options.seconds else SECONDS,
        "max_side": options.max_side or MAX_SIDE,
        "every": options.every,
    }
    cases = cases_of(chosen, captures, options.seeds)
    known = recorded(shared)
    lacking = [case for case in cases if not set(case.fits) <= known.get(case.key, {}).keys()]
    print(f"{len(cases)} runs, of which the records hold {len(cases) - len(lacking)}", flush=True)
    for place, case in enumerate(lacking):
        label = f"{place + 1} of {len(lacking)}: {case.path.name}, seed {case.seed}, {case.name}"
        began = records.commit()
        try:
            results = measure(words_for(case, shared), [_measuring(fit) for fit in case.fits])
        except LeftOut as error:
            print(f"{label}: left out: {error}", flush=True)
            continue
        figures = _kept(case, results)
        about = {key: value for key, value in shared.items() if key != "commit"}
        values = {**about, **dict(zip(CASE, case.key, strict=True)), **figures}
        values["defaults"] = {key: default_of(key) for key in WATCHED}
        records.append(RECORDS, backend, threads, values, began=began)
        known[case.key] = figures["results"]
        scores = [f"{score['psnr']:.2f} dB (fit {fit})" for fit, score in known[case.key].items()]
        print(f"{label}: {', '.join(scores)}", flush=True)
    found: dict[tuple[str, tuple[str, ...]], list[Mapping[str, Any]]] = {}
    for case in cases:
        if case.key in known:
            found.setdefault((case.path.name, case.words), []).append(known[case.key])
    print(table(chosen, captures, found))


def opened(options: BenchmarkOptions) -> dict[Path, Capture]:
    """The captures by their folders; a name may be of the real data's."""
    given = options.captures or (options.capture,)
    found: dict[Path, Capture] = {}
    for name in given:
        path = Path(name)
        if name and not path.exists() and os.environ.get(DATA):
            path = Path(os.environ[DATA]) / name
        settings = CaptureSettings(
            path=str(path) if name else "",
            max_side=options.max_side or MAX_SIDE,
            holdout_every=options.every,
        )
        capture = open_capture(settings, progress=False)
        folder = path.resolve() if name else capture.path
        if folder.name in {other.name for other in found}:
            raise SettingError(
                f"captures={','.join(given)}: two are called {folder.name}, by which records tell"
                " them apart; measure one, or rename it."
            )
        found[folder] = capture
    return found


def cases_of(
    chosen: Sequence[Change], captures: Mapping[Path, Capture], seeds: Sequence[int]
) -> list[Case]:
    """All runs: the defaults first, with two seeds at least, then change after change."""
    several = seeds if len(set(seeds)) > 1 else (*seeds, max(seeds) + 1)
    cases = [
        Case(path=path, name="(defaults)", words=(), fits=EVERY_FIT, seed=seed)
        for seed in several
        for path in captures
    ]
    for seed in seeds:
        for change in chosen:
            for path, capture in captures.items():
                if words := change.words(capture):
                    cases.append(
                        Case(path=path, name=change.name, words=words, fits=change.fits, seed=seed)
                    )
    return cases


def words_for(case: Case, shared: Mapping[str, Any]) -> list[str]:
    """The settings of ``train.py`` for one run; those of the change come last and win."""
    precision = shared["precision"]
    return [
        f"capture.path={case.path}",
        f"capture.max_side={shared['max_side']}",
        f"capture.holdout_every={shared['every']}",
        "capture.check=off",
        f"kernels.backend={shared['backend']}",
        f"kernels.threads={shared['threads']}",
        *([f"kernels.precision={precision}"] if precision != "auto" else []),
        f"seed={case.seed}",
        f"training.max_seconds={shared['seconds']:g}",
        "training.clock=cpu",
        *case.words,
    ]


def _measuring(fit: str) -> list[str]:
    return [f"evaluation.fit={fit}", "evaluation.flip=false"]


def _kept(case: Case, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a record holds of a run beside its case: costs, and scores by what was fitted."""
    scores = {
        fit: {name: result[name] for name in ("psnr", "ssim", "protocol")}
        for fit, result in zip(case.fits, results, strict=True)
    }
    figures = {name: results[0][name] for name in FIGURES}
    return {"change": case.name, **figures, "results": scores}


def recorded(shared: Mapping[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Scores by case of runs that were made alike, while the defaults were as they are now.

    Nothing of code that is not committed, which may be other code each time.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    if shared["commit"].endswith("+"):
        return found
    for line in records.lines(RECORDS):
        alike = all(line[key] == shared[key] for key in KEY)
        defaults = {key: value for key, value in line["defaults"].items() if key in WATCHED}
        if alike and all(default_of(key) == value for key, value in defaults.items()):
            place = (line["capture"], tuple(line["words"]), line["seed"])
            found[place] = found.get(place, {}) | line["results"]
    return found


def table(chosen: Sequence[Change], captures: Mapping[Path, Capture], found: Found) -> str:
    """Markdown: the defaults' PSNR and how much seeds change it, then differences to its mean."""
    names = [path.name for path in captures]
    lines = [
        _row("setting", "fitted to held-out views", names),
        _row("---", "---", ["---:"] * len(names)),
    ]
    for fit in EVERY_FIT:
        scores = [[run[fit] for run in found.get((name, ()), ())] for name in names]
        lines.append(_row("(defaults)", fit, [_level(runs) for runs in scores]))
    for change in chosen:
        words = {path.name: change.words(capture) for path, capture in captures.items()}
        distinct = dict.fromkeys(" ".join(each) for each in words.values() if each)
        if not distinct:
            continue
        shown = " / ".join(f"`{text}`" for text in distinct)
        for fit in change.fits:
            cells = [_cell(found, name, words[name], fit) for name in names]
            lines.append(_row(shown, fit, cells))
    notes = (
        "Defaults: PSNR in dB, SSIM, and in brackets the largest minus the smallest PSNR of the"
        " seeds. Others: differences to the mean of the defaults; =: the capture has nothing to"
        " change; -: no run."
    )
    return "\n".join([*lines, "", notes])


def _row(first: str, second: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([first, second, *cells])} |"


def _level(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return "-"
    psnr = [run["psnr"] for run in runs]
    ssim = mean(run["ssim"] for run in runs)
    return f"{mean(psnr):.2f}, {ssim:.3f} ({max(psnr) - min(psnr):.2f})"


def _cell(found: Found, name: str, words: tuple[str, ...], fit: str) -> str:
    """The difference that a change makes to a capture."""
    if not words:
        return "="
    base, runs = (
        [run[fit] for run in found.get((name, given), ()) if fit in run] for given in ((), words)
    )
    if not base or not runs:
        return "-"
    sides = {f"{name} with the defaults": base[0], f"{name} with {' '.join(words)}": runs[0]}
    check_comparable({side: _without_start(score) for side, score in sides.items()})
    psnr, ssim = (mean(r[key] for r in runs) - mean(b[key] for b in base) for key in _SCORES)
    return f"{psnr:+.2f}, {ssim:+.3f}"


_SCORES = ("psnr", "ssim")


def _without_start(score: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol, but for where fits begin: that is what is compared."""
    protocol = {k: v for k, v in score["protocol"].items() if k not in ("pose", "appearance")}
    return {"protocol": protocol}
