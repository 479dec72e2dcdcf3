"""Curves and the charts that show them."""

import json
import math
from pathlib import Path

import pytest

from neural_render.evaluation.pages.charts import (
    FRAME,
    Quantity,
    chart_of,
    charts_of,
    logarithmic_scale,
    short,
    ticks,
)
from neural_render.evaluation.pages.curves import MAX_POINTS, Series, read_curve, series_of

PLAIN = Quantity(key="psnr", label="PSNR")
POWERS = Quantity(key="loss", label="loss", logarithmic=True)


def points(line: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split(","))) for pair in line.split()]


def test_a_curve_leaves_out_what_is_no_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n[3]\n\n{"step": 2}\n{"st')
    assert read_curve(path) == [{"step": 1}, {"step": 2}]
    assert read_curve(tmp_path / "none") == []


def test_a_series_leaves_out_what_cannot_be_drawn() -> None:
    text = '[{"x":1,"y":2},{"x":2,"y":NaN},{"x":3},{"x":4,"y":0},{"x":"5","y":1},{"x":6,"y":3}]'
    rows = json.loads(text)
    assert series_of(rows, "x", "y", positive=False) == Series(x=(1.0, 4.0, 6.0), y=(2.0, 0.0, 3.0))
    assert series_of(rows, "x", "y", positive=True) == Series(x=(1.0, 6.0), y=(2.0, 3.0))


def test_long_curves_are_thinned_to_means() -> None:
    rows = [{"x": float(x), "y": float(x % 2)} for x in range(10 * MAX_POINTS)]
    found = series_of(rows, "x", "y", positive=False)
    assert len(found.x) == MAX_POINTS
    assert found.x[:2] == (4.5, 14.5) and set(found.y) == {0.5}


def test_the_line_goes_from_corner_to_corner() -> None:
    chart = chart_of(PLAIN, "step", [Series(x=(0.0, 5.0, 10.0), y=(0.0, 50.0, 100.0))])
    assert points(chart.lines[0]) == [
        (FRAME["left"], FRAME["bottom"]),
        ((FRAME["left"] + FRAME["right"]) / 2, (FRAME["top"] + FRAME["bottom"]) / 2),
        (FRAME["right"], FRAME["top"]),
    ]
    assert [text for _, text in chart.y_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert chart.last == ("100",)


def test_runs_share_the_scales_and_keep_their_places() -> None:
    runs = [
        Series(x=(1.0, 2.0), y=(1e-1, 1e-2)),
        Series(x=(), y=()),
        Series(x=(1.0, 4.0), y=(1e-2, 1e-3)),
    ]
    chart = chart_of(POWERS, "seconds", runs)
    first, none, last = map(points, chart.lines)
    assert none == [] and first[1][1] == last[0][1] and last[1][0] == FRAME["right"]
    assert [text for _, text in chart.x_ticks] == ["0 s", "1 s", "2 s", "3 s", "4 s"]
    assert chart.last == ("0.01", "", "0.001")
    assert json.loads(json.dumps(chart.data))["lines"][2]["y"] == [0.01, 0.001]


def test_times_are_in_the_unit_that_suits_them() -> None:
    chart = chart_of(PLAIN, "seconds", [Series(x=(60.0, 1200.0), y=(1.0, 2.0))])
    assert [text for _, text in chart.x_ticks] == ["0 min", "5 min", "10 min", "15 min", "20 min"]


def test_a_quantity_that_nobody_has_is_not_drawn() -> None:
    rows = [{"step": 1, "seconds": 1, "psnr": 1.0}, {"step": 2, "seconds": 2, "psnr": 2.0}]
    charts = charts_of([rows, []])
    assert [(chart.label[:4], chart.axis) for chart in charts] == [
        ("PSNR", "seconds"),
        ("PSNR", "step"),
    ]
    assert charts_of([rows[:1], []]) == [], "a point is no line"


@pytest.mark.parametrize(
    ("quantity", "value"), [(PLAIN, 7.0), (POWERS, 7.0), (PLAIN, 0.0), (PLAIN, 1e-15)]
)
def test_a_constant_is_drawn(quantity: Quantity, value: float) -> None:
    chart = chart_of(quantity, "step", [Series(x=(3.0,) * 3, y=(value,) * 3)])
    assert all(math.isfinite(value) for point in points(chart.lines[0]) for value in point)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (18.2, 31.4, [15, 20, 25, 30, 35]),
        (-3.1, -1.2, [-3.5, -3, -2.5, -2, -1.5, -1]),
        (0.0, 0.0, [0, 0.2]),
        (0.0, 1e-14, [0, 2e-15, 4e-15, 6e-15, 8e-15, 1e-14]),
    ],
)
def test_ticks_are_round_and_span_the_range(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0029, 0.051, [0.002, 0.005, 0.01, 0.02, 0.05, 0.1]),
        (0.001, 0.01, [0.001, 0.002, 0.005, 0.01]),
        (3e-4, 0.2, [1e-4, 1e-3, 1e-2, 1e-1, 1]),
        (5.0, 5.0, [5, 10]),
    ],
)
def test_logarithmic_ticks_too(low: float, high: float, expected: list[float]) -> None:
    scale = logarithmic_scale(low, high)
    assert scale.ticks == pytest.approx(expected)
    assert scale.low <= low * 1.000001 and scale.high >= high


def test_many_powers_of_ten_have_few_ticks() -> None:
    scale = logarithmic_scale(1e-20, 1.0)
    assert len(scale.ticks) <= 6 and scale.share(1e-20) == 0 and scale.share(1.0) == 1


def test_numbers_are_short() -> None:
    shown = [short(value) for value in (0.0, 0.00031234, 15.0, 1500.0, 87_654.0, 2.5e6, -3e9)]
    assert shown == ["0", "0.0003123", "15", "1.5k", "87.65k", "2.5M", "-3G"]
