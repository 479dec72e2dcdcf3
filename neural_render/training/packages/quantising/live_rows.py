"""Which rows of a table anything reads that can be seen: the others need not be kept."""

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from neural_render.kernels.cells import unpack_bits, with_neighbours
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.reference.encoding import table_rows
from neural_render.kernels.specs import MORTON_RESOLUTION, GridLevel, HashGridSpec
from neural_render.rendering import OccupancyGrid

MOST_LOOKUPS = 1 << 25  # of a level: where there are more, all rows count
FULL = 0.995  # of a level's rows: finer levels are read more widely still
MARGIN = 1e-3  # of a lattice step, against rounding
CELLS_AT_ONCE = 1 << 16


def live_rows(grid: HashGridSpec, occupancy: OccupancyGrid) -> list[Bool[Tensor, " _"]]:
    """For each level, the rows of the corners around all points of occupied cells and of those
    beside them, which normals and meshes look at."""
    cells = list(_cell_boxes(occupancy))
    found: list[Bool[Tensor, " _"]] = []
    for level in grid.level_layout():
        everything = torch.ones(level.rows, dtype=torch.bool)
        is_full = bool(found) and float(found[-1].float().mean()) > FULL
        found.append(everything if is_full else _live_in(level, grid, cells, everything))
    return found


def _cell_boxes(occupancy: OccupancyGrid) -> Iterator[tuple[Tensor, float]]:
    """The low corners of cells of each cascade in the unit cube, and their sides."""
    near = with_neighbours(unpack_bits(occupancy.bits.cpu()))
    for cascade in range(occupancy.cascades):
        side = occupancy.side(cascade)
        places = morton_decode(near[cascade].nonzero()[:, 0]).double() / MORTON_RESOLUTION
        yield (places - 0.5) * side + 0.5, side / MORTON_RESOLUTION


def _live_in(
    level: GridLevel,
    grid: HashGridSpec,
    cells: list[tuple[Tensor, float]],
    everything: Bool[Tensor, " rows"],
) -> Bool[Tensor, " rows"]:
    ranges = [_lattice(level, low, side) for low, side in cells if len(low)]
    spans = [int((last - first).max()) + 1 for first, last in ranges]
    lookups = sum(len(r[0]) * span**3 for r, span in zip(ranges, spans, strict=True))
    if lookups > MOST_LOOKUPS:
        return everything
    live = torch.zeros(level.rows, dtype=torch.bool)
    for (first, last), span in zip(ranges, spans, strict=True):
        for start in range(0, len(first), CELLS_AT_ONCE):
            here = slice(start, start + CELLS_AT_ONCE)
            for step in itertools.product(range(span), repeat=3):
                corner = torch.minimum(first[here] + torch.tensor(step), last[here])
                live[table_rows(corner, level, grid) - level.offset] = True
    return live


def _lattice(
    level: GridLevel, low: Tensor, side: float
) -> tuple[Int[Tensor, "cells 3"], Int[Tensor, "cells 3"]]:
    """The first and the last lattice points around the points of cells, in each dimension."""
    first = (low * level.scale + 0.5 - MARGIN).floor().clamp(min=0).long()
    last = ((low + side) * level.scale + 0.5 + MARGIN).floor().long() + 1
    return first, last
