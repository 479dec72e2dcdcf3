"""Samples along rays by brute force: every interval that could lie in the cube is looked at.

Legend (see ``MarchSpec``): T(s) distance along a ray at lattice coordinate s, k number of an
interval, m its midpoint, c cascade.
"""

import math

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels.morton import morton_encode
from neural_render.kernels.records import PackedSamples
from neural_render.kernels.specs import MORTON_RESOLUTION, MarchSpec

# Intervals looked at together: bounds the memory, changes nothing else.
CHUNK = 1 << 20


def march_rays(
    rays: Rays,
    jitter: Float[Tensor, " rays"],
    occupancy: UInt8[Tensor, "cascades bytes"],
    spec: MarchSpec,
    capacity: int,
) -> PackedSamples:
    """See ``ops.march_rays``."""
    return pack(*occupied_intervals(rays, jitter, occupancy, spec), len(rays), capacity)


def pack(
    t_near: Float[Tensor, " samples"],
    t_far: Float[Tensor, " samples"],
    ray_index: Int[Tensor, " samples"],
    num_rays: int,
    capacity: int,
) -> PackedSamples:
    """Samples, given ray after ray, in buffers of a capacity; what is beyond it is lost."""
    offsets = torch.zeros(num_rays + 1, dtype=torch.int64, device=ray_index.device)
    offsets[1:] = torch.bincount(ray_index, minlength=num_rays).cumsum(0)
    wanted = ray_index.shape[0]
    count = min(wanted, capacity)

    def padded(values: Tensor) -> Tensor:
        return torch.cat([values[:count], values.new_zeros(capacity - count)])

    return PackedSamples(
        t_near=padded(t_near),
        t_far=padded(t_far),
        ray_index=padded(ray_index),
        offsets=offsets.clamp(max=capacity),
        count=offsets.new_tensor(count),
        num_wanted=offsets.new_tensor(wanted),
    )


def occupied_intervals(
    rays: Rays,
    jitter: Float[Tensor, " rays"],
    occupancy: UInt8[Tensor, "cascades bytes"],
    spec: MarchSpec,
) -> tuple[Float[Tensor, " samples"], Float[Tensor, " samples"], Int[Tensor, " samples"]]:
    """``t_near``, ``t_far`` and ray of all samples, ray after ray, near to far."""
    first, number = _candidates(rays, jitter, spec)
    longest = max(1, int(number.max()) if len(rays) else 1)
    size = max(1, CHUNK // longest)
    found = []
    for start in range(0, max(1, len(rays)), size):
        part = slice(start, start + size)
        k = first[part, None] + torch.arange(longest, device=first.device)
        t_near = lattice_distance(k + jitter[part, None], spec)
        t_far = lattice_distance(k + 1.0 + jitter[part, None], spec)
        mask = _is_sample(rays[part], t_near, t_far, occupancy, spec)
        mask &= mask.cumsum(1) <= spec.max_samples_per_ray
        found.append((t_near[mask], t_far[mask], mask.nonzero()[:, 0] + start))
    t_near, t_far, ray_index = (torch.cat(parts) for parts in zip(*found, strict=True))
    return t_near, t_far, ray_index


def lattice_distance(s: Float[Tensor, "*samples"], spec: MarchSpec) -> Float[Tensor, "*samples"]:
    """T(s): the distance along the ray of lattice coordinate s >= 0 (see ``MarchSpec``)."""
    if spec.cone_angle == 0.0:
        return spec.near + s * spec.step
    t1, t2, s1, s2 = _knots(spec)
    growing = t1 * torch.exp(spec.cone_angle * (s - s1))
    beyond = t2 + spec.max_step * (s - s2)
    return torch.where(s < s1, spec.near + s * spec.step, torch.where(s < s2, growing, beyond))


def lattice_coordinate(t: Float[Tensor, "*samples"], spec: MarchSpec) -> Float[Tensor, "*samples"]:
    """The inverse of T, for t >= near."""
    if spec.cone_angle == 0.0:
        return (t - spec.near) / spec.step
    t1, t2, s1, s2 = _knots(spec)
    growing = s1 + torch.log(t.clamp(min=t1) / t1) / spec.cone_angle
    beyond = s2 + (t - t2) / spec.max_step
    return torch.where(t < t1, (t - spec.near) / spec.step, torch.where(t < t2, growing, beyond))


def _knots(spec: MarchSpec) -> tuple[float, float, float, float]:
    """Where steps begin and cease to grow: as distances t1, t2, as lattice coordinates s1, s2."""
    t1 = max(spec.near, spec.step / spec.cone_angle)
    t2 = max(t1, spec.max_step / spec.cone_angle)
    s1 = (t1 - spec.near) / spec.step
    return t1, t2, s1, s1 + math.log(t2 / t1) / spec.cone_angle


def _candidates(
    rays: Rays, jitter: Float[Tensor, " rays"], spec: MarchSpec
) -> tuple[Float[Tensor, " rays"], Int[Tensor, " rays"]]:
    """First k and number of the intervals that can have their midpoint in the cube, and a few more.

    A direction component of 0 divides to infinities of the right signs, or to NaN for an origin on
    the very border, which then limits nothing. A ray that is not finite has no samples.
    """
    to_low = (0.0 - rays.origins) / rays.directions
    to_high = (1.0 - rays.origins) / rays.directions
    enter = torch.minimum(to_low, to_high).nan_to_num(-math.inf, math.inf, -math.inf).amax(-1)
    leave = torch.maximum(to_low, to_high).nan_to_num(math.inf, math.inf, -math.inf).amin(-1)
    # Two intervals of slack on both ends cover rounding and midpoints.
    first = lattice_coordinate(enter.clamp(min=spec.near), spec) - jitter - 2.0
    last = lattice_coordinate(leave, spec) - jitter + 2.0
    first = first.floor().clamp(min=0.0)
    number = (last.ceil() - first).clamp(min=0.0)
    return first, number.where(number.isfinite(), 0.0).long()


def _is_sample(
    rays: Rays,
    t_near: Float[Tensor, "rays intervals"],
    t_far: Float[Tensor, "rays intervals"],
    occupancy: UInt8[Tensor, "cascades bytes"],
    spec: MarchSpec,
) -> Bool[Tensor, "rays intervals"]:
    middle = 0.5 * (t_near + t_far)
    points = rays.origins[:, None] + rays.directions[:, None] * middle[..., None]
    mask = ((points >= 0.0) & (points < 1.0)).all(-1)
    mask[mask.clone()] = is_occupied(points[mask], (t_far - t_near)[mask], occupancy, spec.cascades)
    return mask


def is_occupied(
    points: Float[Tensor, "samples 3"],
    lengths: Float[Tensor, " samples"],
    occupancy: UInt8[Tensor, "cascades bytes"],
    cascades: int,
) -> Bool[Tensor, " samples"]:
    """Whether the cells of points in [0, 1)^3, for intervals of such lengths, are occupied."""
    extent = (points - 0.5).abs().amax(-1)
    contains = torch.zeros_like(extent, dtype=torch.int64)
    fits = torch.zeros_like(contains)
    for cascade in range(cascades):
        contains += extent >= 2.0 ** (cascade - cascades)
        fits += lengths > 2.0 ** (cascade - cascades + 1) / MORTON_RESOLUTION
    cascade = torch.maximum(contains, fits).clamp(max=cascades - 1)
    magnification = 2.0 ** (cascades - 1 - cascade).to(points.dtype)
    local = (points - 0.5) * magnification[:, None] + 0.5
    cells = (local * MORTON_RESOLUTION).floor().long().clamp(0, MORTON_RESOLUTION - 1)
    code = morton_encode(cells)
    byte = occupancy[cascade, code >> 3].long()
    return (byte >> (code & 7) & 1).bool()
