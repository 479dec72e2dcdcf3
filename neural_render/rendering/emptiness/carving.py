"""Space that rays are known to pass through unhindered, as cells of an occupancy grid.

Where the first surface along many rays is known (from a path tracer, a depth sensor), the cells in
front of it are empty. Cells that nothing is known of stay possible: those behind surfaces too,
where what mirrors and glass show seems to lie.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels.cells import NUM_CELLS, ROW, with_neighbours
from neural_render.kernels.morton import morton_decode, morton_encode
from neural_render.kernels.specs import MORTON_RESOLUTION

POINTS_PER_RAY = 96
MOST_PASSING = 1 << 17  # rays whose way is looked at; all are asked for their surface
MAX_POINTS = 1 << 21  # looked at together


@torch.no_grad()
def empty_cells(
    rays: Rays,
    distance: Float[Tensor, " rays"],
    sides: Sequence[float],
    generator: torch.Generator,
) -> Bool[Tensor, "cascades cells"]:
    """Whether a cell (Morton order) is passed by a ray and near no surface.

    ``sides`` are those of the cascades' cubes, all around the middle of the unit cube; ``distance``
    is that of a ray's first surface, 0 where there is none. A cell with a surface in it or beside
    it (26 neighbours) is never empty, so the more rays the better: what is thin is met seldom.
    """
    found = []
    for side in sides:
        origins = (rays.origins - 0.5) / side + 0.5
        found.append(_empty_cells(origins, rays.directions, distance / side, generator))
    return torch.stack(found)


def _empty_cells(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    distance: Float[Tensor, " rays"],
    generator: torch.Generator,
) -> Bool[Tensor, " cells"]:
    """Of the unit cube."""
    device, inverse = distance.device, 1.0 / directions
    # Where rays enter the cube and leave it; NaN for those in the plane of a side.
    ends = torch.stack([-origins * inverse, (1 - origins) * inverse]).nan_to_num(0.0)
    enter = ends.amin(0).amax(1).clamp(min=0)
    leave = ends.amax(0).amin(1)
    hit = (distance > 0) & (distance <= leave)
    end = distance.where(hit, leave)
    surface = torch.zeros(NUM_CELLS + 1, dtype=torch.bool, device=device)
    surface[cells_of(origins + directions * distance[:, None])[hit]] = True
    passed = torch.zeros_like(surface)
    for part in torch.arange(min(len(origins), MOST_PASSING), device=device).split(
        MAX_POINTS // POINTS_PER_RAY
    ):
        place = torch.rand((len(part), POINTS_PER_RAY), generator=generator, device=device)
        t = enter[part, None] + place * (end - enter)[part, None]
        points = origins[part, None] + directions[part, None] * t[..., None]
        cells = cells_of(points.view(-1, 3))
        passed[cells[(end > enter)[part].repeat_interleave(POINTS_PER_RAY)]] = True
    near = with_neighbours(surface[None, :NUM_CELLS])
    return passed[:NUM_CELLS] & ~near[0]


@torch.no_grad()
def cells_around(
    points: Float[Tensor, "points 3"], sides: Sequence[float]
) -> Bool[Tensor, "cascades cells"]:
    """Whether a cell (Morton order) lies in a block of 8^3 with a point in it, or beside one.

    ``sides`` as for ``empty_cells``.
    """
    steps = torch.arange(-1, 2, device=points.device)
    offsets = torch.cartesian_prod(steps, steps, steps)
    found = []
    for side in sides:
        cells = cells_of((points - 0.5) / side + 0.5)
        blocks = morton_decode((cells[cells < NUM_CELLS] // ROW).unique())
        near = (blocks[:, None] + offsets).view(-1, 3)
        near = near[((near >= 0) & (near < MORTON_RESOLUTION // 8)).all(1)]
        marked = torch.zeros(NUM_CELLS // ROW, dtype=torch.bool, device=points.device)
        marked[morton_encode(near)] = True
        found.append(marked.repeat_interleave(ROW))
    return torch.stack(found)


def cells_of(points: Float[Tensor, "points 3"]) -> Tensor:
    """The cell (Morton order) of points; of those outside the unit cube one behind the last."""
    cells = (points * MORTON_RESOLUTION).floor()
    inside = ((cells >= 0) & (cells < MORTON_RESOLUTION)).all(1)
    return morton_encode(cells.nan_to_num(0.0).clamp(0, MORTON_RESOLUTION - 1).long()).where(
        inside, NUM_CELLS
    )
