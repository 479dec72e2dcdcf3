"""Networks without biases, the spherical harmonics of directions and the clamped exponential."""

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
) -> tuple[Float[Tensor, "samples inputs"], Float[Tensor, " weights"]]:
    """Gradients to inputs and weights."""
    to_inputs, to_weights = pullback(
        lambda inputs, weights: mlp(inputs, weights, spec), (inputs, weights), (gradient,)
    )
    return to_inputs, to_weights


def spherical_harmonics(
    directions: Float[Tensor, "samples 3"], degree: int
) -> Float[Tensor, "samples harmonics"]:
    """The first ``degree^2`` real spherical harmonics (degree 1 to 4) of unit vectors.

    Order (l, m) = (0, 0), (1, -1), (1, 0), ...; signs with the Condon-Shortley phase, as in
    tiny-cuda-nn (Sloan 2008, "Stupid spherical harmonics tricks", appendix A2). The gradient is
    that of the polynomials as they are written here.
    """
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    values = [torch.full_like(x, 0.28209479177387814)]
    if degree > 1:
        values += [-0.48860251190291987 * y, 0.48860251190291987 * z, -0.48860251190291987 * x]
    if degree > 2:
        values += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.94617469575755997 * zz - 0.31539156525251999,
            -1.0925484305920792 * x * z,
            0.54627421529603959 * (xx - yy),
        ]
    if degree > 3:
        values += [
            0.59004358992664352 * y * (yy - 3.0 * xx),
            2.8906114426405538 * x * y * z,
            0.45704579946446572 * y * (1.0 - 5.0 * zz),
            0.3731763325901154 * z * (5.0 * zz - 3.0),
            0.45704579946446572 * x * (1.0 - 5.0 * zz),
            1.4453057213202769 * z * (xx - yy),
            0.59004358992664352 * x * (3.0 * yy - xx),
        ]
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
