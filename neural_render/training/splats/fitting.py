"""The loop that fits splats to a trained scene's own renders, and the file that comes of it."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from neural_render.captures.records import Capture
from neural_render.core.cameras import Cameras
from neural_render.core.errors import OutputError
from neural_render.core.files import check_draft
from neural_render.core.waiting.patience import told_if_slow
from neural_render.export.formats import ExportSettings
from neural_render.export.splats.ply import write_splats
from neural_render.export.splats.settings import SplatSettings
from neural_render.kernels import dispatch
from neural_render.kernels.splats import ops
from neural_render.kernels.splats.records import Splats
from neural_render.rendering import Image
from neural_render.training.randomness import generator_for
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.sources.held_out import refined
from neural_render.training.splats.growth import MOVED_EVERY, MOVED_UNTIL, Growth
from neural_render.training.splats.parameters import SplatParameters
from neural_render.training.splats.surfaces import (
    Places,
    all_places,
    flat_splats,
    places_seen,
    spacing,
)
from neural_render.training.splats.views import (
    FieldViews,
    appearance,
    fitting_cameras,
    render_views,
)
from neural_render.training.stopping import SIGNALS, StopSignals, TrainingInterrupted

DELTA = 0.05  # where the loss turns from squares to absolute values
SAVE_EVERY = 1000  # steps
SPARE_PLACES = 3  # for each splat, to move to
SMOOTHING = 0.98  # of the figure that the progress bar shows

_log = logging.getLogger("neural_render")


def export_splats(
    scene: TrainedScene,
    capture: Capture,
    settings: ExportSettings,
    lights: Mapping[str, Any],
    path: Path,
    *,
    seed: int = 0,
    progress: bool = False,
) -> Path:
    """``path``, a PLY of splats fitted to what the scene's cameras see of it under ``lights``.

    It is in the capture's own coordinates and is written every `SAVE_EVERY` steps; where the user
    stops the fit, with what was found until then (TrainingInterrupted). An earlier file gives way
    to splats that are fitted, not to those of the beginning. OutputError where there is nothing to
    see.
    """
    look = appearance(scene, lights, settings.light_at, settings.exposure)
    wanted = settings.splats
    generator = generator_for(seed, 0, "splats", torch.device("cpu"))
    train = refined(scene, capture).train.cameras
    cameras = fitting_cameras(train, wanted.views, wanted.max_side, generator)
    per_view = -(-(1 + SPARE_PLACES) * wanted.count // len(cameras))
    parts: list[Places] = []

    def keep(cameras: Cameras, index: int, image: Image, picture: Tensor) -> None:
        parts.append(places_seen(cameras, index, image, picture, per_view, generator))

    with told_if_slow("rendering views to fit splats to"):
        views = render_views(scene, cameras, look, keep, progress=progress)
    places = all_places(parts)
    if not len(places):
        raise OutputError(
            f"{path} was not written, because nothing of the run is opaque enough to make splats"
            " of: train it longer."
        )
    fit = SplatFit(scene, views, places, wanted, generator)
    with told_if_slow("fitting splats"), one_pool(fit.kernels):
        _log.info("splats: %d, fitted by the %s kernels", len(fit.parameters), fit.kernels)
        fit_and_save(fit, path, progress=progress)
    return path


def fit_and_save(fit: "SplatFit", path: Path, *, progress: bool) -> None:
    """Writes the splats at the beginning, so that it is seen that they can be, every `SAVE_EVERY`
    steps, at the end, and where a signal ends it: then TrainingInterrupted.

    An earlier file stays until something better takes its place: at the first of these steps, or
    at the end.
    """
    total, earlier = fit.settings.steps, path.exists()
    first = min(SAVE_EVERY, total) if earlier else 0
    with StopSignals() as signals:
        for step in fit.steps(progress):
            stopped = signals.received
            kept = step < first
            if kept and step == 0:
                check_draft(path)
            if not kept and (stopped or step == total or step % SAVE_EVERY == 0):
                write_splats(path, fit.splats(), fit.scene.frame.world_from_field)
            if stopped:
                holds = "is as it was" if kept else "holds the splats as they are now"
                raise TrainingInterrupted(
                    f"Stopped by {SIGNALS[stopped]} at step {step} of {total}; {path} {holds}.",
                    exit_code=128 + stopped,
                )


def splat_kernels() -> str:
    """The backend that draws splats fastest here, whatever the field's is.

    Only the cpu backend has kernels of its own for them; without it the reference's PyTorch runs.
    """
    return "reference" if dispatch.unavailable_reason("cpu") else "cpu"


@contextmanager
def one_pool(kernels: str) -> Iterator[None]:
    """The cores are the kernels' inside the block, and not also PyTorch's."""
    before = torch.get_num_threads()
    module = dispatch.load(kernels)
    if module is not dispatch.active():  # which has been told how many threads it may use
        module.set_threads(dispatch.usable_cores())
    if kernels == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class SplatFit:
    """Splats on their way to looking as a field does."""

    def __init__(
        self,
        scene: TrainedScene,
        views: FieldViews,
        places: Places,
        settings: SplatSettings,
        generator: torch.Generator,
    ) -> None:
        """Begins with flat splats at some of the places."""
        self.scene, self.views, self.settings, self.generator = scene, views, settings, generator
        self.kernels = splat_kernels()
        shuffled = places[torch.randperm(len(places), generator=generator)]
        order = torch.arange(len(places))
        first = shuffled[order < settings.count]
        apart = spacing(first)
        start = flat_splats(scene, first, apart, (settings.degree + 1) ** 2)
        self.parameters = SplatParameters(start, apart)
        self.growth = Growth(shuffled[order >= settings.count], len(first))
        self.error = math.nan  # mean square, smoothed

    def splats(self) -> Splats:
        """As they are now."""
        return self.parameters.splats()

    def steps(self, progress: bool) -> Iterator[int]:
        """Takes them, one for each number it gives; 0 is the beginning."""
        total = self.settings.steps
        yield 0
        with tqdm(total=total, desc="splats", unit="step", disable=not progress) as bar:
            queue: list[int] = []
            for step in range(1, total + 1):
                queue = queue or torch.randperm(len(self.views), generator=self.generator).tolist()
                self._step(queue.pop(), step / total)
                if step % MOVED_EVERY == 0 and step <= MOVED_UNTIL * total:
                    self.growth.move(
                        self.scene, self.views, self.parameters, self._drawn, self.generator
                    )
                bar.update()
                bar.set_postfix(
                    psnr=f"{-10 * math.log10(max(self.error, 1e-10)):.2f}", refresh=False
                )
                yield step

    def _drawn(self, view: int) -> Float[Tensor, "height width 4"]:
        with dispatch.using(self.kernels), torch.no_grad():
            return ops.draw_splats(self.splats(), self.views.camera(view))

    def _step(self, view: int, done: float) -> None:
        """Draws one view before some grey, and makes it more like the field's."""
        grey = float(torch.rand(1, generator=self.generator))
        target = self.views.target(view)

        def slope(picture: Tensor) -> Tensor:
            difference = picture - target
            error = difference[..., :3] - grey * difference[..., 3:]
            square = float(error.square().mean())
            before = square if math.isnan(self.error) else self.error
            self.error = SMOOTHING * before + (1 - SMOOTHING) * square
            to_color = error.clamp(-DELTA, DELTA) / (DELTA * error.numel())
            return torch.cat([to_color, -grey * to_color.sum(-1, keepdim=True)], dim=-1)

        with dispatch.using(self.kernels):  # the field's may be others, on a GPU
            found = ops.splat_slopes(self.splats(), self.views.camera(view), slope)
            self.parameters.step(found.gradient, done)
        self.growth.note(found.weights)
