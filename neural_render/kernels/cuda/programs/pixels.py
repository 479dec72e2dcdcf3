"""Rays through the pixels of photos, and random pixels of blocks (see ``reference.pixels``)."""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Photos(NamedTuple):
    """``PixelViews`` as kernels take it."""

    offsets: Any
    sizes: Any
    first_blocks: Any
    pixels: Any
    poses: Any
    intrinsics: Any
    table: Any
    table_starts: Any
    # Constants:
    channels: Any
    tabled: Any  # whether directions lie in the table
    shared: Any  # whether all views have the same intrinsics
    shift: Any  # of blocks, and their side
    side: Any
    halvings: Any  # that find a view among all


@triton.jit
def last_before(starts, value, number, HALVINGS: tl.constexpr):
    """The last of so many places, where starts ascend, whose start is not beyond the value."""
    low = value * 0
    high = low + number
    for _ in range(HALVINGS):
        middle = (low + high) // 2
        reached = tl.load(starts + middle) <= value
        low = tl.where(reached, middle, low)
        high = tl.where(reached, high, middle)
    return low


@triton.jit(do_not_specialize=["count", "views"])
def pick_program(wanted, photos, out, count, views, BLOCK: tl.constexpr):
    """A pixel of each block, ``wanted[0]``, that at a place, ``wanted[1]``, all being usable."""
    ray = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = ray < count
    block = tl.load(wanted[0] + ray, mask=known, other=0)
    view = last_before(photos.first_blocks, block, views, photos.halvings)
    width = tl.load(photos.sizes + 2 * view)
    height = tl.load(photos.sizes + 2 * view + 1)
    across = (width + photos.side - 1) >> photos.shift
    local = block - tl.load(photos.first_blocks + view)
    x, y = (local % across) << photos.shift, (local // across) << photos.shift
    wide, high = tl.minimum(width - x, photos.side), tl.minimum(height - y, photos.side)
    area = wide * high
    chosen = tl.load(wanted[1] + ray, mask=known, other=0.0) * area.to(tl.float64)
    chosen = tl.minimum(chosen.to(tl.int64), area - 1)
    corner = tl.load(photos.offsets + view) + y * width + x
    tl.store(out + ray, corner + chosen // wide * width + chosen % wide, mask=known)


@triton.jit(do_not_specialize=["count", "views"])
def shoot_program(wanted, photos, out, count, views, BLOCK: tl.constexpr):
    """Rays through pixels, ``wanted[0]``.

    ``out``: origins, directions, footprints, colours, opacities, views and blocks.
    """
    ray = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = ray < count
    index = tl.load(wanted[0] + ray, mask=known, other=0)
    view = last_before(photos.offsets, index, views, photos.halvings)
    width = tl.load(photos.sizes + 2 * view)
    within = index - tl.load(photos.offsets + view)
    row = within // width
    column = within - row * width
    if photos.tabled:
        entry = photos.table + 4 * (tl.load(photos.table_starts + view) + within)
        x, y, z = tl.load(entry), tl.load(entry + 1), tl.load(entry + 2)
        footprint = tl.load(entry + 3)
    else:
        lens = photos.intrinsics
        if photos.shared:
            lens += view * 0
        else:
            lens += view * 5
        x = (column.to(tl.float32) + (0.5 - tl.load(lens + 2))) / tl.load(lens)
        y = (row.to(tl.float32) + (0.5 - tl.load(lens + 3))) / tl.load(lens + 1)
        z = 1.0 / tl.sqrt(x * x + y * y + 1.0)
        footprint = tl.load(lens + 4) * z * tl.sqrt(z)
        x, y = x * z, y * z
    pose = photos.poses + 12 * view
    for axis in tl.static_range(3):
        along = tl.load(pose + axis) * x + tl.load(pose + 3 + axis) * y
        along += tl.load(pose + 6 + axis) * z
        tl.store(out[0] + 3 * ray + axis, tl.load(pose + 9 + axis), mask=known)
        tl.store(out[1] + 3 * ray + axis, along, mask=known)
        value = tl.load(photos.pixels + index * photos.channels + axis).to(tl.float32)
        tl.store(out[3] + 3 * ray + axis, tl.div_rn(value, 255.0), mask=known)
    tl.store(out[2] + ray, footprint, mask=known)
    opacity = footprint * 0.0 + 1.0
    if photos.channels == 4:
        opacity = tl.div_rn(tl.load(photos.pixels + index * 4 + 3).to(tl.float32), 255.0)
    tl.store(out[4] + ray, opacity, mask=known)
    tl.store(out[5] + ray, view, mask=known)
    across = (width + photos.side - 1) >> photos.shift
    block = (
        tl.load(photos.first_blocks + view)
        + (row >> photos.shift) * across
        + (column >> photos.shift)
    )
    tl.store(out[6] + ray, block, mask=known)
