"""Gradients by autograd, for what is written forwards only: reference ops, composed fields."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def pullback(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    to_outputs: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """The gradient to each input of ``function(*inputs)``, given the gradient to each output.

    Outputs that depend on no input, as there are where nothing was sampled, count for nothing.
    """
    with torch.enable_grad():
        leaves = [value.detach().requires_grad_() for value in inputs]
        outputs = function(*leaves)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [pair for pair in zip(outputs, to_outputs, strict=True) if pair[0].requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(value) for value in inputs)
        return torch.autograd.grad(
            [output for output, _ in pairs],
            leaves,
            [to_output for _, to_output in pairs],
            allow_unused=True,
            materialize_grads=True,
        )


def faded_near(
    density: Float[Tensor, " samples"],
    radiance: Float[Tensor, "samples channels"],
    middle: Float[Tensor, " samples"],
    near_fade: float,
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
    """The same values, with less of a gradient where ``middle`` is near: ``LossSpec.near_fade``."""
    if near_fade <= 0.0:
        return density, radiance
    share = (middle.detach() / near_fade).clamp(max=1.0).square()
    return _Flowing.apply(density, share), _Flowing.apply(radiance, share[:, None])


class _Flowing(torch.autograd.Function):
    """The values, to which ``share`` of what arrives flows back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, share: Tensor) -> Tensor:
        """The very values."""
        ctx.save_for_backward(share)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Their share; none to ``share``."""
        (share,) = ctx.saved_tensors
        return gradients[0] * share, None
