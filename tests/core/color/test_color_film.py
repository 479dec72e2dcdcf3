"""The display transform: each of its promises, everywhere."""

import colorsys
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_render.core.color import (
    GREY,
    film_from_linear,
    quantised,
    srgb_from_linear,
)

RADIANCE = st.floats(0, 1e6)


def shown(*linear: float) -> list[float]:
    return film_from_linear(torch.tensor(linear, dtype=torch.float64)).tolist()


def level(stops: float) -> int:
    """The 8-bit level of so many stops over grey."""
    return int(quantised(film_from_linear(torch.tensor(GREY * 2.0**stops))))


@given(st.lists(st.floats(-10, 2.0**100, width=32), min_size=1), st.booleans())
def test_it_ends_below_white_and_begins_at_black(values: list[float], double: bool) -> None:
    linear = torch.tensor(values, dtype=torch.float64 if double else torch.float32)
    srgb = film_from_linear(linear)
    assert srgb.dtype == linear.dtype
    assert (srgb >= 0).all() and (srgb < 1).all()
    assert film_from_linear(torch.tensor([torch.inf])) < 1


@given(RADIANCE, st.floats(1e-6, 1e3))
def test_it_rises(value: float, more: float) -> None:
    low, high = shown(value, value + more)
    assert high >= low
    if value < 1e3:
        assert high > low


@given(st.floats(0, 100))
def test_its_slope_never_jumps(value: float) -> None:
    """On both sides of any point, the joints of its pieces among them, the slope is the same."""
    for place in (value, GREY, 0.055 / 1.4 / 12.92321):
        step = 1e-6 * max(place, 1e-3)
        low, middle, high = shown(place, place + step, place + 2 * step)
        assert (high - middle) / (middle - low) == pytest.approx(1, abs=1e-3)


def test_its_slope_goes_to_nothing_towards_white() -> None:
    at = (GREY * 2.0 ** torch.arange(0, 16, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(film_from_linear(at).sum(), at)
    assert (slope.diff() < 0).all()
    assert slope[-1] < 1e-6 * slope[0]


def test_stops_from_eight_below_grey_to_six_above_differ() -> None:
    """14 stops: 15 levels, each unlike the one before."""
    levels = [level(stop) for stop in range(-8, 7)]
    assert all(high > low for low, high in pairwise(levels)), levels


def test_nothing_is_white_up_to_six_stops_over_grey() -> None:
    assert level(6) < 255
    assert level(8.5) < 255 and level(10) == 255


@given(st.floats(0, GREY))
def test_up_to_grey_it_is_srgb(value: float) -> None:
    assert shown(value)[0] == pytest.approx(float(srgb_from_linear(torch.tensor(value))), abs=2e-5)


def test_around_grey_it_is_nearly_srgb() -> None:
    near = torch.tensor(0.25)
    assert abs(film_from_linear(near) - srgb_from_linear(near)) < 0.01


@given(st.tuples(*[st.floats(0, 1e3)] * 3))
def test_hues_stay_in_their_sextant(color: tuple[float, float, float]) -> None:
    """The order of the channels is kept, so no hue turns past yellow, cyan or magenta."""
    linear = torch.tensor(color, dtype=torch.float64)
    srgb = film_from_linear(linear)
    order = linear.argsort(stable=True)
    assert (srgb[order].diff() >= 0).all()
    before, after = (colorsys.rgb_to_hsv(*values.tolist()) for values in (linear, srgb))
    if after[1] > 1e-6:
        turn = abs(before[0] - after[0])
        assert min(turn, 1 - turn) < 1 / 6


@pytest.mark.parametrize("value", [0.001, 0.1, 0.5, 3.0, 40.0])
def test_derivatives(value: float) -> None:
    at = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(film_from_linear, (at,))


def test_what_is_not_a_number_is_not_hidden() -> None:
    assert film_from_linear(torch.tensor([torch.nan])).isnan().all()
