"""Colour curves: the standard's numbers, round trips, derivatives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_render.core.color import linear_from_srgb, srgb_from_linear

# IEC 61966-2-1: both ends, the joint, mid-grey, and a value above white.
KNOWN = [(0.0, 0.0), (0.0031308, 0.04045), (0.2140411, 0.5), (1.0, 1.0), (4.0, 1.8248)]


@pytest.mark.parametrize(("linear", "srgb"), KNOWN)
def test_known_values(linear: float, srgb: float) -> None:
    assert float(srgb_from_linear(torch.tensor(linear))) == pytest.approx(srgb, abs=1e-4)
    assert float(linear_from_srgb(torch.tensor(srgb))) == pytest.approx(linear, abs=2e-3)


@given(st.floats(-1, 50))
def test_the_curves_are_inverse(value: float) -> None:
    linear = torch.tensor([value], dtype=torch.float64)
    again = linear_from_srgb(srgb_from_linear(linear))
    # The standard's rounded constants leave a gap of 1e-7 at the joint of both pieces.
    assert torch.allclose(again, linear, rtol=1e-6, atol=1e-7)


def test_srgb_rises_everywhere() -> None:
    linear = torch.linspace(-0.1, 2, 5000, dtype=torch.float64)
    assert (srgb_from_linear(linear).diff() > 0).all()
    assert (linear_from_srgb(linear).diff() > 0).all()


@pytest.mark.parametrize("value", [-0.2, 0.0, 0.001, 0.02, 0.5, 1.0, 3.0])
def test_derivatives(value: float) -> None:
    at = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(srgb_from_linear, (at,))
    assert torch.autograd.gradcheck(linear_from_srgb, (at,))


def test_any_shape_and_type_is_kept() -> None:
    for shape in [(), (0, 3), (2, 3, 4)]:
        values = torch.rand(shape)
        assert srgb_from_linear(values).shape == shape
        assert linear_from_srgb(values.double()).dtype == torch.float64
