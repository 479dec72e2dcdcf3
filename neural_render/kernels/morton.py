"""Morton order of the cells of an occupancy grid: bits of x, y and z take turns, x lowest."""

import torch
from jaxtyping import Int
from torch import Tensor

# Spreading 10 bits over every third bit of 30, and gathering them again (a classic bit trick).
_MASKS = (0x000003FF, 0x030000FF, 0x0300F00F, 0x030C30C3, 0x09249249)
_SHIFTS = (16, 8, 4, 2)


def morton_encode(cells: Int[Tensor, "cells 3"]) -> Int[Tensor, " cells"]:
    """Position in Morton order of cells, given as integer coordinates x, y, z in 0..1023."""
    x, y, z = (_spread(coordinate) for coordinate in cells.long().unbind(-1))
    return x | y << 1 | z << 2


def morton_decode(codes: Int[Tensor, " cells"]) -> Int[Tensor, "cells 3"]:
    """Integer coordinates x, y, z of positions in Morton order; the inverse of the above."""
    codes = codes.long()
    return torch.stack([_gather(codes >> axis) for axis in range(3)], dim=-1)


def _spread(value: Tensor) -> Tensor:
    value = value & _MASKS[0]
    for shift, mask in zip(_SHIFTS, _MASKS[1:], strict=True):
        value = (value | value << shift) & mask
    return value


def _gather(value: Tensor) -> Tensor:
    value = value & _MASKS[-1]
    for shift, mask in zip(reversed(_SHIFTS), reversed(_MASKS[:-1]), strict=True):
        value = (value | value >> shift) & mask
    return value
