"""Rays through the pixels of photos, and random pixels of blocks."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels.records import PixelLayout, PixelRays, PixelViews

PIXELS_AT_ONCE = 1 << 22  # of masked blocks, about 60 bytes each


def shoot_rays(pixel: Int[Tensor, " rays"], views: PixelViews) -> PixelRays:
    """See ``ops.shoot_rays``."""
    layout = views.layout
    view, column, row = locate(pixel, layout)
    local, footprint = directions_in_camera(views, view, column, row)
    axis_x, axis_y, axis_z, origins = views.poses[view].split(3, dim=1)
    directions = axis_x * local[:, :1] + axis_y * local[:, 1:2] + axis_z * local[:, 2:]
    values = views.pixels[pixel].to(local.dtype) / 255
    shift = layout.block_shift
    across = blocks_along(layout.sizes[view, 0], shift)
    return PixelRays(
        rays=Rays(origins=origins.contiguous(), directions=directions, footprint=footprint),
        colors=values[:, :3].contiguous(),
        opacity=values[:, 3].contiguous() if values.shape[1] == 4 else torch.ones_like(footprint),
        view=view,
        block=layout.first_blocks[view] + (row >> shift) * across + (column >> shift),
    )


def pick_pixels(
    block: Int[Tensor, " rays"],
    place: Float[Tensor, " rays"],
    layout: PixelLayout,
    masks: UInt8[Tensor, " masked"],
) -> Int[Tensor, " rays"]:
    """See ``ops.pick_pixels``; where something is masked, of so many blocks at a time as fit into
    memory pixel by pixel."""
    if not len(masks):
        return _picked(block, place, layout, masks)
    at_once = max(1, PIXELS_AT_ONCE >> 2 * layout.block_shift)
    parts = zip(block.split(at_once), place.split(at_once), strict=True)
    return torch.cat([_picked(*part, layout, masks) for part in parts])


def _picked(
    block: Int[Tensor, " rays"],
    place: Float[Tensor, " rays"],
    layout: PixelLayout,
    masks: UInt8[Tensor, " masked"],
) -> Int[Tensor, " rays"]:
    """``pick_pixels``, which looks at all masked blocks at once."""
    view = torch.searchsorted(layout.first_blocks, block, right=True) - 1
    width, height = layout.sizes[view].unbind(-1)
    shift, side = layout.block_shift, 1 << layout.block_shift
    across = blocks_along(width, shift)
    local = block - layout.first_blocks[view]
    x, y = (local % across) << shift, (local // across) << shift
    wide, high = (width - x).clamp(max=side), (height - y).clamp(max=side)
    corner = layout.offsets[view] + y * width + x
    area = wide * high
    if not len(masks):
        chosen = torch.minimum((place * area).long(), area - 1)
        return corner + chosen // wide * width + chosen % wide
    cells = torch.arange(side * side, device=block.device)
    row, column = cells // side, cells % side
    inside = (row < high[:, None]) & (column < wide[:, None])
    pixels = corner[:, None] + row * width[:, None] + column
    usable = inside & (masks[pixels.where(inside, 0)] != 0)
    total = usable.sum(1)
    chosen = torch.minimum((place * total).long(), total - 1)
    first = (usable.cumsum(1) > chosen[:, None]).long().argmax(1)
    return pixels.gather(1, first[:, None])[:, 0]


def locate(
    pixel: Int[Tensor, " rays"], layout: PixelLayout
) -> tuple[Int[Tensor, " rays"], Int[Tensor, " rays"], Int[Tensor, " rays"]]:
    """View, column and row of flat pixel indices."""
    view = torch.searchsorted(layout.offsets, pixel, right=True) - 1
    within, width = pixel - layout.offsets[view], layout.sizes[view, 0]
    row = within // width
    return view, within - row * width, row


def directions_in_camera(
    views: PixelViews,
    view: Int[Tensor, " rays"],
    column: Int[Tensor, " rays"],
    row: Int[Tensor, " rays"],
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"]]:
    """Unit directions in camera axes and footprints, from the table or as a pinhole's."""
    if len(views.table):
        index = views.table_starts[view] + row * views.layout.sizes[view, 0] + column
        found = views.table[index]
        return found[:, :3], found[:, 3].contiguous()
    lens = view if len(views.intrinsics) > 1 else torch.zeros_like(view)
    focal_x, focal_y, center_x, center_y, factor = views.intrinsics[lens].unbind(-1)
    x = (column + (0.5 - center_x)) / focal_x
    y = (row + (0.5 - center_y)) / focal_y
    cosine = (x * x + y * y + 1).rsqrt()
    return torch.stack([x * cosine, y * cosine, cosine], -1), factor * cosine * cosine.sqrt()


def blocks_along(size: Int[Tensor, "*shape"], block_shift: int) -> Int[Tensor, "*shape"]:
    """The number of blocks along an edge of so many pixels."""
    return (size + (1 << block_shift) - 1) >> block_shift
