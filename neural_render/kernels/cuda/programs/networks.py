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
def hidden_values(z1, network, LAYERS: tl.constexpr):
    """z of the hidden layer that lies so many behind the first."""
    z = z1
    for layer in tl.static_range(1, LAYERS + 1):
        z = product(tl.maximum(z, 0.0), tl.trans(layer_weights(network, layer)), network)
    return z


@triton.jit
def last_values(z1, network):
    """The network's outputs, given what comes out of its first layer."""
    if network.hidden == 0:
        return z1
    else:
        return hidden_values(z1, network, network.hidden)


@triton.jit
def add_to(sums, left, right, place, inside, network):
    """Adds ``left^T right`` to a block of sums of this program's own."""
    added = product(tl.trans(left), right, network)
    before = tl.load(sums + place, mask=inside, other=0.0)
    tl.store(sums + place, before + added, mask=inside)
    # The next tile may meet the same element in another thread.
    tl.debug_barrier()


@triton.jit
def back_to_first(given, z1, network, sums):
    """The gradient to z1, given that to the outputs; those to weights behind it go to ``sums``.

    Hidden layers are computed anew from z1: networks are shallow, and memory is slower.
    """
    gradient = given
    for back in tl.static_range(network.hidden):
        z = hidden_values(z1, network, network.hidden - back - 1)
        weights = layer_weights(network, network.hidden - back)
        start = layer_start(network, network.hidden - back)
        if back == 0:
            place, inside = weight_places(
                network.outputs,
                network.width,
                network.width,
                network.outputs_tile,
                network.width_tile,
            )
        else:
            place, inside = weight_places(
                network.width, network.width, network.width, network.width_tile, network.width_tile
            )
        add_to(sums + start, gradient, tl.maximum(z, 0.0), place, inside, network)
        gradient = tl.where(z > 0.0, product(gradient, weights, network), 0.0)
    return gradient


@triton.jit
def add_first(gradient, values, network, sums, COLUMN, COLUMNS, COLUMNS_TILE: tl.constexpr):
    """Adds the gradient of those weights of the first layer that take ``values`` in."""
    place, inside = weight_places(
        network.first, COLUMNS, network.inputs, network.first_tile, COLUMNS_TILE
    )
    add_to(sums + COLUMN, gradient, values, place, inside, network)


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


@triton.jit(do_not_specialize=["count", "tiles"])
def network_backward_program(inputs, network, gradients, count, tiles, BLOCK: tl.constexpr):
    """Gradients to inputs, and each program's sums of those to weights over so many tiles.

    ``gradients``: to the outputs (in), to inputs, sums ``[programs weights]``, and the factor under
    which gradients are computed.
    """
    total = network.first * network.inputs
    if network.hidden > 0:
        total += (network.hidden - 1) * network.width * network.width
        total += network.outputs * network.width
    sums = gradients[2] + tl.program_id(0).to(tl.int64) * total
    factor = tl.load(gradients[3])
    for tile in range(tiles):
        sample = (tl.program_id(0) * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        mask = sample < count
        values = load_rows(inputs, sample, mask, network.inputs, network.inputs_tile)
        weights = first_weights(network, 0, network.inputs, network.inputs_tile)
        z1 = product(values, tl.trans(weights), network)
        given = load_rows(gradients[0], sample, mask, network.outputs, network.outputs_tile)
        gradient = back_to_first(given * factor, z1, network, sums)
        add_first(gradient, values, network, sums, 0, network.inputs, network.inputs_tile)
        to_inputs = product(gradient, weights, network) / factor
        store_rows(gradients[1], to_inputs, sample, mask, network.inputs, network.inputs_tile)
