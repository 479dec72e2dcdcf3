"""Networks on the GPU."""

import torch
import triton.language as tl
from torch import Tensor

from neural_render.kernels.cuda.device import block, launch, precision, ready, tiles
from neural_render.kernels.cuda.encoding import NUMBERS, padded
from neural_render.kernels.cuda.programs.networks import (
    Network,
    network_backward_program,
    network_program,
)
from neural_render.kernels.specs import MlpSpec

BLOCK = 64  # samples of a tile
PROGRAMS = 512  # at most, each with sums of its own for the gradients to weights
LARGEST_FACTOR = 2.0**24


def network_of(weights: Tensor, spec: MlpSpec, name: str = "weights") -> Network:
    """The network as kernels take it."""
    first = spec.width if spec.hidden_layers else spec.outputs
    return Network(
        ready(weights, name, spec.num_weights),
        tl.constexpr(spec.inputs),
        tl.constexpr(spec.width),
        tl.constexpr(spec.hidden_layers),
        tl.constexpr(spec.outputs),
        padded(spec.inputs),
        padded(spec.width),
        padded(spec.outputs),
        tl.constexpr(first),
        padded(first),
        tl.constexpr(NUMBERS[getattr(torch, precision())]),
    )


def shares(count: int, size: int) -> tuple[int, int]:
    """How many programs share so many samples, and how many tiles each takes, whatever the GPU."""
    needed = tiles(count, size)
    each = max(1, tiles(needed, PROGRAMS))
    return tiles(needed, each), each


def gradient_factor(*gradients: Tensor) -> Tensor:
    """A power of two that brings the largest of the gradients near to 1; no host waits for it.

    Products of float16 numbers would lose small ones; with float32 it changes nothing.
    """
    largest = torch.stack([g.abs().amax() if g.numel() else g.new_zeros(()) for g in gradients])
    wanted = torch.exp2(-torch.log2(largest.amax()).ceil())
    return wanted.nan_to_num(nan=1.0, posinf=1.0).clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR)


def mlp(inputs: Tensor, weights: Tensor, spec: MlpSpec) -> Tensor:
    """See ``ops.mlp``."""
    inputs = ready(inputs, "inputs", -1, spec.inputs)
    count = len(inputs)
    size = block(BLOCK, count)
    out = inputs.new_empty(count, spec.outputs)
    given = (inputs, network_of(weights, spec), out, count)
    launch(network_program, (tiles(count, size),), *given, BLOCK=size)
    return out


def mlp_backward(
    gradient: Tensor, inputs: Tensor, weights: Tensor, spec: MlpSpec
) -> tuple[Tensor, Tensor]:
    """Gradients to inputs and weights."""
    inputs = ready(inputs, "inputs", -1, spec.inputs)
    count = len(inputs)
    size = block(BLOCK, count)
    gradient = ready(gradient, "gradient", count, spec.outputs)
    programs, each = shares(count, size)
    to_inputs, sums = torch.empty_like(inputs), inputs.new_zeros(programs, spec.num_weights)
    factor = gradient_factor(gradient)
    given = (inputs, network_of(weights, spec), (gradient, to_inputs, sums, factor), count, each)
    launch(network_backward_program, (programs,), *given, BLOCK=size)
    return to_inputs, sums.sum(0) / factor
