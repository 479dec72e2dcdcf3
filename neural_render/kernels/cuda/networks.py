"""Networks on the GPU."""

import torch
import triton.language as tl
from torch import Tensor

from neural_render.kernels.cuda.device import block, launch, precision, ready, tiles
from neural_render.kernels.cuda.encoding import NUMBERS, all_of, padded
from neural_render.kernels.cuda.programs.networks import (
    Network,
    Trace,
    network_backward_program,
    network_program,
    weights_program,
)
from neural_render.kernels.specs import MlpSpec

# Samples of a tile. Of 64 rows and with 4 warps products would be Hopper's asynchronous ones, which
# read beyond their memory where matrices are as narrow as these (Triton 3.6; compute-sanitizer).
BLOCK = 32
# Likewise, of tiles whose outer products are summed, which have the rows of a layer's outputs.
SUMMED, SUMMED_WARPS = 128, 2
PROGRAMS = 264  # at most, each with sums of its own for the gradients to weights
LARGEST_FACTOR = 2.0**24


def network_of(weights: Tensor, spec: MlpSpec, name: str = "weights") -> Network:
    """The network as kernels take it."""
    first, numbers = spec.width if spec.hidden_layers else spec.outputs, getattr(torch, precision())
    weights = ready(weights, name, spec.num_weights)
    if numbers != weights.dtype:
        largest = torch.finfo(numbers).max
        weights = weights.clamp(-largest, largest).to(numbers)
    return Network(
        weights,
        tl.constexpr(spec.inputs),
        tl.constexpr(spec.width),
        tl.constexpr(spec.hidden_layers),
        tl.constexpr(spec.outputs),
        padded(spec.inputs),
        padded(spec.width),
        padded(spec.outputs),
        tl.constexpr(first),
        padded(first),
        tl.constexpr(NUMBERS[numbers]),
    )


def new_trace(room: int, spec: MlpSpec, like: Tensor) -> Trace:
    """Room for what the gradients to weights are made of, of so many samples."""

    def new(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=getattr(torch, precision()), device=like.device)

    return Trace(
        inputs=new(room, spec.inputs),
        hidden=new(spec.hidden_layers, room, spec.width),
        slopes=new(spec.hidden_layers, room, spec.width),
        last=new(room, spec.outputs),
    )


def weight_gradient(trace: Trace, count: Tensor, spec: MlpSpec) -> Tensor:
    """The gradient to all weights that the first ``count`` samples of a trace make."""
    room = len(trace.last)
    size = block(SUMMED, room)
    programs = min(tiles(room, size), PROGRAMS)
    sums = torch.empty(programs, spec.num_weights, device=count.device)
    slopes, inputs, start = [*trace.slopes, trace.last], [trace.inputs, *trace.hidden], 0
    for slope, value, (rows, columns) in zip(slopes, inputs, spec.layer_shapes, strict=True):
        shape = (tl.constexpr(rows), tl.constexpr(columns), padded(rows), padded(columns))
        given = ((slope, value), count, sums, start, spec.num_weights, shape)
        launch(weights_program, (programs,), *given, warps=SUMMED_WARPS, BLOCK=size)
        start += rows * columns
    return sums.sum(0)


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
    to_inputs, trace = torch.empty_like(inputs), new_trace(count, spec, inputs)
    factor = gradient_factor(gradient)
    given = (inputs, network_of(weights, spec), (gradient, to_inputs, factor), trace, count, count)
    launch(network_backward_program, (tiles(count, size),), *given, BLOCK=size)
    return to_inputs, weight_gradient(trace, all_of(inputs), spec) / factor
