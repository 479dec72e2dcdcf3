"""Line charts: where their lines, ticks and words stand. The template draws them as SVG."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from neural_render.evaluation.pages.curves import Series, series_of

WIDTH, HEIGHT = 350, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 6, 8, 22
FRAME = {
    "width": WIDTH,
    "height": HEIGHT,
    "left": LEFT,
    "right": WIDTH - RIGHT,
    "top": TOP,
    "bottom": HEIGHT - BOTTOM,
}
MOST_TICKS = 6  # of a logarithmic scale
AXES = ("seconds", "step")


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """An entry of ``metrics.jsonl`` that is drawn."""

    key: str
    label: str
    unit: str = ""
    logarithmic: bool = False


QUANTITIES = (
    Quantity(key="psnr", label="PSNR on training rays", unit="dB"),
    Quantity(key="loss", label="loss", logarithmic=True),
    Quantity(key="learning_rate", label="learning rate", logarithmic=True),
    Quantity(key="samples_per_ray", label="samples on a ray"),
    Quantity(key="rays_per_second", label="rays a second"),
    Quantity(key="occupied", label="occupied space", logarithmic=True),
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What lies between two ends of a chart, and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool

    def share(self, value: float) -> float:
        """Where a value lies between the ends: 0 to 1."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of one quantity, ready to be drawn; lines are in the order of the runs."""

    label: str
    unit: str
    axis: str  # what is across: one of AXES
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[str, ...]  # points of an SVG polyline; empty where a run has nothing to show
    series: tuple[Series, ...]
    frame = FRAME

    @property
    def last(self) -> tuple[str, ...]:
        """Where each line ends, in digits; empty where there is none."""
        return tuple(short(each.y[-1]) if each.y else "" for each in self.series)

    @property
    def data(self) -> dict[str, Any]:
        """What the page says of the place under the pointer."""
        lines = [{"x": _rounded(each.x), "y": _rounded(each.y)} for each in self.series]
        return {"axis": self.axis, "lines": lines}


def charts_of(curves: Sequence[Sequence[dict[str, Any]]]) -> list[Chart]:
    """Every quantity that the curves of some runs hold, over seconds and over steps."""
    return list(_charts(curves))


def _charts(curves: Sequence[Sequence[dict[str, Any]]]) -> Iterator[Chart]:
    for axis, quantity in product(AXES, QUANTITIES):
        series = [
            series_of(rows, axis, quantity.key, positive=quantity.logarithmic) for rows in curves
        ]
        if any(len(each.x) > 1 for each in series):
            yield chart_of(quantity, axis, series)


def chart_of(quantity: Quantity, axis: str, series: Sequence[Series]) -> Chart:
    """A chart of runs, of which one at least has two points."""
    across = [value for each in series for value in each.x]
    upwards = [value for each in series for value in each.y]
    size, unit = time_unit(max(across)) if axis == "seconds" else (1.0, "")
    x_scale = linear_scale(0.0, max(across) / size, tight=True)
    scale_of = logarithmic_scale if quantity.logarithmic else linear_scale
    y_scale = scale_of(min(upwards), max(upwards))

    def place(x: float, y: float) -> str:
        return f"{_across(x_scale.share(x / size)):.1f},{_down(y_scale.share(y)):.1f}"

    return Chart(
        label=quantity.label,
        unit=quantity.unit,
        axis=axis,
        x_ticks=tuple(
            (_across(x_scale.share(x)), f"{short(x)} {unit}".strip()) for x in x_scale.ticks
        ),
        y_ticks=tuple((_down(y_scale.share(y)), short(y)) for y in y_scale.ticks),
        lines=tuple(" ".join(map(place, each.x, each.y)) for each in series),
        series=tuple(series),
    )


def linear_scale(low: float, high: float, *, tight: bool = False) -> Scale:
    """From the round number below to the one above; ``tight``: it ends where the values do."""
    marks = ticks(low, high)
    if tight and low < high:
        inside = tuple(mark for mark in marks if low <= mark <= high)
        return Scale(low=low, high=high, ticks=inside, logarithmic=False)
    return Scale(low=marks[0], high=marks[-1], ticks=tuple(marks), logarithmic=False)


def logarithmic_scale(low: float, high: float) -> Scale:
    """From one of the numbers 1, 2 and 5 (or 1 and 3, or 1) times a power of ten to another."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    inside: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        marks = [factor * 10.0**power for power in powers for factor in factors]
        below = max(mark for mark in marks if mark <= low * (1 + 1e-9))
        above = min(mark for mark in marks if mark >= high * (1 - 1e-9) and mark > below)
        inside = [mark for mark in marks if below <= mark <= above]
        if len(inside) <= MOST_TICKS:
            break
    thinned = inside[:: math.ceil(len(inside) / MOST_TICKS)]
    return Scale(low=inside[0], high=inside[-1], ticks=tuple(thinned), logarithmic=True)


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers (1, 2 or 5 times a power of ten apart) that span the range."""
    spread = max(high - low, 1e-9 * max(abs(low), abs(high))) or 1.0
    power = 10.0 ** math.floor(math.log10(spread / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if spread / (power * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def short(value: float) -> str:
    """A number for a tick: ``150k``, ``2.5M``, ``0.0003``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def time_unit(longest: float) -> tuple[float, str]:
    """The unit in which so many seconds are read: its seconds and its name."""
    units = ((3600.0, "h"), (60.0, "min"))
    return next(((size, name) for size, name in units if longest >= 2.5 * size), (1.0, "s"))


def _across(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _down(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
