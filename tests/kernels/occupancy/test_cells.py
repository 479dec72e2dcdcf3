"""The cells of nested grids: neighbours, and which of them a finer cascade covers."""

import torch

from neural_render.kernels.cells import NUM_CELLS, ROW, inner_cells, with_neighbours
from neural_render.kernels.morton import morton_encode


def test_neighbours_are_the_26_around_and_none_beyond_the_cube() -> None:
    occupied = torch.zeros((2, NUM_CELLS), dtype=torch.bool)
    occupied[0, morton_encode(torch.tensor([[20, 31, 64]]))] = True
    occupied[1, morton_encode(torch.tensor([[0, 127, 5]]))] = True
    near = with_neighbours(occupied)
    offsets = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)
    for cascade, cell in enumerate(([20, 31, 64], [0, 127, 5])):
        around = offsets + torch.tensor(cell)
        around = around[((around >= 0) & (around < 128)).all(dim=1)]
        found = near[cascade].nonzero().squeeze(1)
        assert torch.equal(found, morton_encode(around).sort().values)


def test_inner_cells_are_whole_rows() -> None:
    """A backend skips covered rows as a whole, and pools eight finer rows into one."""
    covered = torch.zeros(NUM_CELLS, dtype=torch.bool)
    covered[inner_cells(torch.device("cpu"))] = True
    rows = covered.view(-1, ROW)
    assert torch.equal(rows.any(dim=1), rows.all(dim=1))
