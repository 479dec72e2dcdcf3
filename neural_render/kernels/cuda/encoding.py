"""Hash-grid encoding on the GPU."""

from functools import lru_cache

import torch
import triton.language as tl
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels.cuda.device import block, launch, ready, tiles, turns
from neural_render.kernels.cuda.programs.grids import (
    Grid,
    Places,
    encode_program,
    scatter_program,
    slope_program,
)
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.specs import XOR_PRIMES, HashGridSpec

BLOCK = 64  # samples of a tile, a column for each feature
ENCODED, SCATTERED = 256, 256  # likewise, a column for each feature of one level
SCATTER_WARPS = 8
LEAST_TILE = 16  # as tensor cores want it
# What products are made of, as kernels know it.
NUMBERS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


def padded(count: int, least: int = LEAST_TILE) -> tl.constexpr:
    """The power of two that holds so many."""
    return tl.constexpr(max(least, 1 << max(0, count - 1).bit_length()))


@lru_cache(maxsize=16)
def _level_numbers(spec: HashGridSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    layout = spec.level_layout()
    numbers = [[level.resolution, level.offset, level.rows, int(level.dense)] for level in layout]
    scales = torch.tensor([level.scale for level in layout], dtype=torch.float32)
    return scales.to(device), torch.tensor(numbers, dtype=torch.int32).to(device)


def grid_of(table: Tensor, spec: HashGridSpec) -> Grid:
    """The grid as kernels take it, with a column for each feature."""
    return _grid(checked(table, spec), spec, padded(spec.num_outputs))


def checked(table: Tensor, spec: HashGridSpec) -> Tensor:
    """The table of such a grid."""
    if spec.num_rows * spec.features >= 1 << 31:
        raise KernelError(
            f"field.grid.log2_rows={spec.log2_rows}: the cuda backend counts entries of the table"
            " in 31 bits; lower it."
        )
    return ready(table, "table", spec.num_rows, spec.features)


def _level_grid(table: Tensor, spec: HashGridSpec) -> Grid:
    """The same with a column for each feature of one level."""
    return _grid(table, spec, padded(spec.features, 1))


def _grid(table: Tensor, spec: HashGridSpec, columns: tl.constexpr) -> Grid:
    scales, numbers = _level_numbers(spec, table.device)
    lanes = spec.features & -spec.features
    primes = XOR_PRIMES[1:] if spec.hash == "xor" else spec.multipliers
    return Grid(
        table,
        scales,
        numbers,
        tl.constexpr(spec.levels),
        tl.constexpr(spec.features),
        tl.constexpr(spec.dims),
        tl.constexpr(2**spec.dims),
        tl.constexpr(1 << spec.log2_rows),
        columns,
        tl.constexpr(columns.value // lanes),
        tl.constexpr(lanes),
        tl.constexpr(spec.hash == "xor"),
        *map(tl.constexpr, primes),
    )


def hash_encode(points: Tensor, table: Tensor, spec: HashGridSpec, footprint: Tensor) -> Tensor:
    """See ``ops.hash_encode``."""
    out = points.new_empty(spec.num_outputs, len(points))
    encode(all_places(points, footprint, spec.dims), table, spec, all_of(points), out)
    return out.T.contiguous()


def encode(samples: Places, table: Tensor, spec: HashGridSpec, count: Tensor, out: Tensor) -> None:
    """Stores the features of the first ``count`` samples at their places: ``[features room]``."""
    most = len(samples.place) if samples.listed.value else len(samples.points)
    size = block(ENCODED, most)
    given = (samples, _level_grid(checked(table, spec), spec), out, count, out.shape[1])
    grid = (turns(most, size, out.device, 1), spec.levels)
    launch(encode_program, grid, *given, BLOCK=size, NUMBERS=NUMBERS[out.dtype])


def all_places(points: Tensor, footprint: Tensor, dims: int = 3) -> Places:
    """All of the points, of whose ``place`` nobody asks."""
    points = ready(points, "points", -1, dims)
    footprint = ready(footprint, "footprint", len(points))
    return Places(points, footprint, no_places(points), tl.constexpr(False))


def no_places(like: Tensor) -> Tensor:
    """Nobody looks at them."""
    return torch.empty(0, dtype=torch.int64, device=like.device)


def all_of(values: Tensor) -> Tensor:
    """How many there are, on the device."""
    return torch.full((), len(values), dtype=torch.int64, device=values.device)


def hash_encode_backward(
    gradient: Tensor, points: Tensor, table: Tensor, spec: HashGridSpec, footprint: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients to points and, dense, to the table."""
    points = ready(points, "points", -1, spec.dims)
    count = len(points)
    size = block(BLOCK, count)
    footprint = ready(footprint, "footprint", count)
    gradient = ready(gradient, "gradient", count, spec.num_outputs)
    to_points = torch.empty_like(points)
    to_features = points.new_empty(spec.num_outputs, count)
    given = (points, footprint, grid_of(table, spec), (gradient, to_points, to_features), count)
    launch(slope_program, (tiles(count, size),), *given, BLOCK=size)
    dense = torch.zeros_like(table, memory_format=torch.contiguous_format)
    scatter_levels(points, to_features, spec, range(spec.levels), dense)
    return to_points, dense


def scatter_table_gradient(gradient: FactoredGradient, table: Tensor, grid: HashGridSpec) -> Tensor:
    """The dense gradient of the table that a factored one stands for."""
    dense = torch.zeros_like(table, memory_format=torch.contiguous_format)
    scatter_levels(gradient.points, gradient.features, grid, range(grid.levels), dense)
    return dense


def scatter_levels(
    points: Tensor, features: Tensor, spec: HashGridSpec, levels: range, dense: Tensor
) -> None:
    """Adds the gradient of some levels' rows to ``dense``, which begins with the first of them.

    Sums are made in the order of arrival. Where PyTorch is told to be deterministic
    (``torch.use_deterministic_algorithms``), they are made in its own, slower way.
    """
    points = ready(points, "points", -1, spec.dims)
    features = ready(features, "features", spec.num_outputs, len(points))
    if torch.are_deterministic_algorithms_enabled():
        _scatter_in_order(points, features, spec, levels, dense)
        return
    count = len(points)
    size = block(SCATTERED, count)
    given = (points, features, _level_grid(dense, spec), dense, count, levels.start)
    grid = (tiles(count, size), len(levels))
    launch(scatter_program, grid, *given, warps=SCATTER_WARPS, BLOCK=size)


def _scatter_in_order(
    points: Tensor, features: Tensor, spec: HashGridSpec, levels: range, dense: Tensor
) -> None:
    from neural_render.kernels.reference.encoding import corners

    layout = spec.level_layout()
    for number in levels:
        level = layout[number]
        part = features[number * spec.features : (number + 1) * spec.features]
        rows, weights = corners(points, level, spec)
        added = weights[..., None] * part.T[:, None, :]
        place = rows.flatten() - layout[levels.start].offset
        dense.index_put_((place,), added.flatten(0, 1), accumulate=True)
