"""The cells of nested occupancy grids: 128^3 a cascade in Morton order, and how they interlock."""

from functools import lru_cache

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from neural_render.kernels.morton import morton_decode, morton_encode
from neural_render.kernels.specs import MORTON_RESOLUTION

NUM_CELLS = MORTON_RESOLUTION**3
ROW = 512  # cells that lie together, a block of 8^3: they share a sum, and their turn


def pack_bits(occupied: Bool[Tensor, "cascades cells"]) -> UInt8[Tensor, "cascades bytes"]:
    """Eight cells per byte, the first in the lowest bit."""
    powers = (1 << torch.arange(8, device=occupied.device)).to(torch.uint8)
    return (occupied.view(occupied.shape[0], -1, 8) * powers).sum(dim=-1, dtype=torch.uint8)


def unpack_bits(packed: UInt8[Tensor, "cascades bytes"]) -> Bool[Tensor, "cascades cells"]:
    """The inverse of ``pack_bits``."""
    powers = (1 << torch.arange(8, device=packed.device)).to(torch.uint8)
    return ((packed[..., None] & powers) != 0).view(packed.shape[0], -1)


def count_bits(packed: UInt8[Tensor, "cascades bytes"]) -> int:
    """How many cells are occupied, by sums of neighbouring bits, pairs and halves of each byte."""
    pairs = packed - (packed >> 1 & 0x55)
    halves = (pairs & 0x33) + (pairs >> 2 & 0x33)
    return int((halves + (halves >> 4) & 0x0F).sum())


@lru_cache(maxsize=4)
def inner_cells(device: torch.device) -> Int[Tensor, " inner"]:
    """The cells that the next finer cascade covers: each covers eight of its cells, in order."""
    finer = morton_decode(torch.arange(NUM_CELLS // 8, device=device))
    return morton_encode(finer + MORTON_RESOLUTION // 4)


def with_neighbours(
    occupied: Bool[Tensor, "cascades cells"],
) -> Bool[Tensor, "cascades cells"]:
    """Whether a cell or one of its 26 neighbours in its cascade is occupied."""
    side, cascades = MORTON_RESOLUTION, occupied.shape[0]
    coordinate = torch.arange(side, device=occupied.device)
    zeros = torch.zeros_like(coordinate)
    x = morton_encode(torch.stack([coordinate, zeros, zeros], dim=-1))
    codes = (x[:, None, None] << 2 | x[:, None] << 1 | x).view(-1).expand(cascades, -1)
    near = occupied.gather(1, codes).view(cascades, side, side, side)
    for axis in (1, 2, 3):  # one after the other they reach the diagonal neighbours too
        alone = near.clone()
        near.narrow(axis, 1, side - 1).logical_or_(alone.narrow(axis, 0, side - 1))
        near.narrow(axis, 0, side - 1).logical_or_(alone.narrow(axis, 1, side - 1))
    return torch.empty_like(occupied).scatter_(1, codes, near.view(cascades, -1))
