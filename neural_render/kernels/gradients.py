"""Gradients by autograd, for ops that are written forwards only: the reference's."""

from collections.abc import Callable, Sequence

import torch
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
