"""Takes a trained run to other programs: as a mesh, points, a volume, splats or cameras."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from pathlib import Path

from neural_render import config
from neural_render.core.waiting.patience import told_if_slow
from neural_render.kernels.settings import start_kernels
from neural_render.training.exporting.formats import FORMS
from neural_render.training.exporting.job import ExportJob
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.sources.views import views_of

COMMAND = config.Command(
    program="scripts/export.py",
    summary=str(__doc__),
    examples=(
        "python scripts/export.py                                 # the latest run as mesh.glb",
        "python scripts/export.py run=outputs/fox/... format=mesh export.mesh.file=obj",
        "python scripts/export.py format=points export.points.count=200000 output=fox.ply",
        "python scripts/export.py format=volume export.volume.resolution=512",
        "python scripts/export.py format=splats export.splats.count=300000",
        "python scripts/export.py format=cameras                  # COLMAP and transforms.json",
        "python scripts/export.py format=mesh lights.key=2        # a baked scene, relit",
    ),
    sections=("outputs", "run", "capture", "kernels", "export", "lights"),
    short={name: f"export.{name}" for name in ("format", "output")},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=True,
    place="export.output",
    without=config.settings_below(
        "capture.adjust", "capture.check", "capture.memory", "capture.memory_limit_gb"
    ),
)


def main(settings: config.Settings) -> None:
    """Opens the run and its cameras, makes the form that is asked for, prints the files."""
    _, _, device = start_kernels(settings.kernels)
    run = RunFolder.open(Path(settings.run))
    scene = load_for_rendering(run, device)
    job = ExportJob(
        run=run,
        scene=scene,
        capture=views_of(run.path, scene, settings.capture),
        settings=settings.export,
        lights=settings.lights,
        seed=settings.seed,
        progress=sys.stderr.isatty(),
    )
    with told_if_slow(f"exporting {settings.export.format}"):
        for path in FORMS[settings.export.format](job):
            print(path)


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
