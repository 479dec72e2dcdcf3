"""Takes a trained run away to other programs: as Gaussian splats."""

import os

# Idle threads of torch's OpenMP pool spin by default and would take the cores away from the
# kernels' own threads. OpenMP reads this once, when torch is loaded: hence before any import.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from pathlib import Path

from neural_render import config
from neural_render.captures.opening import open_capture
from neural_render.kernels.settings import start_kernels
from neural_render.training.films.views import has_views, load_views
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.splats.fitting import export_splats

COMMAND = config.Command(
    program="scripts/export.py",
    summary=str(__doc__),
    examples=(
        "python scripts/export.py format=splats                  # of the latest run, a .ply",
        "python scripts/export.py run=outputs/fox/... format=splats export.splats.count=300000",
        "python scripts/export.py format=splats lights.key=2     # a baked scene, relit",
    ),
    sections=("outputs", "run", "seed", "capture", "kernels", "export", "lights"),
    short={name: f"export.{name}" for name in ("format", "output")},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=True,
)


def main(settings: config.Settings) -> None:
    """Opens the run and the cameras of its capture, makes what is asked for, prints where it is."""
    _, _, device = start_kernels(settings.kernels)
    run = RunFolder.open(Path(settings.run))
    scene = load_for_rendering(run, device)
    if has_views(run.path):
        capture = load_views(run.path, scene.frame)
    else:
        capture = open_capture(settings.capture, progress=False, images=False)
    path = Path(settings.export.output or run.path / "exports" / "splats.ply")
    progress = sys.stderr.isatty()
    print(
        export_splats(
            scene,
            capture,
            settings.export,
            settings.lights,
            path,
            seed=settings.seed,
            progress=progress,
        )
    )


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
