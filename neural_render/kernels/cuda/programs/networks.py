"""Networks without biases on tiles of samples, with what flows back through them.

Legend: z1 what comes out of the first layer, before its ReLU; z_k likewise; a tile is padded with
zeros to powers of two, 16 at least, as tensor cores want it.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from neural_render.kernels.cuda.programs.grids import as_numbers


class Network(NamedTuple):
    """A network as kernels take it."""

    weights: Any
    # Constants:
    inputs: Any
    width: Any
    hidden: Any
    outputs: Any
    inputs_tile: Any
    width_tile: Any
    outputs_tile: Any
    first: Any  # what the first layer gives: width, or outputs where nothing is hidden
    first_tile: Any
    numbers: Any  # what products are made of: 0 float32, 1 float16, 2 bfloat16


@triton.jit
def product(left, right, network):
    """The matrix product, summed in float32."""
    left, right = narrowed(left, network), narrowed(right, network)
    return tl.dot(left, right, input_precision="ieee").to(tl.float32)


@triton.jit
def narrowed(values, network):
    """The values in the network's numbers."""
    return as_numbers(values, network.numbers)


@triton.jit
def weight_places(ROWS, COLUMNS, STRIDE, ROWS_TILE: tl.constexpr, COLUMNS_TILE: tl.constexpr):
    """Places of a block of a row-major matrix, ``[rows columns]``, and the part that it fills."""
    row = tl.arange(0, ROWS_TILE)[:, None]
    column = tl.arange(0, COLUMNS_TILE)[None, :]
    return row * STRIDE + column, (row < ROWS) & (column < COLUMNS)


@triton.jit
def layer_start(network, LAYER: tl.constexpr):
    """Where the weights of a layer begin: 0 the first, 1 to hidden - 1, hidden the last."""
    if LAYER == 0:
        return 0
    else:
        return network.width * network.inputs + (LAYER - 1) * network.width * network.width


@triton.jit
def layer_weights(network, LAYER: tl.constexpr):
    """The weights ``[outputs inputs]`` of a layer behind the first."""
    start = layer_start(network, LAYER)
    if network.hidden == LAYER:
        place, inside = weight_places(
            network.outputs, network.width, network.width, network.outputs_tile, network.width_tile
        )
    else:
        place, inside = weight_places(
            network.width, network.width, network.width, network.width_tile, network.width_tile
        )
    return tl.load(network.weights + start + place, mask=inside, other=0.0)


@triton.jit
def first_weights(network, COLUMN, COLUMNS, COLUMNS_TILE: tl.constexpr):
    """Weights of the first layer for some of its inputs, ``[first inputs]``."""
    place, inside = weight_places(
        network.first, COLUMNS, network.inputs, network.first_tile, COLUMNS_TILE
    )
    return tl.load(network.weights + COLUMN + place, mask=inside, other=0.0)


@triton.jit
def rectified(z):
    """The greater of z and 0; NaN stays NaN."""
    return tl.maximum(z, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def hidden_values(z1, network, LAYERS: tl.constexpr):
    """z of the hidden layer that lies so many behind the first."""
    z = z1
    for layer in tl.static_range(1, LAYERS + 1):
        z = product(rectified(z), tl.trans(layer_weights(network, layer)), network)
    return z


@triton.jit
def last_values(z1, network):
    """The network's outputs, given what comes out of its first layer."""
    if network.hidden == 0:
        return z1
    else:
        return hidden_values(z1, network, network.hidden)


class Trace(NamedTuple):
    """What a backward pass leaves for the gradients to weights, in the network's numbers.

    Layer k's are ``slope^T input``; the last layer's slopes are ``last``.
    """

    inputs: Any  # of layer 0, [room inputs]
    hidden: Any  # of the others, [layers room width]
    slopes: Any  # what flows back to what layers give before their ReLU, [layers room width]
    last: Any  # to the outputs, [room outputs]


@triton.jit
def keep(out, values, place, network, COUNT, COUNT_TILE: tl.constexpr):
    """Stores rows in the network's numbers; ``place``: see ``back_to_first``."""
    store_rows(out, as_numbers(values, network.numbers), place[0], place[1], COUNT, COUNT_TILE)


@triton.jit
def keep_slope(gradient, network, trace, place, LAYER: tl.constexpr):
    """Stores the gradient to what a layer gives."""
    if network.hidden == LAYER:
        keep(trace.last, gradient, place, network, network.outputs, network.outputs_tile)
    else:
        start = trace.slopes + LAYER * place[2].to(tl.int64) * network.width
        keep(start, gradient, place, network, network.width, network.width_tile)


@triton.jit
def back_to_first(given, z1, network, trace, place):
    """The gradient to z1, given that to the outputs; what weights want goes to ``trace``.

    Hidden layers are computed anew from z1: networks are shallow, and memory is slower.
    ``place``: samples, their mask, and how many the trace has room for.
    """
    gradient = given
    for back in tl.static_range(network.hidden):
        keep_slope(gradient, network, trace, place, network.hidden - back)
        z = hidden_values(z1, network, network.hidden - back - 1)
        start = (network.hidden - back - 1) * place[2].to(tl.int64) * network.width
        start = trace.hidden + start
        keep(start, rectified(z), place, network, network.width, network.width_tile)
        weights = layer_weights(network, network.hidden - back)
        gradient = tl.where(z > 0.0, product(gradient, weights, network), 0.0)
    keep_slope(gradient, network, trace, place, 0)
    return gradient


@triton.jit(do_not_specialize=["count", "start", "stride"])
def weights_program(layer, count, sums, start, stride, shape, BLOCK: tl.constexpr):
    """Each program's part of the gradient to the weights of a layer.

    It is ``layer[0]^T layer[1]``: what flows back to what it gives, and what it takes in.

    Programs take turns with the tiles. ``shape``: outputs and inputs, and their tiles. ``sums`` has
    a row of ``stride`` weights for each program, the layer's from ``start`` on. The device holds
    the ``count`` of samples.
    """
    OUTPUTS: tl.constexpr = shape[0]
    INPUTS: tl.constexpr = shape[1]
    number = tl.load(count)
    total = tl.zeros([shape[2], shape[3]], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(number, BLOCK).to(tl.int32), tl.num_programs(0)):
        sample = tile * BLOCK + tl.arange(0, BLOCK)
        mask = sample < number
        slope = load_rows(layer[0], sample, mask, OUTPUTS, shape[2])
        values = load_rows(layer[1], sample, mask, INPUTS, shape[3])
        total += tl.dot(tl.trans(slope), values, input_precision="ieee").to(tl.float32)
    place, inside = weight_places(OUTPUTS, INPUTS, INPUTS, shape[2], shape[3])
    row = sums + tl.program_id(0).to(tl.int64) * stride + start
    tl.store(row + place, total, mask=inside)


@triton.jit
def load_rows(values, sample, mask, COUNT, COUNT_TILE: tl.constexpr):
    """Rows of a matrix of COUNT columns as a tile."""
    column = tl.arange(0, COUNT_TILE)
    place = sample.to(tl.int64)[:, None] * COUNT + column[None, :]
    return tl.load(values + place, mask=mask[:, None] & (column < COUNT)[None, :], other=0.0)


@triton.jit
def store_rows(out, values, sample, mask, COUNT, COUNT_TILE: tl.constexpr):
    """The opposite."""
    column = tl.arange(0, COUNT_TILE)
    place = sample.to(tl.int64)[:, None] * COUNT + column[None, :]
    tl.store(out + place, values, mask=mask[:, None] & (column < COUNT)[None, :])


@triton.jit(do_not_specialize=["count"])
def network_program(inputs, network, out, count, BLOCK: tl.constexpr):
    """``[samples outputs]`` of all samples."""
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < count
    values = load_rows(inputs, sample, mask, network.inputs, network.inputs_tile)
    weights = first_weights(network, 0, network.inputs, network.inputs_tile)
    outputs = last_values(product(values, tl.trans(weights), network), network)
    store_rows(out, outputs, sample, mask, network.outputs, network.outputs_tile)


@triton.jit(do_not_specialize=["count", "room"])
def network_backward_program(inputs, network, gradients, trace, count, room, BLOCK: tl.constexpr):
    """Gradients to inputs, and what those to weights are made of.

    ``gradients``: to the outputs (in), to inputs, and the factor under which they are computed.
    """
    factor = tl.load(gradients[2])
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < count
    place = (sample, mask, room)
    values = load_rows(inputs, sample, mask, network.inputs, network.inputs_tile)
    weights = first_weights(network, 0, network.inputs, network.inputs_tile)
    z1 = product(values, tl.trans(weights), network)
    keep(trace.inputs, values, place, network, network.inputs, network.inputs_tile)
    given = load_rows(gradients[0], sample, mask, network.outputs, network.outputs_tile)
    gradient = back_to_first(given * factor, z1, network, trace, place)
    to_inputs = product(gradient, weights, network) / factor
    store_rows(gradients[1], to_inputs, sample, mask, network.inputs, network.inputs_tile)
