"""What is exported: which of its cells hold anything."""

import torch

from neural_render.export.geometry.subject import looked_up
from neural_render.kernels.cells import NUM_CELLS, unpack_bits
from neural_render.kernels.ops import occupancy_points
from neural_render.rendering import OccupancyGrid
from tests.export.geometry.balls import CPU


def test_only_occupied_cells_are_looked_into() -> None:
    """Of nested grids the finest one that holds a point decides."""
    occupancy = OccupancyGrid(2, CPU)
    empty = torch.ones(2, NUM_CELLS, dtype=torch.bool)
    chosen = torch.randperm(2 * NUM_CELLS, generator=torch.Generator().manual_seed(0))[:200]
    empty.view(-1)[chosen] = False
    occupancy.mark_empty(empty)
    occupied = torch.nn.functional.pad(unpack_bits(occupancy.bits), (0, 1))
    cells = occupied[:, :-1].reshape(-1).nonzero()[:, 0]
    points = occupancy_points(cells, 2, 5, 0)
    inner = ((points - 0.5).abs() < 0.25).all(dim=1)  # there the coarse grid is not looked at
    decides = (cells < NUM_CELLS) | ~inner
    assert 100 < int(decides.sum()) < len(cells)
    found = looked_up(occupied, points)
    assert bool(found[decides].all())
    assert not bool(found.all())
    everywhere = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(1))
    assert float(looked_up(occupied, everywhere).float().mean()) < 0.01
    outside = torch.tensor([[1.0, 0.5, 0.5], [-0.1, 0.5, 0.5], [torch.nan, 0.5, 0.5]])
    outside = torch.cat([outside, torch.full((1, 3), torch.inf)])
    all_but_outside = torch.nn.functional.pad(occupied[:, :-1] | True, (0, 1))
    assert not bool(looked_up(all_but_outside, outside).any())
