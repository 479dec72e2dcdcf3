"""Makes one small file of a run, which render.py, the viewer and Python open on any machine."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from pathlib import Path

from neural_render import config
from neural_render.kernels.settings import start_kernels
from neural_render.training.packages.making import Original, make_package, summary
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.sources.views import views_of

COMMAND = config.Command(
    program="scripts/package.py",
    summary=str(__doc__),
    examples=(
        "python scripts/package.py                               # the latest run",
        "python scripts/package.py run=outputs/lego/... output=lego.nrpack",
        "python scripts/package.py max_loss_db=0.2               # smaller, and a little worse",
        "python render.py run=lego.nrpack                        # what it is for",
    ),
    sections=("outputs", "run", "capture", "kernels", "evaluation", "package"),
    short={name: f"package.{name}" for name in ("output", "max_loss_db")},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=True,
    place="package.output",
    without=(
        *config.settings_below("capture.adjust", "capture.check"),
        *(key for key in config.settings_below("evaluation") if key != "evaluation.background"),
    ),
)


def main(settings: config.Settings) -> None:
    """Opens the run and its photos, packages it, says what that cost, prints the file's path."""
    progress = sys.stderr.isatty()
    _, _, device = start_kernels(settings.kernels)
    run = RunFolder.open(Path(settings.run))
    scene = load_for_rendering(run, device)
    original = Original(
        run=run,
        scene=scene,
        capture=views_of(run.path, scene, settings.capture, images=True, progress=progress),
        background=settings.evaluation.background,
    )
    made = make_package(original, settings.package, progress=progress)
    print(summary(made))
    print(made.file.path)


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
