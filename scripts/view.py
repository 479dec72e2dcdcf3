"""Shows a trained run in a browser: fly through it, relight it, make camera paths for render.py."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from pathlib import Path

from neural_render import config
from neural_render.kernels.settings import start_kernels
from neural_render.training.packages.opening import open_scene
from neural_render.training.watching.stages import trained_stage
from neural_render.training.watching.surroundings import opened_surroundings
from neural_render.viewer.server import load_viser
from neural_render.viewer.viewer import Viewer

COMMAND = config.Command(
    program="scripts/view.py",
    summary=str(__doc__),
    examples=(
        "python scripts/view.py                                  # the latest run",
        "python scripts/view.py run=outputs/fox/2026-01-31_12-00-00 port=8090",
        "python scripts/view.py run=lego.nrpack                  # a package of a run",
        "python scripts/view.py host=0.0.0.0                     # for everyone on the network",
        "python render.py path=outputs/latest/paths/flight.json  # a path that was saved there",
    ),
    sections=("outputs", "run", "capture", "kernels", "viewer"),
    short={name: f"viewer.{name}" for name in ("host", "port")},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=True,
    place="",
    without=config.settings_below("capture.adjust", "capture.check", "capture.memory"),
)


def main(settings: config.Settings) -> None:
    """Opens the run, or a package, and its cameras, serves the page until Ctrl-C."""
    load_viser()
    _, _, device = start_kernels(settings.kernels)
    opened = open_scene(Path(settings.run), device)
    capture = opened.refined_views(settings.capture)
    surroundings = opened_surroundings(opened, capture, settings.capture)
    background, has_opacity = settings.evaluation.background, capture.has_opacity
    stage = trained_stage(opened.scene, background, has_opacity=has_opacity)
    with Viewer(stage, surroundings, settings.viewer) as viewer:
        viewer.run()


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
