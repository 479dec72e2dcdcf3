"""Rays through the pixels of photos on the GPU, and random pixels of blocks."""

import torch
import triton.language as tl
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels.cuda.device import block, launch, tiles
from neural_render.kernels.cuda.programs.pixels import Photos, pick_program, shoot_program
from neural_render.kernels.records import PixelLayout, PixelRays, PixelViews
from neural_render.kernels.reference import pixels as reference

RAYS = 256  # of a program


def pick_pixels(block: Tensor, place: Tensor, layout: PixelLayout, masks: Tensor) -> Tensor:
    """See ``ops.pick_pixels``; where something is masked it is the reference's."""
    if len(masks) or place.dtype != torch.float64:
        return reference.pick_pixels(block, place, layout, masks)
    out = torch.empty_like(block)
    # Nobody looks at more than the places of photos.
    photos = _photos(layout, [block] * 5, channels=3)
    _launch(pick_program, (block.contiguous(), place.contiguous()), photos, out, layout)
    return out


def shoot_rays(pixel: Tensor, views: PixelViews) -> PixelRays:
    """See ``ops.shoot_rays``."""
    layout, pixels = views.layout, views.pixels
    count, new = len(pixel), views.poses.new_empty
    numbers = torch.empty(2, count, dtype=torch.int64, device=pixel.device)
    vectors, scalars = new(3, count, 3), new(2, count)
    parts = [pixels, views.poses, views.intrinsics, views.table, views.table_starts.long()]
    photos = _photos(layout, parts, pixels.shape[1])
    out = (vectors[0], vectors[1], scalars[0], vectors[2], scalars[1], numbers[0], numbers[1])
    _launch(shoot_program, (pixel.long().contiguous(),), photos, out, layout)
    return PixelRays(
        rays=Rays(origins=vectors[0], directions=vectors[1], footprint=scalars[0]),
        colors=vectors[2],
        opacity=scalars[1],
        view=numbers[0],
        block=numbers[1],
    )


def _photos(layout: PixelLayout, parts: list[Tensor], channels: int) -> Photos:
    """Photos as kernels take them; ``parts``: pixels, poses, intrinsics, table and its starts."""
    pixels, poses, intrinsics, table, table_starts = (part.contiguous() for part in parts)
    return Photos(
        layout.offsets.long().contiguous(),
        layout.sizes.long().contiguous(),
        layout.first_blocks.long().contiguous(),
        pixels,
        poses,
        intrinsics,
        table,
        table_starts,
        tl.constexpr(channels),
        tl.constexpr(len(table) > 0),
        tl.constexpr(len(intrinsics) == 1),
        tl.constexpr(layout.block_shift),
        tl.constexpr(1 << layout.block_shift),
        tl.constexpr(max(1, (len(layout.offsets) - 1).bit_length())),
    )


def _launch(
    kernel: object,
    wanted: tuple[Tensor, ...],
    photos: Photos,
    out: Tensor | tuple[Tensor, ...],
    layout: PixelLayout,
) -> None:
    """Runs a kernel for all rays, of which ``wanted`` are tensors."""
    count = len(wanted[0])
    size = block(RAYS, count)
    given = (wanted, photos, out, count, len(layout.offsets))
    launch(kernel, (tiles(count, size),), *given, BLOCK=size)
