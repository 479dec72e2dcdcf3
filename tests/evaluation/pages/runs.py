"""Small runs that were really measured, for pages about them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neural_render.evaluation.evaluate import evaluate
from neural_render.evaluation.pages.comparison import MeasuredRun
from neural_render.evaluation.protocol import EvaluationProtocol
from neural_render.evaluation.settings import EvaluationSettings
from tests.evaluation.photos import FIGURES, image_of, make_views

HOSTILE = "<script>alert('x')</script>.png"


def curve(num_lines: int = 9) -> str:
    """The text of a ``metrics.jsonl``."""
    rows = (
        {
            "step": 10 * line,
            "seconds": 0.5 * line,
            "loss": 1 / (line + 1),
            "psnr": 20.0 + line,
            "rays_per_second": 1e5 + line,
        }
        for line in range(1, num_lines + 1)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def measure(
    folder: Path,
    errors: Iterable[float],
    *,
    names: tuple[str, ...] = (),
    size: tuple[int, int] = (24, 16),
    flip: bool = False,
    images: bool = True,
    split: str = "a & b",
) -> Mapping[str, Any]:
    """The record of a run in ``folder`` whose renders are that much too bright, view by view."""
    errors = list(errors)
    views = make_views(*[size] * len(errors), names=names)
    record = evaluate(
        views,
        lambda index: image_of((views.image(index).float() / 255 + errors[index]).clamp(0, 1)),
        protocol=EvaluationProtocol(split=split, background="white", colour_space="srgb"),
        figures=FIGURES,
        settings=EvaluationSettings(ssim=False, flip=flip, images=images),
        folder=folder / "evaluation",
        progress=False,
    )
    (folder / "metrics.jsonl").write_text(curve(), encoding="utf-8")
    return record


def measured_run(folder: Path, errors: Iterable[float], **how: Any) -> MeasuredRun:
    """The same as what a comparison takes."""
    return MeasuredRun(
        name=f"{folder.parent.name}/{folder.name}",
        record=measure(folder, errors, **how),
        curve=folder / "metrics.jsonl",
        pictures=folder / "evaluation",
    )
