"""The ops of photos: rays through pixels, and random pixels of blocks."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.core.rays import Rays
from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.native import addresses, ready
from neural_render.kernels.records import PixelLayout, PixelRays, PixelViews


def shoot_rays(pixel: Int[Tensor, " rays"], views: PixelViews) -> PixelRays:
    """See ``ops.shoot_rays``."""
    layout, numbers = layout_tensors(views.layout)
    num_views, num_rays = layout[0].shape[0], pixel.shape[0]
    pixels = ready_bytes(views.pixels, "pixels", views.layout.num_pixels)
    if pixels.shape[1] not in (3, 4):
        raise KernelError(f"pixels have {pixels.shape[1]} channels, but 3 or 4 were wanted.")
    poses = ready(views.poses, "poses", num_views, 12)
    intrinsics = ready(views.intrinsics, "intrinsics", -1, 5)
    table = ready(views.table, "table", -1, 4)
    starts = ready_integers(views.table_starts, "table_starts", (num_views,))
    stride = 5 if intrinsics.shape[0] > 1 else 0
    if stride and intrinsics.shape[0] != num_views:
        raise KernelError(f"{len(intrinsics)} intrinsics were given for {num_views} views.")
    given = addresses(pixels, poses, intrinsics, table, starts)
    pixel = ready_integers(pixel, "pixel", (num_rays,))
    origins, directions, colors = (torch.empty(num_rays, 3) for _ in range(3))
    footprint, opacity = torch.empty(num_rays), torch.empty(num_rays)
    view, block = torch.empty_like(pixel), torch.empty_like(pixel)
    inside = native().shoot_rays(
        addresses(*layout),
        [*numbers, pixels.shape[1], stride],
        given if len(table) else [*given[:3], 0, given[4]],
        pixel.data_ptr(),
        num_rays,
        addresses(origins, directions, footprint, colors, opacity, view, block),
    )
    if not inside:
        raise KernelError(f"a pixel's index lies outside [0, {views.layout.num_pixels}).")
    return PixelRays(
        rays=Rays(origins=origins, directions=directions, footprint=footprint),
        colors=colors,
        opacity=opacity,
        view=view,
        block=block,
    )


def pick_pixels(
    block: Int[Tensor, " rays"],
    place: Float[Tensor, " rays"],
    layout: PixelLayout,
    masks: UInt8[Tensor, " masked"],
) -> Int[Tensor, " rays"]:
    """See ``ops.pick_pixels``; KernelError for a block that is none or has no usable pixel."""
    tensors, numbers = layout_tensors(layout)
    num_rays = block.shape[0]
    if len(masks):
        masks = ready_bytes(masks[:, None], "masks", layout.num_pixels)
    block = ready_integers(block, "block", (num_rays,))
    if place.shape != (num_rays,) or not place.is_cpu:
        raise KernelError(f"place has shape {tuple(place.shape)}, but {(num_rays,)} was wanted.")
    place = place.double().contiguous()
    pixel = torch.empty_like(block)
    found = native().pick_pixels(
        addresses(*tensors),
        numbers,
        masks.data_ptr() if len(masks) else 0,
        *addresses(block, place),
        num_rays,
        pixel.data_ptr(),
    )
    if not found:
        raise KernelError("a block that was asked for does not exist or has no usable pixel.")
    return pixel


def layout_tensors(layout: PixelLayout) -> tuple[list[Tensor], list[int]]:
    num_views = layout.offsets.shape[0]
    tensors = [
        ready_integers(layout.offsets, "offsets", (num_views,)),
        ready_integers(layout.sizes, "sizes", (num_views, 2)),
        ready_integers(layout.first_blocks, "first_blocks", (num_views,)),
    ]
    return tensors, [num_views, layout.num_pixels, layout.num_blocks, layout.block_shift]


def ready_integers(tensor: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    if tensor.dtype != torch.int64 or tensor.device.type != "cpu" or tensor.shape != shape:
        raise KernelError(
            f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}, but"
            f" int64 of shape {shape} on the CPU was wanted."
        )
    return tensor.contiguous()


def ready_bytes(tensor: Tensor, name: str, rows: int) -> Tensor:
    if tensor.dtype != torch.uint8 or tensor.device.type != "cpu" or tensor.shape[0] != rows:
        raise KernelError(
            f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}, but"
            f" uint8 with {rows} rows on the CPU was wanted."
        )
    return tensor.contiguous()
