"""Line charts as SVG, drawn by hand: a report needs no plotting library and asks no server."""

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 36
_MAX_POINTS = 400


def line_chart(
    x: Sequence[float], y: Sequence[float], *, x_label: str, y_label: str, log_y: bool = False
) -> str:
    """An ``<svg>`` of y over x; pairs that cannot be drawn are left out; empty without two."""
    points = [
        (a, math.log10(b) if log_y else b)
        for a, b in zip(x, y, strict=True)
        if math.isfinite(a) and math.isfinite(b) and (b > 0 or not log_y)
    ]
    if len(points) < 2:
        return ""
    points = points[:: math.ceil(len(points) / _MAX_POINTS)] + points[-1:]
    columns, rows = zip(*points, strict=True)
    x_ticks, y_ticks = ticks(min(columns), max(columns)), ticks(min(rows), max(rows))
    x_low, x_high = min(columns[0], x_ticks[0]), max(columns[-1], x_ticks[-1])
    y_low, y_high = min(*rows, y_ticks[0]), max(*rows, y_ticks[-1])

    def across(value: float) -> float:
        return _LEFT + (value - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        return _TOP + (y_high - value) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for tick in y_ticks:
        height, text = down(tick), f"{10**tick:.2g}" if log_y else f"{tick:g}"
        parts.append(f'<path class="grid" d="M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" class="end">{text}</text>')
    for tick in x_ticks:
        place = across(tick)
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 16}">{tick:g}</text>')
    line = " ".join(f"{across(a):.1f},{down(b):.1f}" for a, b in points)
    parts.append(f'<polyline points="{line}"/>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}">{escape(x_label)}</text>')
    parts.append(f'<text x="{_LEFT}" y="10" class="start">{escape(y_label)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'


def ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers (1, 2 or 5 times a power of ten apart) that span the range."""
    spread = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-12)
    power = 10.0 ** math.floor(math.log10(spread / 2))
    step = next(power * factor for factor in (1, 2, 5, 10) if spread / (power * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return [round(index * step, 12) for index in range(first, last + 1)]
