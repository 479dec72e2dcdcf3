"""Measures a field on the test views of a capture and writes down what it saw."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from tqdm import tqdm

from neural_render.core.color import quantised, srgb_from_linear
from neural_render.core.errors import DivergenceError
from neural_render.core.processes import group
from neural_render.evaluation import metrics
from neural_render.evaluation.protocol import (
    EvaluationProtocol,
    background_color,
    resolution_text,
    views_text,
)
from neural_render.evaluation.records import (
    TrainingFigures,
    ViewScore,
    evaluation_record,
    file_names,
    mean,
    write_json,
)
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.rendering.images import Image

_log = logging.getLogger("neural_render")
AVERAGED = ("psnr", "ssim", "flip", "render_seconds")


@runtime_checkable
class PhotoViews(Protocol):
    """Photos to compare with: what ``captures.Views`` offers."""

    @property
    def names(self) -> tuple[str, ...]:
        """A name per view."""
        ...

    @property
    def masks(self) -> UInt8[Tensor, " masked"]:
        """All masks, image after image; of no length where nothing is masked."""
        ...

    def image(self, index: int) -> UInt8[Tensor, "height width channels"]:
        """A photo of 3 or (straight alpha) 4 channels."""
        ...

    def mask(self, index: int) -> UInt8[Tensor, "height width"]:
        """0 where a pixel of a photo is ignored."""
        ...


def evaluate(
    views: PhotoViews,
    render_one: Callable[[int], Image],
    *,
    protocol: EvaluationProtocol,
    figures: TrainingFigures,
    settings: EvaluationSettings,
    folder: Path,
    progress: bool = True,
) -> dict[str, Any]:
    """The contents of ``folder/metrics.json``, which is written, with a picture of every view.

    ``render_one(index)`` renders test view ``index`` over the protocol's background, in the run's
    colour space. Several processes share the views; the first one writes the numbers. Raises
    ``DivergenceError`` where a render is not finite, ``OutputError`` where nothing can be written.
    """
    started = time.perf_counter()
    files = file_names(views.names)
    background = background_color(protocol.background)
    scores: dict[int, ViewScore] = {}
    chosen = spread(len(views.names), settings.max_views)
    with tqdm(group.share(chosen), desc="evaluate", unit="view", disable=not progress) as bar:
        for index in bar:
            name = views.names[index]
            photo = metrics.over_background(views.image(index).cpu(), background)
            kept = views.mask(index).cpu() != 0
            if not kept.any():
                _log.warning("test view %s is masked as a whole and was left out", name)
                continue
            render, seconds = _rendered(render_one, index, protocol.colour_space, name)
            path = folder / f"{files[index]}.png"
            numbers = _compare(photo, render, kept, settings, path)
            scores[index] = ViewScore(
                name=name,
                **numbers,
                render_seconds=seconds,
                width=photo.shape[1],
                height=photo.shape[0],
                image=path.name if settings.images else "",
            )
            bar.set_postfix(psnr=f"{mean(score.psnr for score in scores.values()):.2f}")
    measured = _in_order(group.gathered_objects(scores))
    described = protocol.as_dict(
        resolution=resolution_text((score.width, score.height) for score in measured),
        views=views_text(
            len(chosen), available=len(views.names), left_out=len(chosen) - len(measured)
        ),
        masked=views.masks.numel() > 0,
    )
    seconds = time.perf_counter() - started
    record = evaluation_record(measured, AVERAGED, figures, described, seconds)
    if group.is_first():
        write_json(folder / "metrics.json", record)
    return record


def _in_order(parts: Iterable[Mapping[int, ViewScore]]) -> list[ViewScore]:
    """The scores of all processes, by their views."""
    found = {index: score for part in parts for index, score in part.items()}
    return [found[index] for index in sorted(found)]


def spread(available: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices (0: all) spread evenly over ``available``, the first included."""
    if wanted <= 0 or wanted >= available:
        return list(range(available))
    return [index * available // wanted for index in range(wanted)]


def _rendered(
    render_one: Callable[[int], Image], index: int, colour_space: str, name: str
) -> tuple[UInt8[Tensor, "height width 3"], float]:
    """A render as a screen shows it, and the seconds until its colours were in main memory.

    They are not kept: of a large picture they take four times the room.
    """
    start = time.perf_counter()
    color = render_one(index).color.cpu()
    seconds = time.perf_counter() - start
    return _display(color, colour_space, name), seconds


def _display(color: Tensor, colour_space: str, name: str) -> UInt8[Tensor, "height width 3"]:
    """The render as the 8-bit sRGB image that a screen would show."""
    check_finite(color, f"test view {name}")
    linear, strips = colour_space == "linear", color.split(metrics.STRIP_ROWS)
    return torch.cat([quantised(srgb_from_linear(x) if linear else x) for x in strips])


def check_finite(color: Float[Tensor, "height width 3"], view: str) -> None:
    """DivergenceError where a render is not finite."""
    strips = color.split(metrics.STRIP_ROWS)
    broken = sum(int((~strip.isfinite()).any(dim=-1).sum()) for strip in strips)
    if broken:
        raise DivergenceError(
            f"the render of {view} has {broken} pixels that are not finite, so the field has"
            " diverged; go back to an earlier checkpoint or train with a lower learning rate."
        )


def _compare(
    photo: UInt8[Tensor, "height width 3"],
    render: UInt8[Tensor, "height width 3"],
    kept: Bool[Tensor, "height width"],
    settings: EvaluationSettings,
    path: Path,
) -> dict[str, float]:
    """PSNR, SSIM and FLIP of one view; its picture goes to ``path`` if pictures are wanted."""
    # Windows of SSIM and FLIP reach over the mask's edge: there they must see no difference.
    seen = torch.where(kept[..., None], render, photo)
    numbers = {"psnr": metrics.psnr(render, photo, kept), "ssim": math.nan, "flip": math.nan}
    if settings.ssim:
        numbers["ssim"] = metrics.mean_over(metrics.ssim_map(seen, photo), kept)
    error, label = metrics.error_map(seen, photo, flip=settings.flip)
    if settings.flip:
        numbers["flip"] = metrics.mean_over(error, kept)
    if settings.images:
        from neural_render.evaluation.pictures import write_panel

        mean_error = metrics.mean_over(error, kept)
        captions = ("photo", f"render  {numbers['psnr']:.2f} dB", f"{label}  {mean_error:.3f}")
        scale = metrics.HEAT_ENDS[label]
        write_panel(path, photo, render, error, captions=captions, error_scale=scale)
    return numbers
