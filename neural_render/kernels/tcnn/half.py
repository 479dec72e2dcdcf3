"""Gradients through functions in half precision, which holds 6e-8 to 65504."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# What the largest column of a gradient sums up to inside: single samples' shares of it are far from
# vanishing, and sums of them over many samples, times activations, far from overflowing.
INSIDE = 1024.0


def with_grown_gradient(
    function: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, parameters: Tensor
) -> Tensor:
    """``function(inputs, parameters)``, ``[samples outputs]``, in the inputs' dtype.

    Its gradient is multiplied by a power of two before it enters the function's backward pass, and
    divided by it behind: loss scaling (Micikevicius et al. 2018, "Mixed precision training",
    section 3.2), with a scale for each call, because losses here are means over any number of rays.
    """
    growth: list[Tensor] = []
    outputs = function(_Shrinking.apply(inputs, growth), _Shrinking.apply(parameters, growth))
    return _Growing.apply(outputs.to(inputs.dtype), growth)


def growth_of(gradient: Tensor) -> Tensor:
    """The power of two that brings a gradient's largest column to `INSIDE` or half of it."""
    largest = gradient.abs().sum(0).amax()
    ratio = INSIDE / largest.where(largest != 0, INSIDE)
    return torch.exp2(ratio.log2().floor().clamp(-100, 100))


class _Growing(torch.autograd.Function):
    """The very values; notes what their gradient is multiplied by."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, growth: list[Tensor]) -> Tensor:
        """The values."""
        ctx.growth = growth
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient, grown."""
        ctx.growth[:] = [growth_of(gradients[0])]
        return gradients[0] * ctx.growth[0], None


class _Shrinking(torch.autograd.Function):
    """The very values; what the gradient was multiplied by is taken back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, growth: list[Tensor]) -> Tensor:
        """The values."""
        ctx.growth = growth
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient, as it would have been."""
        return gradients[0] / ctx.growth[0], None
