"""Samples along rays, and which of them light reaches.

Legend (see ``MarchSpec``): T(s) distance at lattice coordinate s, k number of an interval. A tile
is ``[rays intervals]`` or ``[rays slots]``, slots being a ray's samples from near to far.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class March(NamedTuple):
    """``MarchSpec`` as kernels take it; t1, t2, s1, s2: where steps begin and cease to grow."""

    near: Any
    step: Any
    cone_angle: Any
    max_step: Any
    t1: Any
    t2: Any
    s1: Any
    s2: Any
    finest: Any  # half the side of the finest cascade
    # Constants:
    most: Any  # samples of a ray
    growing: Any
    cascades: Any


class MarchedRays(NamedTuple):
    """Rays to be marched through occupied cells."""

    origins: Any
    directions: Any
    jitter: Any
    occupancy: Any
    box: Any  # around all occupied cells, [2 3]
    blocks: Any  # of 8^3 cells of a single cascade, row by row: whether near one that is occupied


@triton.jit
def distance_at(s, march):
    """T(s)."""
    constant = march.near + s * march.step
    if march.growing:
        growing = march.t1 * tl.exp(march.cone_angle * (s - march.s1))
        beyond = march.t2 + march.max_step * (s - march.s2)
        return tl.where(s < march.s1, constant, tl.where(s < march.s2, growing, beyond))
    else:
        return constant


@triton.jit
def coordinate_at(t, march):
    """The inverse of T, for t >= near."""
    constant = (t - march.near) / march.step
    if march.growing:
        growing = march.s1 + tl.log(tl.maximum(t, march.t1) / march.t1) / march.cone_angle
        beyond = march.s2 + (t - march.t2) / march.max_step
        return tl.where(t < march.t1, constant, tl.where(t < march.t2, growing, beyond))
    else:
        return constant


@triton.jit
def slab(origin, direction, box, AXIS: tl.constexpr):
    """Where a ray enters and leaves a box along an axis; never, if that is unknown."""
    low = (tl.load(box + AXIS) - origin) / direction
    high = (tl.load(box + 3 + AXIS) - origin) / direction
    unknown = (low != low) | (high != high)
    enter = tl.where(unknown, -float("inf"), tl.minimum(low, high))
    leave = tl.where(unknown, float("inf"), tl.maximum(low, high))
    return enter, leave


@triton.jit
def candidates(origin, direction, jitter, box, march):
    """First k and number of the intervals that can have their midpoint in the box, and more."""
    enter0, leave0 = slab(origin[0], direction[0], box, 0)
    enter1, leave1 = slab(origin[1], direction[1], box, 1)
    enter2, leave2 = slab(origin[2], direction[2], box, 2)
    enter = tl.maximum(tl.maximum(enter0, enter1), enter2)
    leave = tl.minimum(tl.minimum(leave0, leave1), leave2)
    # Two intervals of slack on both ends cover rounding and midpoints.
    first = coordinate_at(tl.maximum(enter, march.near), march) - jitter - 2.0
    last = coordinate_at(leave, march) - jitter + 2.0
    first = tl.maximum(tl.floor(first), 0.0)
    number = tl.ceil(last) - first
    # Rays that are not finite have no samples, nor has what lies behind all that float32 can count.
    size = tl.abs(direction[0]) + tl.abs(direction[1]) + tl.abs(direction[2])
    size += tl.abs(origin[0]) + tl.abs(origin[1]) + tl.abs(origin[2]) + tl.abs(jitter)
    known = (size < float("inf")) & (number > 0.0) & (last < 16777216.0)
    return tl.where(known, first, 0.0), tl.where(known, number, 0.0).to(tl.int32)


@triton.jit
def spread_bits(value):
    """Two zeros between each two of ten bits."""
    value = (value | value << 16) & 0x030000FF
    value = (value | value << 8) & 0x0300F00F
    value = (value | value << 4) & 0x030C30C3
    return (value | value << 2) & 0x09249249


@triton.jit
def cell_on_axis(position, magnification):
    """The cell of a coordinate in a cascade."""
    local = (position - 0.5) * magnification + 0.5
    return tl.minimum(tl.maximum(tl.floor(local * 128.0).to(tl.int32), 0), 127)


@triton.jit
def is_occupied(points, length, mask, occupancy, march):
    """Whether the cells of points, for intervals of such lengths, are occupied."""
    x, y, z = points
    extent = tl.maximum(tl.maximum(tl.abs(x - 0.5), tl.abs(y - 0.5)), tl.abs(z - 0.5))
    contains = tl.zeros_like(extent).to(tl.int32)
    fits = contains
    half = march.finest
    for _ in tl.static_range(march.cascades):
        contains += (extent >= half).to(tl.int32)
        fits += (length > half / 64.0).to(tl.int32)
        half = half * 2.0
    cascade = tl.minimum(tl.maximum(contains, fits), march.cascades - 1)
    magnification = tl.exp2(-cascade.to(tl.float32)) * (0.5 / march.finest)
    code = spread_bits(cell_on_axis(x, magnification))
    code = code | spread_bits(cell_on_axis(y, magnification)) << 1
    code = code | spread_bits(cell_on_axis(z, magnification)) << 2
    place = cascade * (128 * 128 * 16) + (code >> 3)
    byte = tl.load(occupancy + place, mask=mask, other=0).to(tl.int32)
    return mask & ((byte >> (code & 7) & 1) != 0)


@triton.jit
def vector_of(values, row, mask):
    """Three components of rows of ``[rows 3]``."""
    x = tl.load(values + row * 3, mask=mask, other=0.0)
    y = tl.load(values + row * 3 + 1, mask=mask, other=0.0)
    z = tl.load(values + row * 3 + 2, mask=mask, other=0.0)
    return x, y, z


@triton.jit
def interval_samples(rays, march, ray, lattice, CHUNK, STEPS: tl.constexpr):
    """Ends of the intervals of a chunk, ``[rays intervals]``, and which of them are samples.

    ``ray``: numbers, origins and directions; ``lattice``: jitter, first k and number of intervals.
    """
    _, origin, direction = ray
    jitter, first, number = lattice
    index = CHUNK * STEPS + tl.arange(0, STEPS)
    k = first[:, None] + index.to(tl.float32)[None, :]
    t_near = distance_at(k + jitter[:, None], march)
    t_far = distance_at(k + 1.0 + jitter[:, None], march)
    middle = 0.5 * (t_near + t_far)
    x = origin[0][:, None] + direction[0][:, None] * middle
    y = origin[1][:, None] + direction[1][:, None] * middle
    z = origin[2][:, None] + direction[2][:, None] * middle
    lowest = tl.minimum(tl.minimum(x, y), z)
    highest = tl.maximum(tl.maximum(x, y), z)
    mask = (lowest >= 0.0) & (highest < 1.0) & (index[None, :] < number[:, None])
    mask = is_occupied((x, y, z), t_far - t_near, mask, rays.occupancy, march)
    return t_near, t_far, mask


@triton.jit
def near_occupied(rays, march, ray, lattice):
    """Those of the intervals that may be samples, as blocks of 8^3 cells show it; and more.

    A ray's way is cut into spans of half a block. What lies in one is in its midpoint's block or in
    one beside it. Longer ways, as steps that grow can have, are left as they are.
    """
    _, origin, direction = ray
    jitter, first, number = lattice
    begin = distance_at(first + jitter, march)
    end = distance_at(first + number.to(tl.float32) + jitter, march)
    size = direction[0] * direction[0] + direction[1] * direction[1] + direction[2] * direction[2]
    length = 1.0 / (32.0 * tl.sqrt(size))
    spans = tl.ceil((end - begin) / length)
    index = tl.arange(0, 64)
    index = index.to(tl.float32)[None, :]
    middle = begin[:, None] + (index + 0.5) * length[:, None]
    x = block_on_axis(origin[0][:, None] + direction[0][:, None] * middle)
    y = block_on_axis(origin[1][:, None] + direction[1][:, None] * middle)
    z = block_on_axis(origin[2][:, None] + direction[2][:, None] * middle)
    inside = index < spans[:, None]
    hit = tl.load(rays.blocks + x + 16 * y + 256 * z, mask=inside, other=0) != 0
    lowest = tl.min(tl.where(hit, index, 64.0), 1)
    highest = tl.max(tl.where(hit, index + 1.0, 0.0), 1)
    # Two intervals of slack on both ends, as above.
    start = coordinate_at(begin + lowest * length, march) - jitter - 2.0
    stop = coordinate_at(begin + highest * length, march) - jitter + 2.0
    start = tl.maximum(tl.floor(start), first)
    stop = tl.minimum(tl.ceil(stop), first + number.to(tl.float32))
    narrowed = tl.where(highest > 0.0, tl.maximum(stop - start, 0.0), 0.0)
    known = (number > 0) & (spans <= 64.0)
    return tl.where(known, start, first), tl.where(known, narrowed.to(tl.int32), number)


@triton.jit
def block_on_axis(position):
    """The block of 8^3 cells of a coordinate, or the nearest one."""
    return tl.minimum(tl.maximum(tl.floor(position * 16.0).to(tl.int32), 0), 15)


@triton.jit(do_not_specialize=["count", "capacity"])
def march_program(rays, march, out, count, capacity, tile, WRITE: tl.constexpr):
    """How many samples each ray has, ``out[0]``, or, to WRITE them, their ends.

    ``out[1]`` and ``out[2]`` are the first k and the number of the intervals among which they are:
    found, and taken up to WRITE. ``out[0]`` then holds where those of each ray begin, and the
    others t_near, t_far and ray of samples, of which none reaches ``capacity``.
    ``tile``: its rays and intervals.
    """
    RAYS: tl.constexpr = tile[0]
    STEPS: tl.constexpr = tile[1]
    ray = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    known = ray < count
    origin = vector_of(rays.origins, ray, known)
    direction = vector_of(rays.directions, ray, known)
    jitter = tl.load(rays.jitter + ray, mask=known, other=0.0)
    along = (ray, origin, direction)
    if WRITE:
        start = tl.load(out[0] + ray, mask=known, other=0)
        first = tl.load(out[1] + ray, mask=known, other=0.0)
        number = tl.load(out[2] + ray, mask=known, other=0)
    else:
        start = tl.zeros([RAYS], tl.int64)
        first, number = candidates(origin, direction, jitter, rays.box, march)
        number = tl.where(known, number, 0)
        if march.cascades == 1:
            first, number = near_occupied(rays, march, along, (jitter, first, number))
    found = tl.zeros([RAYS], tl.int32)
    lowest, highest = found + 0x7FFFFFFF, found
    for chunk in range((tl.max(number) + STEPS - 1) // STEPS):
        t_near, t_far, mask = interval_samples(
            rays, march, along, (jitter, first, number), chunk, STEPS
        )
        rank = found[:, None] + tl.cumsum(mask.to(tl.int32), 1)
        mask = mask & (rank <= march.most)
        if WRITE:
            place = start[:, None] + rank - 1
            inside = mask & (place < capacity)
            tl.store(out[3] + place, t_near, mask=inside)
            tl.store(out[4] + place, t_far, mask=inside)
            tl.store(out[5] + place, (ray[:, None] + tl.zeros_like(rank)).to(tl.int64), mask=inside)
        else:
            index = chunk * STEPS + tl.arange(0, STEPS)
            least = tl.min(tl.where(mask, index[None, :], 0x7FFFFFFF), 1)
            lowest = tl.minimum(lowest, least)
            highest = tl.maximum(highest, tl.max(tl.where(mask, index[None, :] + 1, 0), 1))
        found += tl.sum(mask.to(tl.int32), 1)
    if not WRITE:
        tl.store(out[0] + ray, found.to(tl.int64), mask=known)
        lowest = tl.minimum(lowest, highest)
        tl.store(out[1] + ray, first + lowest.to(tl.float32), mask=known)
        tl.store(out[2] + ray, highest - lowest, mask=known)


@triton.jit(do_not_specialize=["count"])
def list_program(starts, numbers, offsets, out, count, RAYS: tl.constexpr, SLOTS: tl.constexpr):
    """Writes ``starts + 0, 1, ...``, ``numbers`` of them, from ``offsets`` on, of each ray."""
    ray = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    known = ray < count
    start = tl.load(starts + ray, mask=known, other=0)
    number = tl.load(numbers + ray, mask=known, other=0)
    offset = tl.load(offsets + ray, mask=known, other=0)
    for chunk in range((tl.max(number) + SLOTS - 1) // SLOTS):
        slot = chunk * SLOTS + tl.arange(0, SLOTS)
        inside = slot[None, :] < number[:, None]
        tl.store(out + offset[:, None] + slot[None, :], start[:, None] + slot[None, :], mask=inside)


@triton.jit
def thinned(depth):
    """An optical depth, at most 64: no light is left behind it, and sums keep their digits."""
    return tl.where(depth > 64.0, 64.0, depth)


class Light(NamedTuple):
    """What is known of rays as densities come in: optical depth so far, samples reached, alive."""

    depth: Any
    survivors: Any
    alive: Any
    least: Any  # transmittance


@triton.jit(do_not_specialize=["first", "last", "count"])
def light_program(samples, light, first, last, count, RAYS: tl.constexpr, SLOTS: tl.constexpr):
    """Follows the light through the slots from ``first`` up to ``last`` of all rays that are alive.

    ``samples``: offsets, t_near, t_far, density.
    """
    ray = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    known = ray < count
    start = tl.load(samples[0] + ray, mask=known, other=0)
    number = (tl.load(samples[0] + ray + 1, mask=known, other=0) - start).to(tl.int32)
    alive = tl.load(light.alive + ray, mask=known, other=0) != 0
    depth = tl.load(light.depth + ray, mask=known, other=0.0)
    survivors = tl.load(light.survivors + ray, mask=known, other=0)
    end = tl.where(alive, tl.minimum(number, last), 0)
    for chunk in range((tl.max(end) - first + SLOTS - 1) // SLOTS):
        slot = first + chunk * SLOTS + tl.arange(0, SLOTS)
        inside = slot[None, :] < end[:, None]
        place = start[:, None] + slot[None, :]
        t_near = tl.load(samples[1] + place, mask=inside, other=0.0)
        t_far = tl.load(samples[2] + place, mask=inside, other=0.0)
        density = tl.load(samples[3] + place, mask=inside, other=0.0)
        own = thinned(density * (t_far - t_near))
        through = depth[:, None] + tl.cumsum(own, 1)
        # No light is left behind the last sample that is lit, or no number (NaN).
        lit = inside & (tl.exp(-through) >= light.least)
        ended = tl.sum((inside & (lit == 0)).to(tl.int32), 1) > 0
        survivors += tl.sum(lit.to(tl.int32), 1) + (alive & ended).to(tl.int32)
        alive = alive & (ended == 0)
        depth += tl.sum(own, 1)
    tl.store(light.depth + ray, depth, mask=known)
    tl.store(light.survivors + ray, survivors, mask=known)
    tl.store(light.alive + ray, (alive & (number > last)).to(tl.int8), mask=known)
