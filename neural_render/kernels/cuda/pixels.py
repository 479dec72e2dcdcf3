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
    out, nothing = torch.empty_like(block), block
    places = layout.offsets, layout.sizes, layout.first_blocks
    constants = tl.constexpr(3), tl.constexpr(False), tl.constexpr(True)
    photos = Photos(*_integers(*places), *[nothing] * 5, *constants)
    given = (block.contiguous(), place.contiguous(), photos, out)
    _launch(pick_program, given, len(block), layout)
    return out


def shoot_rays(pixel: Tensor, views: PixelViews) -> PixelRays:
    """See ``ops.shoot_rays``."""
    layout, pixels = views.layout, views.pixels
    count, new = len(pixel), views.poses.new_empty
    numbers = torch.empty(2, count, dtype=torch.int64, device=pixel.device)
    vectors, scalars = new(3, count, 3), new(2, count)
    photos = Photos(
        *_integers(layout.offsets, layout.sizes, layout.first_blocks),
        pixels.contiguous(),
        views.poses.contiguous(),
        views.intrinsics.contiguous(),
        views.table.contiguous(),
        *_integers(views.table_starts),
        tl.constexpr(pixels.shape[1]),
        tl.constexpr(len(views.table) > 0),
        tl.constexpr(len(views.intrinsics) == 1),
    )
    out = (vectors[0], vectors[1], scalars[0], vectors[2], scalars[1], numbers[0], numbers[1])
    _launch(shoot_program, (*_integers(pixel), photos, out), count, layout)
    return PixelRays(
        rays=Rays(origins=vectors[0], directions=vectors[1], footprint=scalars[0]),
        colors=vectors[2],
        opacity=scalars[1],
        view=numbers[0],
        block=numbers[1],
    )


def _launch(kernel: object, given: tuple[object, ...], count: int, layout: PixelLayout) -> None:
    size, views = block(RAYS, count), len(layout.offsets)
    halvings = max(1, (views - 1).bit_length())
    constants = {"SHIFT": layout.block_shift, "BLOCK": size}
    launch(kernel, (tiles(count, size),), *given, count, views, halvings, **constants)


def _integers(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(torch.int64).contiguous() for tensor in tensors)
