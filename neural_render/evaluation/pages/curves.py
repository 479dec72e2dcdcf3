"""The curves of training: the lines of ``metrics.jsonl``, thinned to what a chart can show."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neural_render.core.files import checked_file

MAX_POINTS = 300


@dataclass(frozen=True, kw_only=True)
class Series:
    """One quantity of one run over another, both finite."""

    x: tuple[float, ...]
    y: tuple[float, ...]


def read_curve(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; one cut off by a killed run is left out."""
    rows = []
    try:
        lines = checked_file(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return rows
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def series_of(rows: Sequence[dict[str, Any]], x: str, y: str, *, positive: bool) -> Series:
    """``y`` over ``x``; rows that lack one, or whose y is not above 0 if it must, are left out.

    Of long curves, each point is the mean of some neighbours.
    """
    pairs = [
        (float(row[x]), float(row[y]))
        for row in rows
        if _is_number(row.get(x)) and _is_number(row.get(y)) and (row[y] > 0 or not positive)
    ]
    per_point = math.ceil(len(pairs) / MAX_POINTS) or 1
    groups = [pairs[start : start + per_point] for start in range(0, len(pairs), per_point)]
    means = [
        tuple(math.fsum(column) / len(group) for column in zip(*group, strict=True))
        for group in groups
    ]
    return Series(x=tuple(mean[0] for mean in means), y=tuple(mean[1] for mean in means))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
