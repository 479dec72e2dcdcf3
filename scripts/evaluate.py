"""Measures a finished run anew on its test views, as evaluation.* asks."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from pathlib import Path

from neural_render import config
from neural_render.kernels.settings import start_kernels
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.runs.results import Results, summary
from neural_render.training.sources.views import check_made_from, views_of

COMMAND = config.Command(
    program="scripts/evaluate.py",
    summary=str(__doc__),
    examples=(
        "python scripts/evaluate.py                              # the latest run, as it is",
        "python scripts/evaluate.py run=outputs/can/... evaluation.fit=pose",
    ),
    sections=("outputs", "run", "capture", "kernels", "evaluation"),
    short={},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=True,
    without=config.settings_below("capture.adjust", "capture.check"),
)


def main(settings: config.Settings) -> None:
    """Opens the run and its capture, measures, and writes evaluation/ and report.html anew."""
    progress = sys.stderr.isatty()
    check_made_from("photos", settings.run)
    _, _, device = start_kernels(settings.kernels)
    run = RunFolder.open(Path(settings.run))
    scene = load_for_rendering(run, device)
    results = Results(
        run=run,
        scene=scene,
        capture=views_of(run.path, scene, settings.capture, images=True, progress=progress),
        background=settings.evaluation.background,
    )
    record = results.measure(settings.evaluation, progress=progress)
    results.report(record, config.changed_settings(settings))
    print(summary(record, run.report_path, ()))
    print(run.path)


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
