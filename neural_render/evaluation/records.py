"""What an evaluation leaves behind: the contents of ``metrics.json`` and the names of files."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neural_render.core.files import whole_file
from neural_render.evaluation.machine import machine_description

_MAX_FILE_NAME = 100


@dataclass(frozen=True, kw_only=True)
class TrainingFigures:
    """What the training of the measured field cost."""

    train_seconds: float  # wall clock
    train_cpu_seconds: float
    num_steps: int
    num_samples: int  # survivors: what entered the colour network
    num_samples_marched: int
    num_rays: int
    backend: str
    precision: str  # of the backend's numbers


@dataclass(frozen=True, kw_only=True)
class ViewScore:
    """The metrics of one view; NaN (null in JSON) where a metric was switched off."""

    name: str
    psnr: float
    ssim: float
    flip: float
    render_seconds: float
    width: int
    height: int
    image: str  # file name of its picture beside metrics.json; empty: none was written


def evaluation_record(
    scores: Sequence[Any],
    averaged: Iterable[str],
    figures: TrainingFigures,
    protocol: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """The contents of ``metrics.json``: means over the views, costs, protocol, a row per view.

    ``scores`` are records of one type, of which these entries are ``averaged``; ``seconds`` is what
    measuring took, renders included.
    """
    means = {key: mean(getattr(score, key) for score in scores) for key in averaged}
    return for_json(
        {
            **means,
            "num_views": len(scores),
            **asdict(figures),
            "evaluation_seconds": seconds,
            "machine": machine_description(),
            "protocol": protocol,
            "views": [asdict(score) for score in scores],
        }
    )


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write ``record`` as JSON that any parser reads (NaN and infinities as null), whole or not."""
    text = json.dumps(for_json(record), indent=1, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def file_names(names: Iterable[str]) -> tuple[str, ...]:
    """A file name without ending per view name: safe on every system, no two alike."""
    taken: set[str] = set()
    result = []
    for name in names:
        stem = re.sub(r"\.(png|jpe?g|webp|exr|tiff?|bmp)$", "", name, flags=re.IGNORECASE)
        safe = re.sub(r"[^\w.-]+", "_", stem, flags=re.ASCII)[-_MAX_FILE_NAME:].strip("._")
        safe = safe or "view"
        unique, copy = safe, 1
        while unique.lower() in taken:  # systems that ignore case would overwrite
            copy += 1
            unique = f"{safe}_{copy}"
        taken.add(unique.lower())
        result.append(unique)
    return tuple(result)


def mean(values: Iterable[float]) -> float:
    """The mean; NaN of nothing."""
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan


def for_json(value: Any) -> Any:
    """The same nested record with None for every float that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: for_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
