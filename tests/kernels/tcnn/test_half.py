"""Gradients through half precision neither vanish nor overflow."""

import pytest
import torch
from torch import Tensor

from neural_render.kernels.tcnn.half import INSIDE, growth_of, with_grown_gradient
from tests.kernels.problems import generator


def rounded(inputs: Tensor, weights: Tensor) -> Tensor:
    """A product in half precision."""
    return (inputs.half().float() @ weights.half().float().view(5, 3)).half()


def gradients(power: float, num_samples: int = 2000) -> tuple[Tensor, ...]:
    """Those of a mean of outputs, times a power of two, divided by that in the end."""
    inputs = torch.randn(num_samples, 5, generator=generator(0)).requires_grad_()
    weights = torch.randn(15, generator=generator(1)).requires_grad_()
    mixture = torch.randn(num_samples, 3, generator=generator(2)) / num_samples
    loss = (with_grown_gradient(rounded, inputs, weights) * mixture).sum() * 2.0**power
    found = torch.autograd.grad(loss, (inputs, weights))
    return tuple(gradient / 2.0**power for gradient in found)


@pytest.mark.parametrize("power", [-60.0, -20.0, 30.0])
def test_gradients_of_any_size_have_the_same_digits(power: float) -> None:
    for actual, expected in zip(gradients(power), gradients(0.0), strict=True):
        assert expected.isfinite().all() and expected.count_nonzero() == expected.numel()
        assert torch.equal(actual, expected)


def test_without_it_they_would_vanish_and_overflow() -> None:
    inputs = torch.randn(2000, 5, generator=generator(0))
    for scale in (1e-9, 1e6):
        weights = torch.randn(15, generator=generator(1)).requires_grad_()
        loss = (rounded(inputs, weights).float() * scale).sum()
        (found,) = torch.autograd.grad(loss, weights)
        assert (found == 0).all() if scale < 1 else not found.isfinite().any()


def test_a_backward_pass_may_come_twice() -> None:
    """Each with a scale of its own."""
    weights = torch.randn(15, generator=generator(1)).requires_grad_()
    outputs = with_grown_gradient(rounded, torch.ones(4, 5), weights)
    found = [
        torch.autograd.grad(outputs, weights, torch.full((4, 3), size), retain_graph=True)[0] / size
        for size in (2.0**-30, 2.0**10)
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize("size", [1e-27, 3e-8, 1.0, 1e20])
def test_the_largest_column_sums_up_to_what_is_wanted_inside(size: float) -> None:
    gradient = torch.tensor([[1.0, -3.0], [0.0, 4.0]]) * size
    growth = growth_of(gradient)
    assert INSIDE / 2 < float(growth) * 7 * size <= INSIDE * 1.0001
    assert growth.log2() == growth.log2().round()


def test_no_gradient_stays_none_and_nan_stays_nan() -> None:
    assert growth_of(torch.zeros(3, 2)) == 1
    assert (torch.zeros(3, 2) * growth_of(torch.zeros(3, 2)) == 0).all()
    assert growth_of(torch.tensor([[torch.nan]])).isnan()
