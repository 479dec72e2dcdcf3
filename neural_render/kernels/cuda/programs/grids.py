"""Hash-grid features, tile by tile: a row for each sample, a column for each feature.

Legend: C columns, column ``level * features + feature`` (those of one level, where a program has
one), padded to a power of two; a group is so many columns as one load takes, ``lanes``, all of one
level; a pair is two corners that differ in x alone; sides: what each axis contributes to the
corners of the samples' cells, ``[samples groups]``.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Grid(NamedTuple):
    """A hash grid as kernels take it."""

    table: Any
    scales: Any  # [levels]
    numbers: Any  # [levels, 4]: resolution, first row, rows, whether dense
    # Constants:
    levels: Any
    features: Any
    dims: Any
    corners: Any  # of a cell
    hashed_rows: Any
    columns: Any
    groups: Any
    lanes: Any
    xor: Any
    prime1: Any
    prime2: Any
    prime3: Any


@triton.jit
def level_groups(grid):
    """Scale, resolution, first row, rows and density of each group's level; the groups in use."""
    column = tl.arange(0, grid.groups) * grid.lanes
    used = column < grid.levels * grid.features
    level = column // grid.features
    scale = tl.load(grid.scales + level, mask=used, other=0.0)
    resolution = tl.load(grid.numbers + level * 4, mask=used, other=1).to(tl.uint32)
    first = tl.load(grid.numbers + level * 4 + 1, mask=used, other=0)
    rows = tl.load(grid.numbers + level * 4 + 2, mask=used, other=1).to(tl.uint32)
    dense = tl.load(grid.numbers + level * 4 + 3, mask=used, other=0)
    return scale, resolution, first, rows, dense, used


@triton.jit
def one_level(grid, level):
    """The same of a grid whose columns are those of one level: of this one."""
    column = tl.arange(0, grid.groups) * grid.lanes
    same = level + column * 0
    scale = tl.load(grid.scales + same)
    resolution = tl.load(grid.numbers + same * 4).to(tl.uint32)
    first = tl.load(grid.numbers + same * 4 + 1)
    rows = tl.load(grid.numbers + same * 4 + 2).to(tl.uint32)
    dense = tl.load(grid.numbers + same * 4 + 3)
    return scale, resolution, first, rows, dense, column < grid.features


@triton.jit
def column_scales(grid):
    """The scale of each column's level; 0 for those that are not in use."""
    column = tl.arange(0, grid.columns)
    used = column < grid.levels * grid.features
    return tl.load(grid.scales + column // grid.features, mask=used, other=0.0)


@triton.jit
def axis_sides(x, scale, stride, prime):
    """What one coordinate contributes to both corners along its axis, the left one first.

    Their steps in a dense level and in a hashed one, their weights.
    """
    position = x[:, None] * scale[None, :] + 0.5
    left = tl.floor(position)
    cell = left.to(tl.int32).to(tl.uint32)
    step, hashed = cell * stride[None, :], cell * prime
    right = position - left
    return (step, step + stride[None, :]), (hashed, hashed + prime), (1.0 - right, right)


@triton.jit
def first_sides(x, scale, side):
    """Step and weight of corners along the first axis, ``side`` 0 the left one and 1 the right."""
    position = x[:, None] * scale[None, :] + 0.5
    left = tl.floor(position)
    cell = left.to(tl.int32).to(tl.uint32)[:, :, None] + side.to(tl.uint32)
    right = (position - left)[:, :, None]
    return cell, tl.where(side == 1, right, 1.0 - right)


@triton.jit
def sides_of(coordinates, levels, side, grid):
    """``first_sides`` and ``axis_sides`` along the others, which repeat where there are less."""
    scale, resolution = levels[0], levels[1]
    first = first_sides(coordinates[0], scale, side)
    second = axis_sides(coordinates[1], scale, resolution, grid.prime1)
    third, fourth = second, second
    if grid.dims > 2:
        third = axis_sides(coordinates[2], scale, resolution * resolution, grid.prime2)
    if grid.dims > 3:
        cube = resolution * resolution * resolution
        fourth = axis_sides(coordinates[3], scale, cube, grid.prime3)
    return first, second, third, fourth


@triton.jit
def joined(one, other, grid):
    """What axes contribute to a hash together."""
    if grid.xor:
        return one ^ other
    else:
        return one + other


@triton.jit
def pair_rows(sides, levels, grid, PAIR: tl.constexpr):
    """The table's rows of a pair: bit a - 1 of PAIR says on which side of axis a it is.

    A lattice point beyond the last one of a dense level wraps, which only ``xor`` lets happen.
    """
    dense, hashed = sides[1][0][PAIR & 1], sides[1][1][PAIR & 1]
    if grid.dims > 2:
        dense += sides[2][0][PAIR >> 1 & 1]
        hashed = joined(hashed, sides[2][1][PAIR >> 1 & 1], grid)
    if grid.dims > 3:
        dense += sides[3][0][PAIR >> 2 & 1]
        hashed = joined(hashed, sides[3][1][PAIR >> 2 & 1], grid)
    rows = levels[3][None, :, None]
    dense = dense[:, :, None] + sides[0][0]
    hashed = joined(hashed[:, :, None], sides[0][0], grid)
    if grid.xor:
        dense = tl.where(dense >= rows, dense - rows, dense)
    # Whatever a point is, the row is one of the level's.
    row = tl.where(levels[4][None, :, None] != 0, dense, hashed & (grid.hashed_rows - 1))
    return tl.minimum(row, rows - 1).to(tl.int64) + levels[2][None, :, None]


@triton.jit
def pair_values(sides, levels, grid, PAIR: tl.constexpr):
    """The table's entries at a pair of corners of each cell, ``[samples groups 2 lanes]``.

    Neighbours in memory are loaded together: the lanes, and what a linear hash puts behind them.
    """
    lane = tl.arange(0, grid.lanes)[None, None, None, :]
    feature = tl.arange(0, grid.groups) * grid.lanes % grid.features
    start = pair_rows(sides, levels, grid, PAIR) * grid.features + feature[None, :, None]
    used = levels[5][None, :, None, None]
    return tl.load(grid.table + start[:, :, :, None] + lane, mask=used, other=0.0)


@triton.jit
def pair_weight(sides, grid, PAIR: tl.constexpr, WITHOUT: tl.constexpr):
    """A pair's interpolation weight along all axes but the first, ``[samples groups]``.

    Instead of what axis WITHOUT contributes, its sign.
    """
    if WITHOUT == 1:
        weight = sides[1][2][PAIR & 1] * 0.0 + ((PAIR & 1) * 2 - 1)
    else:
        weight = sides[1][2][PAIR & 1]
    if grid.dims > 2:
        if WITHOUT == 2:
            weight = weight * ((PAIR >> 1 & 1) * 2 - 1)
        else:
            weight = weight * sides[2][2][PAIR >> 1 & 1]
    if grid.dims > 3:
        if WITHOUT == 3:
            weight = weight * ((PAIR >> 2 & 1) * 2 - 1)
        else:
            weight = weight * sides[3][2][PAIR >> 2 & 1]
    return weight


@triton.jit
def footprint_weight(footprint, scale):
    """``erf(1 / (sqrt(8) sigma N))`` (Barron et al. 2023, eq. 5), ``[samples columns]``."""
    width = footprint[:, None] * scale[None, :]
    return tl.where(
        width > 0.0, tl.erf(0.3535533905932738 / tl.where(width > 0.0, width, 1.0)), 1.0
    )


@triton.jit
def encode(coordinates, footprint, levels, grid):
    """The features of samples, ``[samples columns]``; 0 in columns that are not in use."""
    sides = sides_of(coordinates, levels, tl.arange(0, 2)[None, None, :], grid)
    pairs = tl.zeros([footprint.shape[0], grid.groups, 2, grid.lanes], tl.float32)
    for pair in tl.static_range(grid.corners // 2):
        weight = pair_weight(sides, grid, pair, 0)
        pairs += weight[:, :, None, None] * pair_values(sides, levels, grid, pair)
    # Both corners lie with neighbouring threads until here: what follows changes its layout once.
    weight = sides[0][1] * footprint_weight(footprint, levels[0])[:, :, None]
    features = tl.sum(weight[:, :, :, None] * pairs, 2)
    return tl.reshape(features, [footprint.shape[0], grid.columns])


@triton.jit
def slopes(coordinates, to_features, grid):
    """The gradient to all coordinates of samples, given that to unweighted features.

    That to an axis which the grid does not have means nothing.
    """
    levels = level_groups(grid)
    sides = sides_of(coordinates, levels, tl.arange(0, 2)[None, None, :], grid)
    given = tl.reshape(to_features, [to_features.shape[0], grid.groups, 1, grid.lanes])
    given = given * levels[0][None, :, None, None]
    slope0 = tl.zeros_like(sides[0][1])
    slope1, slope2, slope3 = slope0, slope0, slope0
    for pair in tl.static_range(grid.corners // 2):
        values = tl.sum(given * pair_values(sides, levels, grid, pair), 3)
        slope0 += values * pair_weight(sides, grid, pair, 0)[:, :, None]
        slope1 += values * pair_weight(sides, grid, pair, 1)[:, :, None]
        if grid.dims > 2:
            slope2 += values * pair_weight(sides, grid, pair, 2)[:, :, None]
        if grid.dims > 3:
            slope3 += values * pair_weight(sides, grid, pair, 3)[:, :, None]
    sign = (tl.arange(0, 2) * 2 - 1)[None, None, :]
    return (
        tl.sum(tl.sum(slope0 * sign, 2), 1),
        tl.sum(tl.sum(slope1 * sides[0][1], 2), 1),
        tl.sum(tl.sum(slope2 * sides[0][1], 2), 1),
        tl.sum(tl.sum(slope3 * sides[0][1], 2), 1),
    )


class Places(NamedTuple):
    """Where a grid is asked."""

    points: Any  # [room dims]
    footprint: Any  # [room]
    place: Any  # the rows of those that are meant
    # Constants:
    listed: Any  # whether they are some, and not the first ones


@triton.jit
def place_of(samples, sample, mask):
    """The rows of samples that may be listed."""
    if samples.listed:
        return tl.load(samples.place + sample, mask=mask, other=0)
    else:
        return sample.to(tl.int64)


@triton.jit
def as_numbers(values, NUMBERS: tl.constexpr):
    """The values in numbers 0 float32, 1 float16, 2 bfloat16; none leaves float16's range."""
    if NUMBERS == 1:
        if values.dtype == tl.float16:
            return values
        nan: tl.constexpr = tl.PropagateNan.ALL
        values = tl.minimum(values, 65504.0, propagate_nan=nan)
        return tl.maximum(values, -65504.0, propagate_nan=nan).to(tl.float16)
    elif NUMBERS == 2:
        return values.to(tl.bfloat16)
    else:
        return values


@triton.jit
def coordinates_of(points, sample, mask, grid):
    """The coordinates of samples from ``[samples dims]``; missing axes repeat the first."""
    x0 = tl.load(points + sample * grid.dims, mask=mask, other=0.0)
    x1 = tl.load(points + sample * grid.dims + 1, mask=mask, other=0.0)
    x2, x3 = x0, x0
    if grid.dims > 2:
        x2 = tl.load(points + sample * grid.dims + 2, mask=mask, other=0.0)
    if grid.dims > 3:
        x3 = tl.load(points + sample * grid.dims + 3, mask=mask, other=0.0)
    return x0, x1, x2, x3


@triton.jit(do_not_specialize=["count", "stride"])
def encode_program(samples, grid, out, count, stride, BLOCK: tl.constexpr, NUMBERS: tl.constexpr):
    """Features of samples, level by level, ``[features stride]``; a level a column of programs.

    Programs take turns with the tiles. ``samples``: points, footprints and, where they are
    ``listed``, the places of those that are meant. The device holds their ``count``, and does
    nothing behind it.
    """
    number = tl.load(count)
    level = one_level(grid, tl.program_id(1))
    column = tl.arange(0, grid.columns)
    row = (tl.program_id(1) * grid.features + column).to(tl.int64) * stride
    for tile in range(tl.program_id(0), tl.cdiv(number, BLOCK).to(tl.int32), tl.num_programs(0)):
        sample = tile * BLOCK + tl.arange(0, BLOCK)
        mask = sample < number
        place = place_of(samples, sample, mask)
        sigma = tl.load(samples.footprint + place, mask=mask, other=0.0)
        coordinates = coordinates_of(samples.points, place, mask, grid)
        features = as_numbers(encode(coordinates, sigma, level, grid), NUMBERS)
        inside = mask[:, None] & (column < grid.features)[None, :]
        tl.store(out + row[None, :] + place[:, None], features, mask=inside)


@triton.jit(do_not_specialize=["count"])
def slope_program(points, footprint, grid, gradients, count, BLOCK: tl.constexpr):
    """Gradients to points and, feature by feature, to features before their footprint's weight.

    ``gradients``: that to the features (in), to points and to unweighted features (out).
    """
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < count
    column = tl.arange(0, grid.columns)
    width = grid.levels * grid.features
    inside = mask[:, None] & (column < width)[None, :]
    place = sample.to(tl.int64)[:, None] * width + column[None, :]
    given = tl.load(gradients[0] + place, mask=inside, other=0.0)
    sigma = tl.load(footprint + sample, mask=mask, other=0.0)
    given = given * footprint_weight(sigma, column_scales(grid))
    coordinates = coordinates_of(points, sample, mask, grid)
    slope = slopes(coordinates, given, grid)
    for axis in tl.static_range(grid.dims):
        tl.store(gradients[1] + sample * grid.dims + axis, slope[axis], mask=mask)
    by_feature = column.to(tl.int64)[None, :] * count + sample[:, None]
    tl.store(gradients[2] + by_feature, given, mask=inside)


@triton.jit(do_not_specialize=["count", "first"])
def scatter_program(points, gradient, grid, dense, count, first, BLOCK: tl.constexpr):
    """Adds the gradient of features, feature by feature, to rows; a level a column of programs.

    ``dense`` begins with the rows of level ``first``. The tile has a row for each corner of a pair:
    neighbouring threads add to neighbouring rows of a linear hash at once.
    """
    corner = tl.arange(0, 2 * BLOCK)
    sample = tl.program_id(0) * BLOCK + corner // 2
    mask = sample < count
    level = first + tl.program_id(1)
    feature = tl.arange(0, grid.columns)
    inside = mask[:, None] & (feature < grid.features)[None, :]
    by_feature = (level * grid.features + feature).to(tl.int64)[None, :] * count + sample[:, None]
    given = tl.load(gradient + by_feature, mask=inside, other=0.0)
    one = tl.zeros([1], tl.int32)
    scale = tl.load(grid.scales + level + one)
    origin = tl.load(grid.numbers + first * 4 + 1)
    levels = (
        scale,
        tl.load(grid.numbers + level * 4 + one).to(tl.uint32),
        tl.load(grid.numbers + level * 4 + 1 + one) - origin,
        tl.load(grid.numbers + level * 4 + 2 + one).to(tl.uint32),
        tl.load(grid.numbers + level * 4 + 3 + one),
    )
    coordinates = coordinates_of(points, sample, mask, grid)
    sides = sides_of(coordinates, levels, (corner % 2)[:, None, None], grid)
    # Samples whose gradient is exactly zero are left out, all features alike: then one addition may
    # take several of them.
    inside = inside & (tl.max((given != 0.0).to(tl.int32), 1) != 0)[:, None]
    for pair in tl.static_range(grid.corners // 2):
        weight = pair_weight(sides, grid, pair, 0)[:, :, None] * sides[0][1]
        row = tl.reshape(pair_rows(sides, levels, grid, pair), [2 * BLOCK, 1])
        added = tl.reshape(weight, [2 * BLOCK, 1]) * given
        place = dense + row * grid.features + feature[None, :]
        tl.atomic_add(place, added, mask=inside, sem="relaxed")
