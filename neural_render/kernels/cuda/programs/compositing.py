"""What rays see of their samples, and back (see ``reference.compositing``).

Legend: d interval length, m its midpoint, T transmittance before a sample, w its weight; a tile is
``[rays slots]``, slots being a ray's samples from near to far.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from neural_render.kernels.cuda.programs.marching import thinned


class Segments(NamedTuple):
    """The samples of rays, ray after ray; ``offsets`` one more than rays."""

    offsets: Any
    t_near: Any
    t_far: Any


class Seen(NamedTuple):
    """What rays see, or the gradients to it."""

    colors: Any
    opacity: Any
    distance: Any
    distortion: Any
    weights: Any


@triton.jit
def ray_block(segments, count, RAYS: tl.constexpr):
    """Numbers of rays, their mask, first sample and number of samples."""
    ray = tl.program_id(0) * RAYS + tl.arange(0, RAYS)
    known = ray < count
    start = tl.load(segments.offsets + ray, mask=known, other=0)
    end = tl.load(segments.offsets + ray + 1, mask=known, other=0)
    return ray, known, start, (end - start).to(tl.int32)


@triton.jit
def chunk_weights(segments, density, block, depth, CHUNK, SLOTS: tl.constexpr):
    """Places and mask of a chunk's slots, d, m, w, T behind them, the depth behind them all."""
    _, _, start, number = block
    slot = CHUNK * SLOTS + tl.arange(0, SLOTS)
    inside = slot[None, :] < number[:, None]
    place = start[:, None] + slot[None, :]
    t_near = tl.load(segments.t_near + place, mask=inside, other=0.0)
    t_far = tl.load(segments.t_far + place, mask=inside, other=0.0)
    length = t_far - t_near
    own = thinned(tl.load(density + place, mask=inside, other=0.0) * length)
    through = depth[:, None] + tl.cumsum(own, 1)
    before, behind = tl.exp(own - through), tl.exp(-through)
    # Of a thin sample the difference of exponentials would keep few digits: its Taylor series.
    series = own * (1.0 - own * (0.5 - own * (1.0 / 6.0 - own * (1.0 / 24.0))))
    stopped = tl.where(own < 0.05, series, 1.0 - tl.exp(-own))
    weight = before * stopped
    return place, inside, length, 0.5 * (t_near + t_far), weight, behind, depth + tl.sum(own, 1)


@triton.jit(do_not_specialize=["count"])
def composite_program(
    field, segments, seen, count, tile, CHANNELS: tl.constexpr, CHANNELS_TILE: tl.constexpr
):
    """Everything that rays see; ``field``: density, radiance ``[samples channels]``, background.

    ``tile``: its rays and slots.
    """
    RAYS: tl.constexpr = tile[0]
    SLOTS: tl.constexpr = tile[1]
    block = ray_block(segments, count, RAYS)
    ray, known, number = block[0], block[1], block[3]
    channel = tl.arange(0, CHANNELS_TILE)
    values = tl.zeros([RAYS, CHANNELS_TILE], tl.float32)
    depth = tl.zeros([RAYS], tl.float32)
    opacity, moment, pairs, own = depth, depth, depth, depth
    for chunk in range((tl.max(number) + SLOTS - 1) // SLOTS):
        place, inside, d, m, w, _behind, depth = chunk_weights(
            segments, field[0], block, depth, chunk, SLOTS
        )
        before = opacity[:, None] + tl.cumsum(w, 1) - w
        moments = moment[:, None] + tl.cumsum(w * m, 1) - w * m
        pairs += tl.sum(w * (m * before - moments), 1)
        own += tl.sum(w * w * d, 1)
        opacity += tl.sum(w, 1)
        moment += tl.sum(w * m, 1)
        tl.store(seen.weights + place, w, mask=inside)
        for c in tl.static_range(CHANNELS):
            radiance = tl.load(field[1] + place * CHANNELS + c, mask=inside, other=0.0)
            total = tl.sum(w * radiance, 1)
            values += tl.where((channel == c)[None, :], total[:, None], 0.0)
    to = ray[:, None] * CHANNELS + channel[None, :]
    wanted = known[:, None] & (channel < CHANNELS)[None, :]
    background = tl.load(field[2] + to, mask=wanted, other=0.0)
    tl.store(seen.colors + to, values + (1.0 - opacity)[:, None] * background, mask=wanted)
    tl.store(seen.opacity + ray, opacity, mask=known)
    any_seen = opacity > 0.0
    distance = tl.where(any_seen, moment / tl.where(any_seen, opacity, 1.0), 0.0)
    tl.store(seen.distance + ray, distance, mask=known)
    tl.store(seen.distortion + ray, 2.0 * pairs + own / 3.0, mask=known)


@triton.jit
def slope_to_weights(chunk, field, given, sums, CHANNELS: tl.constexpr):
    """The gradient to the weights w of a chunk's samples.

    ``chunk``: see ``chunk_weights``; ``given``: rays, gradients to what they see and their mask;
    ``sums``: w and w m of all samples of each ray, and of those before the chunk.
    """
    place, inside, d, m, w, _, _ = chunk
    ray, seen, known = given
    opacity, moment, opacity_before, moment_before = sums
    slope = tl.load(seen.weights + place, mask=inside, other=0.0)
    slope += tl.load(seen.opacity + ray, mask=known, other=0.0)[:, None]
    any_seen = opacity > 0.0
    total = tl.where(any_seen, opacity, 1.0)
    to_distance = tl.load(seen.distance + ray, mask=known, other=0.0)
    to_distance = tl.where(any_seen, to_distance / total, 0.0)
    slope += to_distance[:, None] * (m - (moment / total)[:, None])
    before = opacity_before[:, None] + tl.cumsum(w, 1) - w
    moments = moment_before[:, None] + tl.cumsum(w * m, 1) - w * m
    apart = m * before - moments + (moment[:, None] - moments - w * m)
    apart = apart - m * (opacity[:, None] - before - w)
    to_distortion = tl.load(seen.distortion + ray, mask=known, other=0.0)
    slope += to_distortion[:, None] * (2.0 * apart + (2.0 / 3.0) * w * d)
    for c in tl.static_range(CHANNELS):
        to_value = tl.load(seen.colors + ray * CHANNELS + c, mask=known, other=0.0)
        radiance = tl.load(field[1] + place * CHANNELS + c, mask=inside, other=0.0)
        background = tl.load(field[2] + ray * CHANNELS + c, mask=known, other=0.0)
        slope += to_value[:, None] * (radiance - background[:, None])
    return tl.where(inside, slope, 0.0)


@triton.jit(do_not_specialize=["count"])
def composite_backward_program(field, segments, seen, out, count, tile, CHANNELS: tl.constexpr):
    """Gradients to density, radiance and background, ``out``, from those to what is seen."""
    RAYS: tl.constexpr = tile[0]
    SLOTS: tl.constexpr = tile[1]
    block = ray_block(segments, count, RAYS)
    ray, known, number = block[0], block[1], block[3]
    chunks = (tl.max(number) + SLOTS - 1) // SLOTS
    zero = tl.zeros([RAYS], tl.float32)
    depth, opacity, moment = zero, zero, zero
    for index in range(chunks):
        chunk = chunk_weights(segments, field[0], block, depth, index, SLOTS)
        opacity += tl.sum(chunk[4], 1)
        moment += tl.sum(chunk[4] * chunk[3], 1)
        depth = chunk[6]
    depth, opacity_before, moment_before, later = zero, zero, zero, zero
    given = (ray, seen, known)
    for index in range(chunks):
        chunk = chunk_weights(segments, field[0], block, depth, index, SLOTS)
        sums = (opacity, moment, opacity_before, moment_before)
        later += tl.sum(chunk[4] * slope_to_weights(chunk, field, given, sums, CHANNELS), 1)
        opacity_before += tl.sum(chunk[4], 1)
        moment_before += tl.sum(chunk[4] * chunk[3], 1)
        depth = chunk[6]
    depth, opacity_before, moment_before = zero, zero, zero
    for index in range(chunks):
        chunk = chunk_weights(segments, field[0], block, depth, index, SLOTS)
        place, inside, d, m, w, behind, after = chunk
        sums = (opacity, moment, opacity_before, moment_before)
        slope = slope_to_weights(chunk, field, given, sums, CHANNELS)
        rest = later[:, None] - tl.cumsum(w * slope, 1)
        tl.store(out[0] + place, d * (behind * slope - rest), mask=inside)
        for c in tl.static_range(CHANNELS):
            to_value = tl.load(seen.colors + ray * CHANNELS + c, mask=known, other=0.0)
            tl.store(out[1] + place * CHANNELS + c, w * to_value[:, None], mask=inside)
        later -= tl.sum(w * slope, 1)
        opacity_before += tl.sum(w, 1)
        moment_before += tl.sum(w * m, 1)
        depth = after
    for c in tl.static_range(CHANNELS):
        to_value = tl.load(seen.colors + ray * CHANNELS + c, mask=known, other=0.0)
        tl.store(out[2] + ray * CHANNELS + c, to_value * (1.0 - opacity), mask=known)


@triton.jit(do_not_specialize=["count"])
def gather_program(weights, segments, least, shares, count, RAYS: tl.constexpr):
    """The weights that the samples' colours get (see ``RenderSpec``), slot after slot."""
    _, known, start, number = ray_block(segments, count, RAYS)
    waiting = tl.zeros([RAYS], tl.float32)
    last = tl.zeros([RAYS], tl.int64) - 1
    for slot in range(tl.max(number)):
        inside = known & (slot < number)
        waiting += tl.load(weights + start + slot, mask=inside, other=0.0)
        enough = inside & (waiting >= least)
        tl.store(shares + start + slot, tl.where(enough, waiting, 0.0), mask=inside)
        last = tl.where(enough, start + slot, last)
        waiting = tl.where(enough, 0.0, waiting)
    rest = known & (last >= 0)
    share = tl.load(shares + last, mask=rest, other=0.0)
    tl.store(shares + last, share + waiting, mask=rest)


@triton.jit(do_not_specialize=["count"])
def sum_program(
    values, segments, out, count, COLUMNS: tl.constexpr, RAYS: tl.constexpr, SLOTS: tl.constexpr
):
    """The sum of ``[samples columns]`` over each ray's samples, in their order."""
    ray, known, start, number = ray_block(segments, count, RAYS)
    for column in tl.static_range(COLUMNS):
        total = tl.zeros([RAYS], tl.float32)
        for chunk in range((tl.max(number) + SLOTS - 1) // SLOTS):
            slot = chunk * SLOTS + tl.arange(0, SLOTS)
            place = (start[:, None] + slot[None, :]) * COLUMNS + column
            inside = slot[None, :] < number[:, None]
            total += tl.sum(tl.load(values + place, mask=inside, other=0.0), 1)
        tl.store(out + ray * COLUMNS + column, total, mask=known)
