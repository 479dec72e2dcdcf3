"""How photos lie in memory and are cut into blocks: the regions that a ray source tells apart."""

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from neural_render.captures.records import Views
from neural_render.kernels.records import PixelLayout

# Blocks along the longer side of the largest photo, at most: small enough to tell what is wrong
# from what is right, large enough that a block is seen again before its error is out of date.
MAX_BLOCKS_ALONG = 64
# Of a whole capture: each is then seen about once between two refreshes of an error map, and what
# is done for all of them there stays below a millisecond.
MAX_BLOCKS = 1 << 17


def pixel_layout(views: Views, stride: int = 1) -> PixelLayout:
    """The places of all photos; blocks are squares, their side the same power of two for all.

    A window of every ``stride``-th row and column has the blocks of the whole photos.
    """
    sizes = torch.stack([views.cameras.width, views.cameras.height], dim=-1)
    longest = int(sizes.max()) * stride
    shift = (max(stride, -(-longest // MAX_BLOCKS_ALONG)) - 1).bit_length()
    shift -= (stride - 1).bit_length()
    while (num_blocks := blocks_along(sizes, shift).prod(-1)).sum() > max(MAX_BLOCKS, len(sizes)):
        shift += 1
    return PixelLayout(
        offsets=views.offsets,
        sizes=sizes,
        first_blocks=num_blocks.cumsum(0) - num_blocks,
        num_pixels=len(views.pixels),
        num_blocks=int(num_blocks.sum()),
        block_shift=shift,
    )


def block_sizes(layout: PixelLayout, usable: UInt8[Tensor, " usable"]) -> Int[Tensor, " blocks"]:
    """The number of pixels of each block that are not 0 in ``usable``; of all if it is empty."""
    shift, side = layout.block_shift, 1 << layout.block_shift
    found = []
    for start, (width, height) in zip(layout.offsets.tolist(), layout.sizes.tolist(), strict=True):
        photo = torch.ones(height, width, dtype=torch.uint8, device=layout.offsets.device)
        if len(usable):
            photo = (usable[start : start + width * height] != 0).view(height, width)
        across, down = blocks_along(torch.tensor([width, height]), shift).tolist()
        padded = photo.new_zeros(down * side, across * side)
        padded[:height, :width] = photo
        found.append(padded.view(down, side, across, side).sum((1, 3)).flatten())
    return torch.cat(found)


def blocks_along(size: Int[Tensor, "*shape"], shift: int) -> Int[Tensor, "*shape"]:
    """The number of blocks along edges of so many pixels."""
    return (size + (1 << shift) - 1) >> shift
