"""The fused field: encoding, density network, harmonics, colour network, and back.

Legend: latent what the density network gives; rest the colour network's other inputs, in the order
reflected harmonics, cosine, harmonics, conditions; z1 see ``networks``.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from neural_render.kernels.cuda.programs.grids import (
    as_numbers,
    column_scales,
    coordinates_of,
    footprint_weight,
    place_of,
    slopes,
)
from neural_render.kernels.cuda.programs.harmonics import (
    back_to_direction,
    chosen,
    harmonics,
)
from neural_render.kernels.cuda.programs.marching import vector_of
from neural_render.kernels.cuda.programs.networks import (
    back_to_first,
    first_weights,
    keep,
    last_values,
    load_rows,
    product,
    store_rows,
)


class Field(NamedTuple):
    """What a field is beside its grid and networks."""

    bias: Any  # of the log-density
    norms: Any  # of spherical harmonics
    # Constants:
    latent: Any
    rest: Any
    rest_tile: Any
    sh_degree: Any
    reflection_degree: Any
    conditions: Any
    is_exponential: Any


class Samples(NamedTuple):
    """Where a field is asked: samples, their directions and conditions a row each.

    ``index``: the row of conditions of each; ``of_rays``: it is the row of directions too.
    """

    points: Any
    footprint: Any
    directions: Any
    conditions: Any
    index: Any
    # Constants:
    of_rays: Any


class Features(NamedTuple):
    """The grid's features of samples, ``[features stride]``."""

    stored: Any
    place: Any  # of those that are meant
    # Constants:
    listed: Any  # whether they are some, and not the first ones


class Asked(NamedTuple):
    """Where a field is asked, with the grid's features there."""

    samples: Any
    features: Any


class Model(NamedTuple):
    """A field with all its parts."""

    grid: Any
    density: Any  # networks
    color: Any
    field: Any


@triton.jit
def clamped_slope(x):
    """The slope that the backward pass takes for an exponential's (Instant-NGP)."""
    return tl.exp(tl.minimum(x, 15.0, propagate_nan=tl.PropagateNan.ALL))


@triton.jit
def features_of(features, stride, sample, mask, grid):
    """The grid's features of samples as a tile."""
    place = place_of(features, sample, mask)
    column = tl.arange(0, grid.columns)
    inside = mask[:, None] & (column < grid.levels * grid.features)[None, :]
    start = features.stored + column.to(tl.int64)[None, :] * stride
    return tl.load(start + place[:, None], mask=inside, other=0.0)


@triton.jit
def first_values(features, network, grid):
    """z1 of the density network."""
    weights = first_weights(network, 0, network.inputs, grid.columns)
    return product(features, tl.trans(weights), network)


@triton.jit
def direction_of(samples, sample, mask):
    """The direction of each sample, as three vectors."""
    row = sample
    if samples.of_rays:
        row = tl.load(samples.index + sample, mask=mask, other=0)
    x = tl.load(samples.directions + row * 3, mask=mask, other=0.0)
    y = tl.load(samples.directions + row * 3 + 1, mask=mask, other=0.0)
    z = tl.load(samples.directions + row * 3 + 2, mask=mask, other=0.0)
    return x, y, z


@triton.jit
def normal_of(latent):
    """The normal that latent values 1 to 3 stand for."""
    column = tl.arange(0, latent.shape[1])
    x, y, z = chosen(latent, column == 1), chosen(latent, column == 2), chosen(latent, column == 3)
    scale = 1.0 / tl.sqrt(x * x + y * y + z * z + 1e-4)
    return x * scale, y * scale, z * scale


@triton.jit
def dot3(one, other):
    """The scalar product of three vectors each."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


@triton.jit
def mirrored(direction, normal):
    """The direction, reflected about the normal, and the cosine between the two."""
    cosine = dot3(direction, normal)
    x = direction[0] - 2.0 * cosine * normal[0]
    y = direction[1] - 2.0 * cosine * normal[1]
    z = direction[2] - 2.0 * cosine * normal[2]
    return (x, y, z), cosine


@triton.jit
def rest_of(samples, sample, mask, latent, field):
    """The colour network's inputs beside the latent values."""
    column = tl.arange(0, field.rest_tile)
    direction = direction_of(samples, sample, mask)
    start = 0
    if field.reflection_degree > 0:
        start = field.reflection_degree * field.reflection_degree + 1
    tile = harmonics(direction, column - start, field.norms, field.sh_degree)
    if field.reflection_degree > 0:
        reflection, cosine = mirrored(direction, normal_of(latent))
        tile += harmonics(reflection, column, field.norms, field.reflection_degree)
        tile = tl.where((column == start - 1)[None, :], cosine[:, None], tile)
    if field.conditions > 0:
        row = tl.load(samples.index + sample, mask=mask, other=0)
        first = start + field.sh_degree * field.sh_degree
        wanted = (column >= first) & (column < first + field.conditions)
        place = row.to(tl.int64)[:, None] * field.conditions + (column - first)[None, :]
        inside = mask[:, None] & wanted[None, :]
        tile += tl.load(samples.conditions + place, mask=inside, other=0.0)
    return tile


@triton.jit
def first_of_color(latent, rest, network, field, LATENT_TILE: tl.constexpr):
    """z1 of the colour network."""
    of_latent = first_weights(network, 0, field.latent, LATENT_TILE)
    of_rest = first_weights(network, field.latent, field.rest, field.rest_tile)
    return product(latent, tl.trans(of_latent), network) + product(rest, tl.trans(of_rest), network)


@triton.jit(do_not_specialize=["count"])
def place_program(marched, rays, count, points, footprint, BLOCK: tl.constexpr):
    """Where samples of rays lie: ``[samples 3]``, and how wide their pixels are there.

    ``marched``: t_near, t_far and ray of all samples; ``rays``: origins, directions, footprints.
    The device holds their ``count``, and does nothing behind it.
    """
    number = tl.load(count)
    if tl.program_id(0) * BLOCK >= number:
        return
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < number
    ray = tl.load(marched[2] + sample, mask=mask, other=0)
    middle = tl.load(marched[0] + sample, mask=mask, other=0.0)
    middle = 0.5 * (middle + tl.load(marched[1] + sample, mask=mask, other=0.0))
    origin, direction = vector_of(rays[0], ray, mask), vector_of(rays[1], ray, mask)
    for axis in tl.static_range(3):
        tl.store(points + sample * 3 + axis, origin[axis] + direction[axis] * middle, mask=mask)
    width = tl.load(rays[2] + ray, mask=mask, other=0.0) * middle
    tl.store(footprint + sample, width, mask=mask)


@triton.jit(do_not_specialize=["count", "stride"])
def density_program(features, stride, count, model, out, BLOCK: tl.constexpr):
    """The density of samples with such features, stored at their places.

    Programs take turns with the tiles. The device holds the ``count``, and does nothing behind it.
    """
    number = tl.load(count)
    for tile in range(tl.program_id(0), tl.cdiv(number, BLOCK).to(tl.int32), tl.num_programs(0)):
        sample = tile * BLOCK + tl.arange(0, BLOCK)
        mask = sample < number
        values = features_of(features, stride, sample, mask, model.grid)
        latent = last_values(first_values(values, model.density, model.grid), model.density)
        exponent = chosen(latent, tl.arange(0, model.density.outputs_tile) == 0)
        density = tl.exp(exponent + model.field.bias)
        tl.store(out + place_of(features, sample, mask), density, mask=mask)


@triton.jit(do_not_specialize=["count", "stride"])
def field_program(asked, stride, count, model, out, BLOCK: tl.constexpr):
    """Density ``out[0]`` and radiance ``out[1]`` ``[samples channels]`` of all samples.

    The device holds their ``count``, and does nothing behind it.
    """
    number = tl.load(count)
    if tl.program_id(0) * BLOCK >= number:
        return
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < number
    tile = features_of(asked.features, stride, sample, mask, model.grid)
    latent = last_values(first_values(tile, model.density, model.grid), model.density)
    exponent = chosen(latent, tl.arange(0, model.density.outputs_tile) == 0) + model.field.bias
    tl.store(out[0] + sample, tl.exp(exponent), mask=mask)
    rest = rest_of(asked.samples, sample, mask, latent, model.field)
    raw = last_values(
        first_of_color(latent, rest, model.color, model.field, model.density.outputs_tile),
        model.color,
    )
    radiance = tl.exp(raw) if model.field.is_exponential else 1.0 / (1.0 + tl.exp(-raw))
    store_rows(out[1], radiance, sample, mask, model.color.outputs, model.color.outputs_tile)


class FieldBackward(NamedTuple):
    """What a backward pass takes in and gives."""

    density: Any  # gradients to outputs
    radiance: Any
    factors: Any  # under which gradients are computed: of the density network, of the other
    features: Any  # out, [features samples], their footprint's weight in it
    points: Any  # out, [samples 3]
    directions: Any  # out, [samples 3]
    conditions: Any  # out, [samples conditions]
    of_density: Any  # out, the networks' traces
    of_color: Any
    # Constants:
    has_color: Any
    inputs_too: Any  # whether points, directions and conditions get a gradient


@triton.jit
def radiance_slope(raw, field):
    """The derivative of radiance to the colour network's outputs."""
    if field.is_exponential:
        return clamped_slope(raw)
    else:
        seen = 1.0 / (1.0 + tl.exp(-raw))
        return seen * (1.0 - seen)


@triton.jit
def back_to_rays(to_rest, latent, samples, place, field, gradients):
    """Stores what the colour network's inputs pass on to directions and conditions.

    ``place``: the samples and their mask.
    """
    sample, mask = place[0], place[1]
    column = tl.arange(0, field.rest_tile)
    direction = direction_of(samples, sample, mask)
    start = 0
    if field.reflection_degree > 0:
        start = field.reflection_degree * field.reflection_degree + 1
    x, y, z = back_to_direction(to_rest, direction, column - start, field.norms, field.sh_degree)
    if field.reflection_degree > 0:
        normal = normal_of(latent)
        reflection = mirrored(direction, normal)[0]
        back = back_to_direction(to_rest, reflection, column, field.norms, field.reflection_degree)
        along = chosen(to_rest, column == start - 1) - 2.0 * dot3(back, normal)
        x += back[0] + along * normal[0]
        y += back[1] + along * normal[1]
        z += back[2] + along * normal[2]
    tl.store(gradients.directions + sample * 3, x, mask=mask)
    tl.store(gradients.directions + sample * 3 + 1, y, mask=mask)
    tl.store(gradients.directions + sample * 3 + 2, z, mask=mask)
    if field.conditions > 0:
        first = start + field.sh_degree * field.sh_degree
        wanted = (column >= first) & (column < first + field.conditions)
        to = sample.to(tl.int64)[:, None] * field.conditions + (column - first)[None, :]
        tl.store(gradients.conditions + to, to_rest, mask=mask[:, None] & wanted[None, :])


@triton.jit
def back_through_color(samples, place, latent, color, field, gradients, LATENT_TILE: tl.constexpr):
    """The gradient to the latent values through the colour network."""
    sample, mask = place[0], place[1]
    factor = tl.load(gradients.factors + 1)
    rest = rest_of(samples, sample, mask, latent, field)
    # Both lie in one row of the network's inputs.
    row = sample.to(tl.int64)[:, None] * color.inputs
    column = tl.arange(0, LATENT_TILE)
    inside = mask[:, None] & (column < field.latent)[None, :]
    inputs = gradients.of_color.inputs + row
    tl.store(inputs + column[None, :], as_numbers(latent, color.numbers), mask=inside)
    column = tl.arange(0, field.rest_tile)
    inside = mask[:, None] & (column < field.rest)[None, :]
    inputs += field.latent
    tl.store(inputs + column[None, :], as_numbers(rest, color.numbers), mask=inside)
    z1 = first_of_color(latent, rest, color, field, LATENT_TILE)
    slope = radiance_slope(last_values(z1, color), field)
    given = load_rows(gradients.radiance, sample, mask, color.outputs, color.outputs_tile)
    gradient = back_to_first(given * slope * factor, z1, color, gradients.of_color, place)
    if gradients.inputs_too:
        of_rest = first_weights(color, field.latent, field.rest, field.rest_tile)
        to_rest = product(gradient, of_rest, color) / factor
        back_to_rays(to_rest, latent, samples, place, field, gradients)
    return product(gradient, first_weights(color, 0, field.latent, LATENT_TILE), color) / factor


@triton.jit
def back_to_grid(gradient, samples, place, grid, gradients, factor):
    """Stores the gradient to features, without the factor, and to points where it is wanted.

    ``place``: the samples, their mask and how many the gradients have room for.
    """
    sample, mask, room = place
    column = tl.arange(0, grid.columns)
    used = column < grid.levels * grid.features
    footprint = tl.load(samples.footprint + sample, mask=mask, other=0.0)
    unweighted = gradient / factor * footprint_weight(footprint, column_scales(grid))
    by_feature = column.to(tl.int64)[None, :] * room + sample[:, None]
    tl.store(gradients.features + by_feature, unweighted, mask=mask[:, None] & used[None, :])
    if gradients.inputs_too:
        coordinates = coordinates_of(samples.points, sample, mask, grid)
        slope = slopes(coordinates, unweighted, grid)
        for axis in tl.static_range(grid.dims):
            tl.store(gradients.points + sample * grid.dims + axis, slope[axis], mask=mask)


@triton.jit(do_not_specialize=["stride", "count", "room"])
def field_backward_program(asked, stride, count, model, gradients, room, BLOCK: tl.constexpr):
    """All gradients of density and radiance, and what those to weights are made of.

    The device holds the ``count`` of samples, and does nothing behind it; gradients have ``room``
    for some more.
    """
    number = tl.load(count)
    if tl.program_id(0) * BLOCK >= number:
        return
    factor = tl.load(gradients.factors)
    first_column = tl.arange(0, model.density.outputs_tile) == 0
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < number
    place = (sample, mask, room)
    values = features_of(asked.features, stride, sample, mask, model.grid)
    inputs = gradients.of_density.inputs
    keep(inputs, values, place, model.density, model.density.inputs, model.grid.columns)
    z1 = first_values(values, model.density, model.grid)
    latent = last_values(z1, model.density)
    to_density = tl.load(gradients.density + sample, mask=mask, other=0.0)
    to_first = to_density * clamped_slope(chosen(latent, first_column) + model.field.bias)
    to_latent = tl.where(first_column[None, :], to_first[:, None], 0.0)
    if gradients.has_color:
        to_latent += back_through_color(
            asked.samples,
            place,
            latent,
            model.color,
            model.field,
            gradients,
            model.density.outputs_tile,
        )
    to_latent *= factor
    gradient = back_to_first(to_latent, z1, model.density, gradients.of_density, place)
    weights = first_weights(model.density, 0, model.density.inputs, model.grid.columns)
    back_to_grid(
        product(gradient, weights, model.density),
        asked.samples,
        place,
        model.grid,
        gradients,
        factor,
    )
