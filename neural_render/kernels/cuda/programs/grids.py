"""Hash-grid features, tile by tile: a row for each sample, a column for each feature.

Legend: C columns, column ``level * features + feature``, padded to a power of two; sides: what each
axis contributes to the corners of the samples' cells, all of it ``[samples columns]``.
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
    xor: Any
    prime1: Any
    prime2: Any
    prime3: Any


@triton.jit
def level_columns(grid):
    """Scale, resolution, first row, rows and density of each column's level; the columns in use."""
    column = tl.arange(0, grid.columns)
    used = column < grid.levels * grid.features
    level = column // grid.features
    scale = tl.load(grid.scales + level, mask=used, other=0.0)
    resolution = tl.load(grid.numbers + level * 4, mask=used, other=1).to(tl.uint32)
    first = tl.load(grid.numbers + level * 4 + 1, mask=used, other=0)
    rows = tl.load(grid.numbers + level * 4 + 2, mask=used, other=1).to(tl.uint32)
    dense = tl.load(grid.numbers + level * 4 + 3, mask=used, other=0)
    return scale, resolution, first, rows, dense, used


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
def sides_of(coordinates, levels, grid):
    """``axis_sides`` along all axes; those that the grid does not have repeat the first."""
    scale, resolution = levels[0], levels[1]
    one = resolution * 0 + 1
    first = axis_sides(coordinates[0], scale, one, 1)
    second = axis_sides(coordinates[1], scale, resolution, grid.prime1)
    third, fourth = first, first
    if grid.dims > 2:
        third = axis_sides(coordinates[2], scale, resolution * resolution, grid.prime2)
    if grid.dims > 3:
        cube = resolution * resolution * resolution
        fourth = axis_sides(coordinates[3], scale, cube, grid.prime3)
    return first, second, third, fourth


@triton.jit
def corner_rows(sides, levels, grid, CORNER: tl.constexpr):
    """The table's row of a corner of each cell: bit a of CORNER says on which side of axis a.

    A lattice point beyond the last one of a dense level wraps, which only ``xor`` lets happen.
    """
    rows = levels[3][None, :]
    dense = sides[0][0][CORNER & 1] + sides[1][0][CORNER >> 1 & 1]
    hashed = sides[0][1][CORNER & 1]
    if grid.xor:
        hashed = hashed ^ sides[1][1][CORNER >> 1 & 1]
    else:
        hashed = hashed + sides[1][1][CORNER >> 1 & 1]
    if grid.dims > 2:
        dense += sides[2][0][CORNER >> 2 & 1]
        if grid.xor:
            hashed = hashed ^ sides[2][1][CORNER >> 2 & 1]
        else:
            hashed = hashed + sides[2][1][CORNER >> 2 & 1]
    if grid.dims > 3:
        dense += sides[3][0][CORNER >> 3 & 1]
        if grid.xor:
            hashed = hashed ^ sides[3][1][CORNER >> 3 & 1]
        else:
            hashed = hashed + sides[3][1][CORNER >> 3 & 1]
    dense = tl.where(dense >= rows, dense - rows, dense)
    # Whatever a point is, the row is one of the level's.
    row = tl.where(levels[4][None, :] != 0, dense, hashed & (grid.hashed_rows - 1))
    return tl.minimum(row, rows - 1).to(tl.int64) + levels[2][None, :]


@triton.jit
def corner_values(sides, levels, grid, CORNER: tl.constexpr):
    """The table's entries at a corner of each cell, ``[samples columns]``."""
    feature = tl.arange(0, grid.columns) % grid.features
    place = corner_rows(sides, levels, grid, CORNER) * grid.features + feature[None, :]
    return tl.load(grid.table + place, mask=levels[5][None, :], other=0.0)


@triton.jit
def corner_weight(sides, grid, CORNER: tl.constexpr, WITHOUT: tl.constexpr):
    """A corner's interpolation weight; instead of what axis WITHOUT contributes, its sign."""
    if WITHOUT == 0:
        weight = sides[1][2][CORNER >> 1 & 1] * ((CORNER & 1) * 2 - 1)
    elif WITHOUT == 1:
        weight = sides[0][2][CORNER & 1] * ((CORNER >> 1 & 1) * 2 - 1)
    else:
        weight = sides[0][2][CORNER & 1] * sides[1][2][CORNER >> 1 & 1]
    if grid.dims > 2:
        if WITHOUT == 2:
            weight = weight * ((CORNER >> 2 & 1) * 2 - 1)
        else:
            weight = weight * sides[2][2][CORNER >> 2 & 1]
    if grid.dims > 3:
        if WITHOUT == 3:
            weight = weight * ((CORNER >> 3 & 1) * 2 - 1)
        else:
            weight = weight * sides[3][2][CORNER >> 3 & 1]
    return weight


@triton.jit
def footprint_weight(footprint, scale):
    """``erf(1 / (sqrt(8) sigma N))`` (Barron et al. 2023, eq. 5), ``[samples columns]``."""
    width = footprint[:, None] * scale[None, :]
    return tl.where(
        width > 0.0, tl.erf(0.3535533905932738 / tl.where(width > 0.0, width, 1.0)), 1.0
    )


@triton.jit
def encode(coordinates, footprint, grid):
    """The features of samples, ``[samples columns]``; 0 in columns that are not in use."""
    levels = level_columns(grid)
    sides = sides_of(coordinates, levels, grid)
    features = sides[0][2][0] * 0.0
    for corner in tl.static_range(grid.corners):
        weight = corner_weight(sides, grid, corner, -1)
        features += weight * corner_values(sides, levels, grid, corner)
    return features * footprint_weight(footprint, levels[0])


@triton.jit
def slopes(coordinates, to_features, grid):
    """The gradient to all coordinates of samples, given that to unweighted features.

    That to an axis which the grid does not have means nothing.
    """
    levels = level_columns(grid)
    sides = sides_of(coordinates, levels, grid)
    given = to_features * levels[0][None, :]
    slope0 = tl.sum(given * 0.0, 1)
    slope1, slope2, slope3 = slope0, slope0, slope0
    for corner in tl.static_range(grid.corners):
        values = given * corner_values(sides, levels, grid, corner)
        slope0 += tl.sum(values * corner_weight(sides, grid, corner, 0), 1)
        slope1 += tl.sum(values * corner_weight(sides, grid, corner, 1), 1)
        if grid.dims > 2:
            slope2 += tl.sum(values * corner_weight(sides, grid, corner, 2), 1)
        if grid.dims > 3:
            slope3 += tl.sum(values * corner_weight(sides, grid, corner, 3), 1)
    return slope0, slope1, slope2, slope3


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


@triton.jit(do_not_specialize=["count"])
def encode_program(points, footprint, grid, out, count, BLOCK: tl.constexpr):
    """``[samples features]`` of all samples."""
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = sample < count
    column = tl.arange(0, grid.columns)
    width = grid.levels * grid.features
    sigma = tl.load(footprint + sample, mask=mask, other=0.0)
    features = encode(coordinates_of(points, sample, mask, grid), sigma, grid)
    place = sample.to(tl.int64)[:, None] * width + column[None, :]
    tl.store(out + place, features, mask=mask[:, None] & (column < width)[None, :])


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
    scale = level_columns(grid)[0]
    given = given * footprint_weight(tl.load(footprint + sample, mask=mask, other=0.0), scale)
    coordinates = coordinates_of(points, sample, mask, grid)
    slope = slopes(coordinates, given, grid)
    for axis in tl.static_range(grid.dims):
        tl.store(gradients[1] + sample * grid.dims + axis, slope[axis], mask=mask)
    by_feature = column.to(tl.int64)[None, :] * count + sample[:, None]
    tl.store(gradients[2] + by_feature, given, mask=inside)


@triton.jit(do_not_specialize=["count", "first"])
def scatter_program(points, gradient, grid, dense, count, first, BLOCK: tl.constexpr):
    """Adds the gradient of features, feature by feature, to rows; a level a column of programs.

    ``dense`` begins with the rows of level ``first``.
    """
    sample = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
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
    sides = sides_of(coordinates_of(points, sample, mask, grid), levels, grid)
    for corner in tl.static_range(grid.corners):
        weight = corner_weight(sides, grid, corner, -1)
        place = corner_rows(sides, levels, grid, corner) * grid.features + feature[None, :]
        # Exact zeros are left out: rows that nothing touches are not stepped.
        added = weight * given
        tl.atomic_add(dense + place, added, mask=inside & (added != 0.0), sem="relaxed")
