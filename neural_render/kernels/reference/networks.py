"""Networks without biases, the spherical harmonics of directions and the clamped exponential."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.kernels.gradients import pullback
from neural_render.kernels.specs import MlpSpec

# exp(15) is the steepest slope of the exponential that the backward pass will admit.
MAX_EXPONENT = 15.0


def mlp(
    inputs: Float[Tensor, "samples inputs"], weights: Float[Tensor, " weights"], spec: MlpSpec
) -> Float[Tensor, "samples outputs"]:
    """See ``ops.mlp``."""
    sizes = [outputs * columns for outputs, columns in spec.layer_shapes]
    layers = [
        part.reshape(shape)
        for part, shape in zip(weights.split(sizes), spec.layer_shapes, strict=True)
    ]
    values = inputs
    for layer in layers[:-1]:
        values = (values @ layer.T).relu()
    return values @ layers[-1].T


def mlp_backward(
    gradient: Float[Tensor, "samples outputs"],
    inputs: Float[Tensor, "samples inputs"],
    weights: Float[Tensor, " weights"],
    spec: MlpSpec,
    forward: Callable[[Tensor, Tensor, MlpSpec], Tensor] = mlp,
) -> tuple[Float[Tensor, "samples inputs"], Float[Tensor, " weights"]]:
    """Gradients to inputs and weights; ``forward`` may be another way to do it."""
    to_inputs, to_weights = pullback(
        lambda inputs, weights: forward(inputs, weights, spec), (inputs, weights), (gradient,)
    )
    return to_inputs, to_weights


def spherical_harmonics(
    directions: Float[Tensor, "samples 3"], degree: int
) -> Float[Tensor, "samples harmonics"]:
    """The first ``degree^2`` real spherical harmonics (degree from 1 on) of unit vectors.

    Order (l, m) = (0, 0), (1, -1), (1, 0), ...; signs with the Condon-Shortley phase, as in
    tiny-cuda-nn (Sloan 2008, "Stupid spherical harmonics tricks", appendix A1). They are
    polynomials: that of z (an associated Legendre polynomial over a power of the sine, by its
    recurrence) times the real or imaginary part of ``(x + iy)^m``. The gradient is that of these.
    """
    x, y, z = directions.unbind(-1)
    one = torch.ones_like(x)
    values = [one] * degree**2
    real, imaginary, first = one, torch.zeros_like(x), 1.0
    for m in range(degree):
        before, polynomial = torch.zeros_like(z), first * one
        for n in range(m, degree):
            if n > m:
                after = ((2 * n - 1) * z * polynomial - (n + m - 1) * before) / (n - m)
                before, polynomial = polynomial, after
            ratio = math.factorial(n - m) / math.factorial(n + m)
            norm = math.sqrt((2 * n + 1) / (4 * math.pi) * ratio * (2 if m else 1))
            values[n * n + n - m] = norm * polynomial * imaginary
            values[n * n + n + m] = norm * polynomial * real
        real, imaginary = x * real - y * imaginary, x * imaginary + y * real
        first *= -(2 * m + 1)
    return torch.stack(values, dim=-1)


class ClampedExp(torch.autograd.Function):
    """``exp(x)``; the backward pass takes ``exp(min(x, 15))`` for its slope (Instant-NGP)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The exponential."""
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient times the clamped slope."""
        (x,) = ctx.saved_tensors
        return gradients[0] * x.clamp(max=MAX_EXPONENT).exp()
