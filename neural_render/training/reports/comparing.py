"""Runs of the disk, opened to be put side by side: only what was measured, and measured alike."""

from collections.abc import Sequence
from pathlib import Path

from neural_render.core.errors import EvaluationError, SettingError
from neural_render.evaluation.pages.comparison import LETTERS, MeasuredRun, check_alike
from neural_render.training.runs.folder import RunFolder


def opened_runs(folders: Sequence[str]) -> list[RunFolder]:
    """The runs in some folders; SettingError where they are not two or more different ones.

    CheckpointError where one of them is no run.
    """
    runs = [RunFolder.open(Path(folder)) for folder in folders]
    if len(runs) < 2:
        raise SettingError(
            f"{len(runs)} run folders were given, and two or more are compared: give them as words,"
            " such as python scripts/compare.py outputs/fox/A outputs/fox/B"
        )
    if len(runs) > len(LETTERS):
        raise SettingError(
            f"{len(runs)} run folders were given, and {len(LETTERS)} at most are compared: leave"
            " some out"
        )
    for place, run in enumerate(runs):
        if run in runs[:place]:
            raise SettingError(f"{run.path} was given twice: give each run folder once")
    return runs


def measured_runs(runs: Sequence[RunFolder]) -> list[MeasuredRun]:
    """What runs were measured by; EvaluationError where that means different things.

    Also where a run was trained further since. CheckpointError where one was never measured.
    """
    found = [
        MeasuredRun(
            name=name,
            record=run.measures(),
            curve=run.metrics_path,
            pictures=run.evaluation_path,
        )
        for name, run in zip(short_names([run.path for run in runs]), runs, strict=True)
    ]
    for run, measured in zip(runs, found, strict=True):
        if behind := run.unmeasured(measured.record):
            raise EvaluationError(f"{measured.name} {behind}")
    check_alike(found)
    return found


def short_names(paths: Sequence[Path]) -> list[str]:
    """The ends of different paths, two parts or as many more as tell them apart."""
    longest = max(len(path.parts) for path in paths)
    for count in range(2, longest + 1):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
