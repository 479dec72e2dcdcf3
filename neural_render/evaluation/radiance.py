"""Measures scene-linear renders against path-traced references, and writes down what it saw."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from neural_render.core.color import film_from_linear, quantised, srgb_from_linear
from neural_render.evaluation import metrics
from neural_render.evaluation.evaluate import check_finite, spread
from neural_render.evaluation.protocol import resolution_text, views_text
from neural_render.evaluation.records import (
    TrainingFigures,
    evaluation_record,
    file_names,
    for_json,
    mean,
    write_json,
)
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.rendering.images import Image
from neural_render.rendering.settings import PICTURE_MIN_TRANSMITTANCE, PICTURE_MIN_WEIGHT

ERROR_FLOOR = 0.01  # of the relative error's denominator, in units of the exposed radiance squared
NAN = math.nan
_DEFINITIONS = {
    "psnr": "mean over views of 10 log10(1 / MSE) of clip(sRGB(exposure x), 0, 1), not quantised;"
    f" at most {metrics.MAX_PSNR:g}",
    "psnr_display": "mean over views of the PSNR after the display transform of exposure x, in 8"
    " bits",
    "ssim": "of the images of psnr_display: " + metrics.METRIC_DEFINITIONS["ssim"],
    "flip": "of the images of psnr_display: " + metrics.METRIC_DEFINITIONS["flip"],
    "relative_mse": "mean over pixels and channels, then over views, of (x - y)^2 / (y^2 +"
    f" {ERROR_FLOOR:g}) with x the render's and y the reference's linear radiance times exposure",
    "mean_ratio": "sum of the render's linear radiance over that of the reference, over pixels and"
    " channels; of all views: over theirs together",
    "psnr_reference": "psnr of the reference's two halves against each other: the mean of both,"
    " which renders are compared with, is 6 dB closer to the truth",
}


@runtime_checkable
class RadianceViews(Protocol):
    """References to compare with: two independent halves of each held-out view, scene-linear."""

    @property
    def names(self) -> tuple[str, ...]:
        """A name per view."""
        ...

    def half(self, index: int, which: int) -> Float[Tensor, "height width 3"]:
        """Half 0 or 1 of a view."""
        ...


@dataclass(frozen=True, kw_only=True)
class RadianceProtocol:
    """How the held-out views were chosen and are shown."""

    split: str  # where their cameras stand
    background: str  # environment or black: what is behind renders and references
    exposure: float  # what multiplies linear radiance
    reference: str  # what the halves are, such as the samples of each


@dataclass(frozen=True, kw_only=True)
class RadianceScore:
    """The metrics of one view; NaN (null in JSON) where one was switched off or has no meaning."""

    name: str
    psnr: float
    psnr_display: float
    ssim: float
    flip: float
    relative_mse: float
    mean_ratio: float
    psnr_reference: float
    render_seconds: float
    width: int
    height: int
    image: str  # file name of its picture beside metrics.json; empty: none was written


def evaluate_radiance(
    views: RadianceViews,
    render_one: Callable[[int], Image],
    *,
    protocol: RadianceProtocol,
    figures: TrainingFigures,
    settings: EvaluationSettings,
    folder: Path,
    progress: bool = True,
) -> dict[str, Any]:
    """The contents of ``folder/metrics.json``, which is written, with a picture of every view.

    ``render_one(index)`` renders held-out view ``index`` in scene-linear radiance, with what is
    behind the scene. Raises ``DivergenceError`` where a render is not finite, ``OutputError`` where
    nothing can be written.
    """
    started = time.perf_counter()
    files = file_names(views.names)
    scores: list[RadianceScore] = []
    sums = [0.0, 0.0]
    chosen = spread(len(views.names), settings.max_views)
    with tqdm(chosen, desc="evaluate", unit="view", disable=not progress) as bar:
        for index in bar:
            start = time.perf_counter()
            render = render_one(index).color.cpu().double()
            seconds = time.perf_counter() - start
            name, path = views.names[index], folder / f"{files[index]}.png"
            check_finite(render, f"held-out view {name}")
            halves = [views.half(index, which).cpu().double() for which in (0, 1)]
            numbers = _compare(halves, render, protocol.exposure, settings, path)
            sums[0] += float(render.sum())
            sums[1] += float((halves[0] + halves[1]).sum() / 2)
            scores.append(
                RadianceScore(
                    name=name,
                    **numbers,
                    render_seconds=seconds,
                    width=render.shape[1],
                    height=render.shape[0],
                    image=path.name if settings.images else "",
                )
            )
            bar.set_postfix(psnr=f"{mean(score.psnr for score in scores):.2f}")
    described = _described(protocol, scores, len(views.names))
    seconds = time.perf_counter() - started
    averaged = (*_DEFINITIONS, "render_seconds")
    record = evaluation_record(scores, averaged, figures, described, seconds)
    record |= for_json({"mean_ratio": sums[0] / sums[1] if sums[1] else NAN})
    write_json(folder / "metrics.json", record)
    return record


def radiance_psnr(
    first: Float[Tensor, "height width 3"],
    second: Float[Tensor, "height width 3"],
    exposure: float,
) -> float:
    """Decibels between ``clip(sRGB(exposure x), 0, 1)`` of two scene-linear images."""
    shown = [srgb_from_linear(image.double() * exposure).clamp(0, 1) for image in (first, second)]
    squared = float((shown[0] - shown[1]).square().mean())
    return min(-10 * math.log10(squared), metrics.MAX_PSNR) if squared else metrics.MAX_PSNR


def relative_mse(
    render: Float[Tensor, "height width 3"],
    reference: Float[Tensor, "height width 3"],
    exposure: float,
) -> float:
    """The mean squared error of linear radiance over that of the reference squared."""
    x, y = render.double() * exposure, reference.double() * exposure
    return float(((x - y).square() / (y.square() + ERROR_FLOOR)).mean())


def _compare(
    halves: list[Tensor], render: Tensor, exposure: float, settings: EvaluationSettings, path: Path
) -> dict[str, float]:
    """The metrics of one view; its picture goes to ``path`` if pictures are wanted."""
    reference = (halves[0] + halves[1]) / 2
    shown, wanted = (quantised(film_from_linear(x * exposure)) for x in (render, reference))
    light = float(reference.sum())
    numbers = {
        "psnr": radiance_psnr(render, reference, exposure),
        "psnr_display": metrics.psnr(shown, wanted, torch.ones(shown.shape[:2], dtype=torch.bool)),
        "ssim": float(metrics.ssim_map(shown, wanted).double().mean()) if settings.ssim else NAN,
        "flip": NAN,
        "relative_mse": relative_mse(render, reference, exposure),
        "mean_ratio": float(render.sum()) / light if light else NAN,
        "psnr_reference": radiance_psnr(halves[0], halves[1], exposure),
    }
    error, label = metrics.error_map(shown, wanted, flip=settings.flip)
    if settings.flip:
        numbers["flip"] = float(error.double().mean())
    if settings.images:
        from neural_render.evaluation.pictures import write_panel

        captions = (
            f"reference  {numbers['psnr_reference']:.2f} dB",
            f"render  {numbers['psnr']:.2f} dB",
            f"{label}  {float(error.mean()):.3f}",
        )
        scale = metrics.HEAT_ENDS[label]
        write_panel(path, wanted, shown, error, captions=captions, error_scale=scale)
    return numbers


def _described(
    protocol: RadianceProtocol, scores: list[RadianceScore], available: int
) -> dict[str, object]:
    """All of the protocol as JSON, with what was seen while measuring."""
    return {
        **asdict(protocol),
        "colour_space": "linear",
        "resolution": resolution_text((score.width, score.height) for score in scores),
        "rays": f"a colour for every {PICTURE_MIN_WEIGHT:g} of weight; they end where"
        f" {PICTURE_MIN_TRANSMITTANCE:g} of the light is left",
        "views": views_text(len(scores), available=available),
        "metrics": _DEFINITIONS,
    }
