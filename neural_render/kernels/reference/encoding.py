"""Hash-grid features (Mueller et al. 2022, section 3) and their gradients.

Legend: a point x in [0, 1] lies at ``x * scale + 0.5`` on a level's lattice; its cell has
``2^dims`` corners, x the lowest bit of a corner's number; each corner owns a row of the table.
"""

import math
from collections.abc import Callable
from functools import reduce
from operator import add, mul, xor

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding

from neural_render.kernels.gradients import pullback
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.specs import XOR_PRIMES, GridLevel, HashGridSpec


def hash_encode(
    points: Float[Tensor, "samples dims"],
    table: Float[Tensor, "rows features"],
    spec: HashGridSpec,
    footprint: Float[Tensor, " samples"],
) -> Float[Tensor, "samples level_features"]:
    """See ``ops.hash_encode``."""
    features = []
    for level in spec.level_layout():
        rows, weights = corners(points, level, spec)
        interpolated = (embedding(rows, table) * weights[..., None]).sum(1)
        features.append(interpolated * footprint_weight(footprint, level)[:, None])
    return torch.cat(features, dim=1)


def hash_encode_backward(
    gradient: Float[Tensor, "samples level_features"],
    points: Float[Tensor, "samples dims"],
    table: Float[Tensor, "rows features"],
    spec: HashGridSpec,
    footprint: Float[Tensor, " samples"],
    forward: Callable[[Tensor, Tensor, HashGridSpec, Tensor], Tensor] = hash_encode,
) -> tuple[Float[Tensor, "samples dims"], Float[Tensor, "rows features"]]:
    """Gradients to points and table (dense); ``forward`` may be another way to do it."""
    to_points, to_table = pullback(
        lambda points, table: forward(points, table, spec, footprint),
        (points, table),
        (gradient,),
    )
    return to_points, to_table


def scatter_table_gradient(
    gradient: FactoredGradient, table: Float[Tensor, "rows features"], grid: HashGridSpec
) -> Float[Tensor, "rows features"]:
    """The dense gradient of the table that a factored one stands for."""
    to_table = torch.zeros_like(table)
    to_features = gradient.features.unflatten(0, (grid.levels, grid.features))
    for number, level in enumerate(grid.level_layout()):
        rows, weights = corners(gradient.points, level, grid)
        to_corners = weights[..., None] * to_features[number].T[:, None, :]
        to_table.index_add_(0, rows.flatten(), to_corners.flatten(0, 1))
    return to_table


def footprint_weights(
    footprint: Float[Tensor, " samples"], spec: HashGridSpec
) -> Float[Tensor, "samples level_features"]:
    """The factor of each feature of a sample, levels in order."""
    weights = [footprint_weight(footprint, level) for level in spec.level_layout()]
    return torch.stack(weights, dim=1).repeat_interleave(spec.features, dim=1)


def footprint_weight(
    footprint: Float[Tensor, " samples"], level: GridLevel
) -> Float[Tensor, " samples"]:
    """``erf(1 / (sqrt(8) sigma N))``, N the level's scale (Barron et al. 2023); sigma 0 gives 1."""
    return torch.erf(1.0 / (math.sqrt(8.0) * footprint.detach() * level.scale))


def corners(
    points: Float[Tensor, "samples dims"], level: GridLevel, spec: HashGridSpec
) -> tuple[Int[Tensor, "samples corners"], Float[Tensor, "samples corners"]]:
    """Rows of the table and interpolation weights of the corners of each point's cell."""
    position = points * level.scale + 0.5
    cell = position.detach().floor()
    numbers = torch.arange(2**spec.dims, device=points.device)
    is_right = torch.stack([numbers >> axis & 1 for axis in range(spec.dims)], dim=-1)
    fraction = (position - cell)[:, None, :]
    weights = torch.where(is_right.bool(), fraction, 1.0 - fraction)
    lattice = cell.long()[:, None, :] + is_right
    return table_rows(lattice, level, spec), reduce(mul, weights.unbind(-1))


def table_rows(
    lattice: Int[Tensor, "*corners dims"], level: GridLevel, spec: HashGridSpec
) -> Int[Tensor, "*corners"]:
    """The row of the table that a lattice point owns; all arithmetic is that of 32-bit integers.

    A point beyond the last lattice point of a dense level wraps, which only ``xor`` lets happen.
    """
    coordinates = lattice.unbind(-1)
    if level.dense:
        strides = [level.resolution**axis for axis in range(spec.dims)]
        index = reduce(add, map(mul, coordinates, strides))
    elif spec.hash == "xor":
        index = reduce(xor, map(mul, coordinates, XOR_PRIMES))
    else:
        index = reduce(add, map(mul, coordinates, (1, *spec.multipliers)))
    return (index & 0xFFFFFFFF) % level.rows + level.offset
