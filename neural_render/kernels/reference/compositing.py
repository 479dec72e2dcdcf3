"""What rays see of their samples: emission and absorption (Max 1995).

Legend: d interval length, m its midpoint, T transmittance before a sample, w its weight.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.kernels.gradients import pullback
from neural_render.kernels.records import ColorTargets, Composited, PackedSamples
from neural_render.kernels.specs import LossSpec


def composite(
    density: Float[Tensor, " capacity"],
    radiance: Float[Tensor, "capacity channels"],
    samples: PackedSamples,
    background: Float[Tensor, "rays channels"],
    min_weight: float = 0.0,
) -> Composited:
    """See ``ops.composite``, and ``RenderSpec`` for ``min_weight``."""
    count = int(samples.count)
    spread, ray, slot = by_ray(samples, background.shape[0])
    t_near, t_far = spread(samples.t_near), spread(samples.t_far)
    d, m = t_far - t_near, 0.5 * (t_near + t_far)
    depth = spread(density) * d
    w = torch.exp(-before(depth)) * -torch.expm1(-depth)
    packed = w[ray, slot]
    opacity = w.sum(1)
    shares = gathered(w, min_weight)[ray, slot] if min_weight > 0.0 else packed
    values = background * (1.0 - opacity)[:, None]
    values = values.index_add(0, ray, shares[:, None] * radiance[:count])
    # m grows along a ray, so the double sum of the distortion is two running sums.
    pairs = 2.0 * (w * (m * before(w) - before(w * m))).sum(1)
    seen = opacity > 0.0
    return Composited(
        values=values,
        opacity=opacity,
        distance=((w * m).sum(1) / opacity.where(seen, 1.0)).where(seen, 0.0),
        distortion=pairs + (w * w * d).sum(1) / 3.0,
        weights=torch.cat([packed, packed.new_zeros(density.shape[0] - count)]),
    )


def gathered(w: Float[Tensor, "rays slots"], min_weight: float) -> Float[Tensor, "rays slots"]:
    """The weights that the samples' colours get: 0 for those that are not asked for theirs."""
    shares, waiting = torch.zeros_like(w), torch.zeros_like(w[:, :1]).sum(1)
    for slot in range(w.shape[1]):
        waiting = waiting + w[:, slot]
        enough = waiting >= min_weight
        shares[:, slot] = waiting.where(enough, 0.0)
        waiting = waiting.where(~enough, 0.0)
    asked = shares > 0.0
    if w.shape[1]:
        last = w.shape[1] - 1 - asked.flip(1).long().argmax(1)
        rest = waiting.where(asked.any(1), 0.0)
        shares = shares.scatter_add(1, last[:, None], rest[:, None])
    return shares


def count_asked(
    weights: Float[Tensor, " capacity"], samples: PackedSamples, num_rays: int, min_weight: float
) -> Int[Tensor, ""]:
    """How many samples ``gathered`` asks for their colour."""
    spread, _, _ = by_ray(samples, num_rays)
    return (gathered(spread(weights), min_weight) > 0.0).sum()


def composite_backward(
    to_outputs: Composited,
    density: Float[Tensor, " capacity"],
    radiance: Float[Tensor, "capacity channels"],
    samples: PackedSamples,
    background: Float[Tensor, "rays channels"],
) -> tuple[
    Float[Tensor, " capacity"],
    Float[Tensor, "capacity channels"],
    Float[Tensor, "rays channels"],
]:
    """Gradients to density, radiance and background."""

    def forward(density: Tensor, radiance: Tensor, background: Tensor) -> tuple[Tensor, ...]:
        return as_tuple(composite(density, radiance, samples, background))

    to_density, to_radiance, to_background = pullback(
        forward, (density, radiance, background), as_tuple(to_outputs)
    )
    return to_density, to_radiance, to_background


def transmittance_before(
    density: Float[Tensor, " capacity"], samples: PackedSamples, num_rays: int
) -> Float[Tensor, " samples"]:
    """T: the part of a ray's light that reaches each of its samples."""
    spread, ray, slot = by_ray(samples, num_rays)
    depth = spread(density) * (spread(samples.t_far) - spread(samples.t_near))
    return torch.exp(-before(depth))[ray, slot]


def by_ray(
    samples: PackedSamples, num_rays: int
) -> tuple[Callable[[Tensor], Tensor], Int[Tensor, " samples"], Int[Tensor, " samples"]]:
    """A function that lays packed values out as ``[rays slots]``, and each sample's place there."""
    count = int(samples.count)
    ray = samples.ray_index[:count].long()
    slot = torch.arange(count, device=ray.device) - samples.offsets.long()[ray]
    longest = int(slot.max()) + 1 if count else 0

    def spread(values: Tensor) -> Tensor:
        empty = values.new_zeros(num_rays, longest)
        return empty.index_put((ray, slot), values[:count])

    return spread, ray, slot


def before(values: Float[Tensor, "rays slots"]) -> Float[Tensor, "rays slots"]:
    """The sum of the values before each one."""
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1].cumsum(1)], dim=1)


def as_tuple(seen: Composited) -> tuple[Tensor, ...]:
    """The fields in their order."""
    return seen.values, seen.opacity, seen.distance, seen.distortion, seen.weights


def color_loss(
    values: Tensor, targets: ColorTargets, loss: LossSpec
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See ``ops.color_loss``; also the loss's gradients to ``values`` and to the gain."""
    gain = targets.gain if len(targets.gain) else torch.ones_like(values)
    opacity, background = targets.opacity[:, None], targets.background
    seen = gain * values
    error = seen - torch.lerp(gain * background, targets.colors, opacity)
    share = targets.weights[:, None] / max(1, len(values))
    if loss.relative > 0:
        scale = 1 / (seen**2 + loss.relative) ** (loss.power / 2)
        losses = error**2 * scale
        squared, to_seen = losses, 2 * error * scale * share
    else:
        delta, size = loss.delta, error.abs()
        losses = torch.where(size <= delta, error**2, 2 * delta * size - delta**2)
        squared, to_seen = error**2, 2 * error.clamp(-delta, delta) * share
    to_gain = to_seen * (values - (1 - opacity) * background)
    to_gain = to_gain if len(targets.gain) else targets.gain
    return (losses * share).sum(), squared.mean(dim=1), gain * to_seen, to_gain


def distance_loss(
    distance: Float[Tensor, " rays"], opacity: Float[Tensor, " rays"], targets: ColorTargets
) -> Float[Tensor, ""]:
    """See ``ops.distance_loss``."""
    known = (targets.distance > 0) & targets.distance.isfinite() & (opacity > 0)
    wanted = targets.distance.where(known, 1.0)
    distance = distance.where(known, 1.0)
    error = 2 * (distance - wanted) / (distance + wanted)
    share = targets.weights * targets.opacity * opacity.detach() / max(1, len(distance))
    return (error**2 * share.where(known, 0.0)).sum()
