"""Points of the world in the field's cube: densities there are those of the world, stretched."""

import torch

from neural_render.core.projection import forward_projection
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity
from neural_render.kernels.cells import NUM_CELLS, unpack_bits
from neural_render.kernels.ops import occupancy_points
from neural_render.rendering import OccupancyGrid
from neural_render.training.scripting.querying import into_cube, is_sampled
from tests.training.problems import CPU

PLACE = Similarity(scale=3.0, translation=(1.0, -2.0, 0.5))


def test_a_way_is_stretched_as_much_as_its_ends_say() -> None:
    """Also where space is divided by disparity, in all directions."""
    generator = torch.Generator().manual_seed(0)
    forward = forward_projection(
        rotation=torch.eye(3),
        position=torch.tensor([0.5, 0.5, -0.5]),
        slopes=((-0.6, 0.6), (-0.5, 0.5)),
        near=0.3,
    )
    inside = torch.rand(50, 3, generator=generator).double()
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator).double())
    for projection in (SceneFrame.projection, forward):
        frame = SceneFrame(world_from_field=PLACE, cascades=1, near=0.0, projection=projection)
        points = PLACE.apply(inside)
        places, stretch = into_cube(points, directions, frame)
        ahead, _ = into_cube(points + 1e-6 * directions, directions, frame)
        assert torch.allclose((ahead - places).norm(dim=1) / 1e-6, stretch, rtol=1e-4)
    assert not torch.allclose(stretch, stretch[:1])


def test_only_occupied_cells_are_asked() -> None:
    """Of nested grids the finest one that holds a point decides."""
    occupancy = OccupancyGrid(2, CPU)
    empty = torch.ones(2, NUM_CELLS, dtype=torch.bool)
    chosen = torch.randperm(2 * NUM_CELLS, generator=torch.Generator().manual_seed(0))[:200]
    empty.view(-1)[chosen] = False
    occupancy.mark_empty(empty)
    occupied = unpack_bits(occupancy.bits)
    cells = occupied.view(-1).nonzero()[:, 0]
    points = occupancy_points(cells, 2, 5, 0)
    inner = ((points - 0.5).abs() < 0.25).all(dim=1)  # there the coarse grid is not looked at
    decides = (cells < NUM_CELLS) | ~inner
    assert 100 < int(decides.sum()) < len(cells)
    sampled = is_sampled(points, occupied, occupancy)
    assert bool(sampled[decides].all())
    assert not bool(sampled.all())
    everywhere = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(1))
    assert float(is_sampled(everywhere, occupied, occupancy).float().mean()) < 0.01
    outside = torch.tensor([[1.0, 0.5, 0.5], [-0.1, 0.5, 0.5], [torch.nan, 0.5, 0.5]])
    assert not bool(is_sampled(outside, ~torch.zeros_like(occupied), occupancy).any())
