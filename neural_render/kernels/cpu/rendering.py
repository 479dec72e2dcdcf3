"""The ops along rays: marching, compositing and the fused renderer."""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.native import (
    addresses,
    march_numbers,
    native_field,
    occupancy_bits,
    packed_tensors,
    parameter_sizes,
    parameter_tensors,
    ray_tensors,
    ready,
    render_tensors,
)
from neural_render.kernels.records import (
    Composited,
    FactoredGradient,
    FieldParameters,
    PackedSamples,
    RenderGradients,
    RenderInputs,
    RenderOutput,
)
from neural_render.kernels.specs import (
    MarchSpec,
    RenderSpec,
)


def march_rays(
    rays: Rays,
    jitter: Float[Tensor, " rays"],
    occupancy: UInt8[Tensor, "cascades bytes"],
    spec: MarchSpec,
    capacity: int,
) -> PackedSamples:
    """See ``ops.march_rays``."""
    given = ray_tensors(rays, jitter)
    bits = occupancy_bits(occupancy, spec.cascades)
    t_near, t_far = given[0].new_zeros(2, capacity).unbind()
    ray_index = torch.zeros(capacity, dtype=torch.int64)
    offsets = torch.zeros(len(rays) + 1, dtype=torch.int64)
    count, wanted = native().march_rays(
        march_numbers(spec),
        bits.data_ptr(),
        addresses(*given) + [0] * 6,
        len(rays),
        addresses(t_near, t_far, ray_index, offsets),
        capacity,
    )
    return PackedSamples(
        t_near=t_near,
        t_far=t_far,
        ray_index=ray_index,
        offsets=offsets,
        count=torch.tensor(count),
        num_wanted=torch.tensor(wanted),
    )


def composite(
    density: Tensor, radiance: Tensor, samples: PackedSamples, background: Tensor
) -> Composited:
    """See ``ops.composite``."""
    num_rays, channels = background.shape
    capacity = samples.t_near.shape[0]
    density = ready(density, "density", capacity)
    radiance = ready(radiance, "radiance", capacity, channels)
    background = ready(background, "background", num_rays, channels)
    packed = packed_tensors(samples, num_rays)
    values = torch.empty_like(background)
    opacity, distance, distortion = background.new_empty(3, num_rays).unbind()
    weights = density.new_zeros(capacity)
    problem = (
        [0] * 4 + addresses(background) + [0] + addresses(values, opacity, distance, distortion)
    )
    native().composite(
        *addresses(density, radiance),
        channels,
        addresses(*packed),
        problem,
        num_rays,
        weights.data_ptr(),
    )
    return Composited(
        values=values, opacity=opacity, distance=distance, distortion=distortion, weights=weights
    )


def composite_backward(
    to_outputs: Composited,
    density: Tensor,
    radiance: Tensor,
    samples: PackedSamples,
    background: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to density, radiance and background."""
    num_rays, channels = background.shape
    capacity = samples.t_near.shape[0]
    density = ready(density, "density", capacity)
    radiance = ready(radiance, "radiance", capacity, channels)
    background = ready(background, "background", num_rays, channels)
    packed = packed_tensors(samples, num_rays)
    gradients = [
        ready(to_outputs.values, "gradient to values", num_rays, channels),
        ready(to_outputs.opacity, "gradient to opacity", num_rays),
        ready(to_outputs.distance, "gradient to distance", num_rays),
        ready(to_outputs.distortion, "gradient to distortion", num_rays),
        ready(to_outputs.weights, "gradient to weights", capacity),
    ]
    out = [torch.zeros_like(tensor) for tensor in (density, radiance, background)]
    native().composite_backward(
        *addresses(density, radiance),
        channels,
        addresses(*packed),
        [0] * 4 + addresses(background) + [0] * 5,
        addresses(*gradients),
        num_rays,
        addresses(*out),
    )
    return out[0], out[1], out[2]


def render_rays(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, keep: bool
) -> tuple[RenderOutput, Any]:
    """See ``ops.render_rays``; ``num_marched`` counts what was marched before light ran out."""
    given, weights = render_tensors(inputs, spec), parameter_tensors(parameters, spec.field)
    bits = occupancy_bits(inputs.occupancy, spec.march.cascades)
    num_rays = len(inputs.rays)
    values = torch.empty_like(given[4])
    opacity, distance, distortion = values.new_empty(3, num_rays).unbind()
    state = native().RenderState()
    native().render_rays(
        native_field(spec.field),
        march_numbers(spec.march),
        spec.min_weight,
        addresses(*weights),
        bits.data_ptr(),
        addresses(*given, values, opacity, distance, distortion),
        num_rays,
        keep,
        state,
    )
    output = RenderOutput(
        values=values,
        opacity=opacity,
        distance=distance,
        distortion=distortion,
        num_marched=torch.tensor(state.marched),
        num_survived=torch.tensor(state.survived),
    )
    # What the state reads again: an address keeps nothing alive.
    return output, (state, weights[0]) if keep else None


def render_rays_backward(
    to_output: RenderOutput,
    inputs: RenderInputs,
    parameters: FieldParameters,
    spec: RenderSpec,
    saved: Any,
    rays_too: bool,
) -> RenderGradients:
    """Gradients to everything that ``render_rays`` takes; rays' are zero unless ``rays_too``."""
    state, _ = saved
    given = render_tensors(inputs, spec)
    num_rays, survived = len(inputs.rays), state.survived
    gradients = [
        ready(to_output.values, "gradient to values", num_rays, spec.field.num_channels),
        ready(to_output.opacity, "gradient to opacity", num_rays),
        ready(to_output.distance, "gradient to distance", num_rays),
        ready(to_output.distortion, "gradient to distortion", num_rays),
    ]
    points = given[0].new_empty(3, survived)
    features = given[0].new_empty(spec.field.grid.num_outputs, survived)
    out = [torch.zeros_like(tensor) for tensor in (given[0], given[1], given[4], given[5])]
    to_density, to_color = (given[0].new_empty(size) for size in parameter_sizes(spec.field)[1:])
    native().render_rays_backward(
        native_field(spec.field),
        march_numbers(spec.march),
        addresses(*given) + [0] * 4,
        addresses(*gradients),
        state,
        addresses(points, features, *out, to_density, to_color),
        rays_too,
    )
    return RenderGradients(
        origins=out[0],
        directions=out[1],
        background=out[2],
        conditions=out[3],
        table=FactoredGradient(points=points.T, features=features),
        density_weights=to_density,
        color_weights=to_color,
    )
