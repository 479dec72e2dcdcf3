"""Renders new views of a run or a package: videos, pictures, layers, depths; through any lens."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from pathlib import Path

from neural_render import config
from neural_render.core.errors import SettingError
from neural_render.core.processes import group
from neural_render.export.settings import OUTPUTS, outputs_of
from neural_render.kernels.settings import start_kernels
from neural_render.training.packages.opening import open_scene
from neural_render.training.runs.results import Results

COMMAND = config.Command(
    program="render.py",
    summary=str(__doc__),
    examples=(
        "python render.py                                    # a video around the latest run",
        "python render.py run=outputs/fox/2026-01-31_12-00-00 path=spiral size=1280x720",
        "python render.py path=test output=frames            # the test views, depth and opacity",
        "python render.py path=flight.json output=video,exr  # keyframes, interpolated",
        "python render.py render.lens.aperture=0.05 render.shutter=0.5    # as a film camera blurs",
        "python render.py camera=panorama render.stereo.layout=top_bottom render.stereo.eyes=0.064",
        "python render.py render.backdrop=transparent render.video.codec=prores4444",
        "python render.py lights.key=2 'lights.environment=[0.2,0.3,0.6]'  # a baked scene, relit",
        "python render.py run=lego.nrpack size=400x400       # a package of a run, on any machine",
        "python render.py 'render.light_at=[0,-1,0.5]' render.exposure=-1  # a light that moves",
    ),
    sections=("outputs", "run", "capture", "kernels", "render", "lights"),
    short={
        name: f"render.{name}" for name in ("path", "output", "size", "frames", "fps", "camera")
    },
    configs=Path(__file__).resolve().parent / "configs",
    needs_run=True,
    shares=True,
    place="",
    without=config.settings_below(
        "capture.adjust", "capture.check", "capture.memory", "capture.memory_limit_gb"
    ),
)


def main(settings: config.Settings) -> None:
    """Opens the run, or a package, and its cameras, renders the path, prints what was written."""
    if not outputs_of(settings.render):
        raise SettingError(
            "render.output=none, which is said here or was said in training, asks for no picture:"
            f" give one or more of {', '.join(OUTPUTS)}, such as output=video."
        )
    _, _, device = start_kernels(config.own_kernels(settings.kernels))
    opened = open_scene(Path(settings.run), device)
    results = Results(
        run=opened.home,
        scene=opened.scene,
        capture=opened.views(settings.capture),
        background=settings.evaluation.background,
    )
    for path in results.film(settings.render, settings.lights, progress=group.shows_progress()):
        print(path)


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
