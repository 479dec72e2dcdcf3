"""The upkeep of an occupancy grid: choosing cells, points in them, and what follows (any device).

Randomness is counter-based: splitmix64 (Steele, Lea and Flood 2014).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.kernels.cells import NUM_CELLS, ROW, inner_cells, pack_bits, unpack_bits
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.records import OccupancyState
from neural_render.kernels.specs import MORTON_RESOLUTION, OccupancySpec

GOLDEN = 0x9E3779B97F4A7C15
MIX1, MIX2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
JITTER_BITS = 16  # an axis: a float32 holds them and the cell, so nothing is rounded


def occupancy_cells(
    state: OccupancyState, stripe: int, num_stripes: int, num_occupied: int, start: float
) -> Int[Tensor, " chosen"]:
    """See ``ops.occupancy_cells``."""
    values, device = state.values, state.values.device
    row = torch.arange(values.numel(), device=device).div_(ROW, rounding_mode="floor")
    in_turn = ((values >= 0).view(-1) & (row % num_stripes == stripe)).view_as(values)
    in_turn[1:, inner_cells(device)] = False
    chosen = in_turn.view(-1).nonzero().squeeze(1)
    if num_occupied == 0:
        return chosen
    eligible = unpack_bits(state.bits)
    eligible[1:, inner_cells(device)] = False
    occupied = eligible.view(-1).nonzero().squeeze(1)
    if len(occupied) > num_occupied:
        spread = torch.arange(num_occupied, dtype=torch.float64, device=device) + start
        ranks = (spread * (len(occupied) / num_occupied)).long()
        occupied = occupied[ranks.clamp_(max=len(occupied) - 1)]
    return torch.cat([chosen, occupied]).sort().values


def occupancy_points(
    cells: Int[Tensor, " chosen"], cascades: int, key: int, first: int
) -> Float[Tensor, "chosen 3"]:
    """See ``ops.occupancy_points``."""
    counter = torch.arange(first, first + len(cells), device=cells.device)
    random = _random_numbers(key, counter)
    jitter = torch.stack([random >> JITTER_BITS * axis for axis in range(3)], dim=-1)
    corner = morton_decode(cells % NUM_CELLS) << JITTER_BITS
    fine = (corner + (jitter & ((1 << JITTER_BITS) - 1))).float() + 0.5
    inside = fine / (MORTON_RESOLUTION << JITTER_BITS) - 0.5
    sides = [2.0 ** (cascade - cascades + 1) for cascade in range(cascades)]
    return 0.5 + inside * inside.new_tensor(sides)[cells // NUM_CELLS, None]


def occupancy_update(
    state: OccupancyState,
    cells: Int[Tensor, " chosen"],
    density: Float[Tensor, " chosen"],
    spec: OccupancySpec,
) -> None:
    """See ``ops.occupancy_update``."""
    lengths = state.values.new_tensor(spec.step_lengths)
    fresh = (density * lengths[cells // NUM_CELLS]).nan_to_num(nan=0.0, posinf=torch.inf)
    values = state.values.view(-1)
    # A cell may come up twice: both times from the same old value, so the order is no matter.
    values[cells] = values[cells] * spec.decay
    values.scatter_reduce_(0, cells, fresh, reduce="amax")
    _pool_finer(state.values, spec)
    rows = state.values.view(len(lengths), -1, ROW)
    state.rows[..., 0] = rows.double().clamp(min=0).sum(dim=-1)
    state.rows[..., 1] = (rows >= 0).sum(dim=-1)
    state.limits.copy_(_limits(state, spec))
    state.bits.copy_(pack_bits(state.values > state.limits[:, None]))


def _pool_finer(values: Float[Tensor, "cascades cells"], spec: OccupancySpec) -> None:
    """Gives each cell that a finer cascade covers the greatest of its eight values there."""
    for cascade in range(1, values.shape[0]):
        finer = values[cascade - 1].view(-1, 8).amax(dim=1)
        longer = spec.step_lengths[cascade] / spec.step_lengths[cascade - 1]
        pooled = torch.where(finer < 0, finer, finer * longer)
        values[cascade, inner_cells(values.device)] = pooled


def _limits(state: OccupancyState, spec: OccupancySpec) -> Float[Tensor, " cascades"]:
    """The opacities above which cells are occupied; the mean density is taken over seen cells."""
    lengths = state.rows.new_tensor(spec.step_lengths)
    totals = state.rows.sum(dim=1)
    mean = (totals[:, 0] / lengths).sum() / totals[:, 1].sum().clamp(min=1)
    return (mean * lengths).nan_to_num(nan=torch.inf).clamp(max=spec.threshold).float()


def _random_numbers(key: int, counter: Int[Tensor, " chosen"]) -> Int[Tensor, " chosen"]:
    """The 64 bits of each counter under a key."""
    value = _signed(key) + (counter + 1) * _signed(GOLDEN)
    value = (value ^ _shifted(value, 30)) * _signed(MIX1)
    value = (value ^ _shifted(value, 27)) * _signed(MIX2)
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, places: int) -> Tensor:
    """Shifted right as an unsigned number."""
    return (value >> places) & ((1 << (64 - places)) - 1)


def _signed(value: int) -> int:
    """The signed number of the same 64 bits."""
    return value - (1 << 64) if value >= 1 << 63 else value
