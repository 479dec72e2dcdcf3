"""The renderer's path for fields without a fused view: march, query, composite, one op each.

It means the same as ``ops.render_rays`` and is tested equal to it.

Legend: T transmittance before a sample, ``T_i = exp(-sum_{j<i} density_j length_j)``.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.core.protocols import Field
from neural_render.kernels import ops
from neural_render.kernels.gradients import faded_near
from neural_render.kernels.records import PackedSamples, RenderInputs, RenderOutput
from neural_render.kernels.specs import MarchSpec

FIRST_GUESS = 32  # samples per ray
MAX_POINTS = 1 << 18  # asked for their density at once
SOLID = 1e3  # optical depth behind which nothing is seen


def render_composed(
    field: Field,
    inputs: RenderInputs,
    march: MarchSpec,
    first_channel: int = 0,
    near_fade: float = 0.0,
) -> RenderOutput:
    """What the rays see; differentiable in whatever ``field`` is, in rays and background.

    In those channels, from ``first_channel`` on, that the background has. ``near_fade``: see
    ``LossSpec``.
    """
    samples = march_all(inputs, march)
    survivors = drop_hidden(field, inputs, samples, march.min_transmittance)
    index = survivors.ray_index
    points, footprint = sample_points(inputs, survivors)
    density, radiance = field.query(
        points,
        inputs.rays.directions[index],
        inputs.conditions if inputs.conditions.shape[1] else None,
        index,
        footprint,
    )
    num_channels = inputs.background.shape[1]
    radiance = radiance[:, first_channel : first_channel + num_channels]
    density, radiance = faded_near(density, radiance, midpoints(survivors), near_fade)
    seen = ops.composite(density, radiance, survivors, inputs.background)
    return RenderOutput(
        values=seen.values,
        opacity=seen.opacity,
        distance=seen.distance,
        distortion=seen.distortion,
        num_marched=samples.count,
        num_survived=survivors.count,
    )


def march_all(inputs: RenderInputs, march: MarchSpec) -> PackedSamples:
    """All samples of all rays, in buffers exactly as long as needed."""
    capacity = FIRST_GUESS * len(inputs.rays)
    while True:
        samples = ops.march_rays(inputs.rays, inputs.jitter, inputs.occupancy, march, capacity)
        wanted = int(samples.num_wanted)
        if wanted <= capacity:
            return shortened(samples, int(samples.count))
        capacity = wanted


def shortened(samples: PackedSamples, count: int) -> PackedSamples:
    """The same samples in buffers of length ``count``."""
    return PackedSamples(
        t_near=samples.t_near[:count],
        t_far=samples.t_far[:count],
        ray_index=samples.ray_index[:count],
        offsets=samples.offsets,
        count=samples.count,
        num_wanted=samples.num_wanted,
    )


def sample_points(
    inputs: RenderInputs, samples: PackedSamples
) -> tuple[Float[Tensor, "samples 3"], Float[Tensor, " samples"]]:
    """The intervals' midpoints and footprints; differentiable in the rays, not in distances."""
    middle = midpoints(samples)
    index = samples.ray_index
    rays = inputs.rays
    points = rays.origins[index] + middle[:, None] * rays.directions[index]
    return points, rays.footprint[index] * middle


def midpoints(samples: PackedSamples) -> Float[Tensor, " samples"]:
    """The distances of the middles of all intervals."""
    return 0.5 * (samples.t_near + samples.t_far)


@torch.no_grad()
def drop_hidden(
    field: Field, inputs: RenderInputs, samples: PackedSamples, min_transmittance: float
) -> PackedSamples:
    """The samples before which at least ``min_transmittance`` of the light is left."""
    points, footprint = sample_points(inputs, samples)
    density = torch.cat(
        [
            field.density(points[start : start + MAX_POINTS], footprint[start : start + MAX_POINTS])
            for start in range(0, max(1, len(points)), MAX_POINTS)
        ]
    )
    optical = density * (samples.t_far - samples.t_near)
    depth_before = exclusive_sums(optical, samples)
    kept = (-depth_before).exp() >= min_transmittance
    before = torch.nn.functional.pad(kept.long().cumsum(0), (1, 0))
    offsets = before[samples.offsets.long()].to(samples.offsets.dtype)
    count = offsets[-1].to(samples.count.dtype)
    return PackedSamples(
        t_near=samples.t_near[kept],
        t_far=samples.t_far[kept],
        ray_index=samples.ray_index[kept],
        offsets=offsets,
        count=count,
        num_wanted=count,
    )


def exclusive_sums(
    values: Float[Tensor, " samples"], samples: PackedSamples
) -> Float[Tensor, " samples"]:
    """The sum of the values of earlier samples on the same ray.

    In double precision: one running sum over all rays would lose the digits of thin samples. So it
    would behind what is as good as solid, or no number: those are ``SOLID``.
    """
    bounded = values.double().nan_to_num(nan=SOLID).clamp(max=SOLID)
    running = torch.nn.functional.pad(bounded.cumsum(0), (1, 0))
    first: Int[Tensor, " samples"] = samples.offsets[samples.ray_index.long()].long()
    return (running[:-1] - running[first]).to(values.dtype)
