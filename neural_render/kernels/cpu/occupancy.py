"""The ops that keep an occupancy grid up to date."""

import torch
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels.cells import NUM_CELLS, ROW
from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.native import addresses, ready
from neural_render.kernels.records import OccupancyState
from neural_render.kernels.specs import OccupancySpec


def occupancy_cells(
    state: OccupancyState, stripe: int, num_stripes: int, num_occupied: int, start: float
) -> Tensor:
    """See ``ops.occupancy_cells``."""
    values, bits, _, _ = _grid_tensors(state)
    cascades = values.shape[0]
    rows = cascades * NUM_CELLS // ROW
    room = -(-rows // num_stripes) * ROW + min(num_occupied, values.numel())
    cells = torch.empty(room, dtype=torch.int64)
    layout = [cascades, stripe, num_stripes]
    count = native().occupancy_cells(
        *addresses(values, bits), layout, num_occupied, start, cells.data_ptr()
    )
    return cells[:count]


def occupancy_points(cells: Tensor, cascades: int, key: int, first: int) -> Tensor:
    """See ``ops.occupancy_points``."""
    cells = _cell_indices(cells)
    points = torch.empty(len(cells), 3)
    known = native().occupancy_points(
        cells.data_ptr(), len(cells), cascades, key, first, points.data_ptr()
    )
    if not known:
        raise KernelError(f"a cell lies outside [0, {cascades * NUM_CELLS}).")
    return points


def occupancy_update(
    state: OccupancyState, cells: Tensor, density: Tensor, spec: OccupancySpec
) -> None:
    """See ``ops.occupancy_update``."""
    grid = _grid_tensors(state)
    if len(spec.step_lengths) != grid[0].shape[0]:
        raise KernelError(
            f"{len(spec.step_lengths)} step lengths were given for {grid[0].shape[0]} cascades."
        )
    cells = _cell_indices(cells)
    density = ready(density, "density", len(cells))
    numbers = (list(spec.step_lengths), spec.threshold, spec.decay)
    ascending = native().occupancy_update(
        addresses(*grid), *numbers, *addresses(cells, density), len(cells)
    )
    if not ascending:
        raise KernelError(f"cells must ascend and lie in [0, {grid[0].numel()}).")


def _grid_tensors(state: OccupancyState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All of the state, checked: it is changed in place."""
    cascades = state.values.shape[0]
    wanted = (
        (state.values, torch.float32, (cascades, NUM_CELLS)),
        (state.bits, torch.uint8, (cascades, NUM_CELLS // 8)),
        (state.rows, torch.float64, (cascades, NUM_CELLS // ROW, 2)),
        (state.limits, torch.float32, (cascades,)),
    )
    for tensor, dtype, shape in wanted:
        fits = tensor.dtype == dtype and tensor.shape == shape and tensor.device.type == "cpu"
        if not fits or not tensor.is_contiguous():
            raise KernelError(
                f"occupancy is {tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device},"
                f" but contiguous {dtype} of shape {shape} on the CPU was wanted."
            )
    return state.values, state.bits, state.rows, state.limits


def _cell_indices(cells: Tensor) -> Tensor:
    if cells.dtype != torch.int64 or cells.dim() != 1 or cells.device.type != "cpu":
        raise KernelError(
            f"cells are {cells.dtype} of shape {tuple(cells.shape)} on {cells.device}, but a row of"
            " int64 on the CPU was wanted."
        )
    return cells.contiguous()
