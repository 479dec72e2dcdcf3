"""The density at which a field's surfaces lie: where its renderer sees them.

Legend: L a level, T transmittance along a ray, t the distance at which T falls below a half.

Rays of the training cameras are followed in fine steps. Of many levels the one is taken whose first
crossing is nearest to t on average, in march steps; rays that only one of the two meets count as if
both lay far apart. What a picture shows as surface is then what the mesh has there.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.core.cameras import rays_through_pixels
from neural_render.core.rays import Rays
from neural_render.export.geometry.subject import Subject, nothing_to_export
from neural_render.kernels.records import RenderInputs
from neural_render.rendering.composed import exclusive_sums, march_all, sample_points

NUM_RAYS = 1 << 15
RAYS_AT_ONCE = 1 << 12
FINER = 4  # steps in place of one of the renderer's
NUM_LEVELS = 48
LEAST_OPTICAL, MOST_OPTICAL = 1e-3, 10.0  # of a march step, at the lowest and the highest level
FARTHEST_STEPS = 16.0  # an error that counts as no match
LEAST_HITS = 16


@dataclass(frozen=True, kw_only=True)
class _Followed:
    """A level's first crossing (rows) on each ray, t, both in the cube; infinite: never. A step."""

    crossing: Float[Tensor, "levels rays"]
    half: Float[Tensor, " rays"]
    step: Float[Tensor, " rays"]


def surface_level(subject: Subject, seed: int = 0) -> float:
    """L, per unit of the field's cube; OutputError where cameras see nothing opaque."""
    step = subject.renderer.march.step
    low, high = math.log(LEAST_OPTICAL / step), math.log(MOST_OPTICAL / step)
    levels = torch.linspace(low, high, NUM_LEVELS).exp()
    rays = random_rays(subject, NUM_RAYS, torch.Generator().manual_seed(seed))
    error, hits = torch.zeros(NUM_LEVELS, dtype=torch.float64), 0
    for start in range(0, NUM_RAYS, RAYS_AT_ONCE):
        found = _followed(subject, rays[start : start + RAYS_AT_ONCE], levels)
        hit = found.half.isfinite()
        hits += int(hit.sum())
        met = found.crossing.isfinite()
        apart = (found.crossing - found.half).abs() / found.step
        apart = apart.clamp(max=FARTHEST_STEPS).where(met & hit, FARTHEST_STEPS)
        error += apart.where(met | hit, 0.0).double().sum(1)
    if hits < LEAST_HITS:
        raise nothing_to_export("a mesh")
    return float(levels[error.argmin()])


def random_rays(subject: Subject, count: int, generator: torch.Generator) -> Rays:
    """Rays (field frame) through random places of the pictures of the subject's cameras."""
    cameras = subject.cameras
    camera = torch.randint(len(cameras), (count,), generator=generator)
    size = torch.stack([cameras.width, cameras.height], dim=-1)[camera]
    pixels = torch.rand((count, 2), generator=generator) * size
    return rays_through_pixels(cameras, camera, pixels)


@torch.no_grad()
def _followed(subject: Subject, rays: Rays, levels: Float[Tensor, " levels"]) -> _Followed:
    """Where rays cross the levels, and where half of their light is gone."""
    renderer, device = subject.renderer, subject.device
    rays = replace(rays, footprint=torch.zeros_like(rays.footprint)).to(device)
    if not renderer.projection.is_identity:
        rays = renderer.projection.apply_to_rays(rays).rays
    inputs = RenderInputs(
        rays=rays,
        jitter=torch.full((len(rays),), 0.5, device=device),
        background=torch.zeros(len(rays), 0, device=device),
        conditions=torch.zeros(len(rays), 0, device=device),
        occupancy=renderer.occupancy.bits,
    )
    march = renderer.march
    finer = replace(
        march,
        step=march.step / FINER,
        cone_angle=march.cone_angle / FINER,
        max_step=march.max_step / FINER,
        max_samples_per_ray=march.max_samples_per_ray * FINER,
    )
    samples = march_all(inputs, finer)
    ray: Int[Tensor, " samples"] = samples.ray_index.long()
    density = subject.field.density(sample_points(inputs, samples)[0]).nan_to_num(0.0)
    length = samples.t_far - samples.t_near
    before = exclusive_sums(density * length, samples)
    share = (math.log(2.0) - before) / (density * length).clamp(min=1e-9)
    halved = ((share > 0) & (share <= 1)).nonzero()[:, 0]
    half, step = torch.full((2, len(rays)), torch.inf, device=device).unbind()
    half[ray[halved]] = samples.t_near[halved] + share[halved] * length[halved]
    step.scatter_reduce_(0, ray, FINER * length, "amin")
    step[ray[halved]] = FINER * length[halved]
    middle, crossing = 0.5 * (samples.t_near + samples.t_far), []
    for level in levels.tolist():
        above = (density >= level).nonzero()[:, 0]
        first = torch.full_like(half, torch.inf)
        crossing.append(first.scatter_reduce_(0, ray[above], middle[above], "amin"))
    return _Followed(crossing=torch.stack(crossing).cpu(), half=half.cpu(), step=step.cpu())
