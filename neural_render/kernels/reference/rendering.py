"""Rendering in one op: march, query, terminate early, composite; gradients with t held fixed."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.kernels.gradients import faded_near, pullback
from neural_render.kernels.records import (
    ColorTargets,
    Composited,
    FactoredGradient,
    FieldParameters,
    PackedSamples,
    RenderGradients,
    RenderInputs,
    RenderLoss,
    RenderOutput,
)
from neural_render.kernels.reference.compositing import (
    as_tuple,
    color_loss,
    composite,
    count_asked,
    distance_loss,
    transmittance_before,
)
from neural_render.kernels.reference.encoding import footprint_weights
from neural_render.kernels.reference.field import (
    PARTS,
    FieldParts,
    conditions_of,
    normal_vectors,
    query_density,
    query_features,
)
from neural_render.kernels.reference.marching import occupied_intervals, pack
from neural_render.kernels.specs import LossSpec, RenderSpec

# Samples asked for their density together: bounds the memory, changes nothing else.
CHUNK = 1 << 16
# What rays see of which samples, and how many were asked for their density.
SeenSamples = tuple[Composited, PackedSamples, Int[Tensor, ""]]


def render_rays(
    inputs: RenderInputs,
    parameters: FieldParameters,
    spec: RenderSpec,
    keep: bool,
    parts: FieldParts = PARTS,
) -> tuple[RenderOutput, PackedSamples | None]:
    """See ``ops.render_rays``; keeps the surviving samples for the backward pass if ``keep``.

    All samples in occupied space are asked for their density, also those that do not survive.
    """
    spec = replace(spec, min_weight=0.0) if keep else spec
    seen, survivors, num_marched = _seen_samples(inputs, parameters, spec, parts)
    num_asked = (
        count_asked(seen.weights, survivors, len(inputs.rays), spec.min_weight)
        if spec.min_weight > 0.0
        else survivors.count
    )
    return output_of(seen, num_marched, num_asked), survivors if keep else None


def _seen_samples(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, parts: FieldParts
) -> SeenSamples:
    """What rays see, of which samples, and how many were asked for their density."""
    survivors, num_marched = surviving_samples(inputs, parameters, spec, parts)
    points, footprint = sample_points(inputs, survivors)
    seen = _shade(
        (
            parts.hash_encode(points, parameters.table, spec.field.grid, footprint),
            inputs.rays.directions,
            inputs.background,
            inputs.conditions,
            parameters.density_weights,
            parameters.color_weights,
        ),
        survivors,
        spec,
        parts,
    )
    return seen, survivors, survivors.count.new_tensor(num_marched)


def output_of(seen: Composited, num_marched: Tensor, num_asked: Tensor) -> RenderOutput:
    """What rays see, and what it cost."""
    return RenderOutput(
        values=seen.values,
        opacity=seen.opacity,
        distance=seen.distance,
        distortion=seen.distortion,
        num_marched=num_marched,
        num_survived=num_asked,
    )


def render_rays_backward(
    to_output: RenderOutput,
    inputs: RenderInputs,
    parameters: FieldParameters,
    spec: RenderSpec,
    saved: PackedSamples | None,
    rays_too: bool,
    parts: FieldParts = PARTS,
) -> RenderGradients:
    """Gradients to all inputs and parameters, the table's factored, the rays' only if wanted."""
    survivors = saved if saved else surviving_samples(inputs, parameters, spec, parts)[0]
    return _gradients((inputs, parameters, spec), survivors, to_output, rays_too, parts)


def _gradients(
    problem: tuple[RenderInputs, FieldParameters, RenderSpec],
    survivors: PackedSamples,
    to_output: RenderOutput,
    rays_too: bool,
    parts: FieldParts,
    near_fade: float = 0.0,
) -> RenderGradients:
    """As ``render_rays_backward`` gives them; ``near_fade``: see ``LossSpec``."""
    (inputs, parameters, spec), ray = problem, survivors.ray_index
    points, footprint = sample_points(inputs, survivors)
    grid, rays = spec.field.grid, inputs.rays
    exact = replace(spec, min_weight=0.0)

    def features_at(points: Tensor) -> Tensor:
        return parts.hash_encode(points, parameters.table, grid, footprint)

    to_features, *gradients = pullback(
        lambda *tensors: as_tuple(_shade(tensors, survivors, exact, parts, near_fade))[:4],
        (
            features_at(points),
            rays.directions,
            inputs.background,
            inputs.conditions,
            parameters.density_weights,
            parameters.color_weights,
        ),
        (to_output.values, to_output.opacity, to_output.distance, to_output.distortion),
    )
    to_directions, to_background, to_conditions, to_density_weights, to_color_weights = gradients
    to_origins = torch.zeros_like(rays.origins)
    if rays_too:
        (to_points,) = pullback(features_at, (points,), (to_features,))
        to_origins = to_origins.index_add(0, ray, to_points)
        to_directions = to_directions.index_add(0, ray, to_points * midpoints(survivors)[:, None])
    else:
        to_directions = torch.zeros_like(to_directions)
    return RenderGradients(
        origins=to_origins,
        directions=to_directions,
        background=to_background,
        conditions=to_conditions,
        table=FactoredGradient(
            points=points, features=(to_features * footprint_weights(footprint, grid)).T
        ),
        density_weights=to_density_weights,
        color_weights=to_color_weights,
    )


@torch.no_grad()
def render_loss(
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    rays_too: bool,
    parts: FieldParts = PARTS,
) -> tuple[RenderLoss, RenderGradients]:
    """See ``ops.render_loss``; also all gradients, to rays only if ``rays_too``."""
    problem = inputs, parameters, specs[0]
    exact = replace(specs[0], min_weight=0.0)
    found = _seen_samples(inputs, parameters, exact, parts)

    def back(to_output: RenderOutput) -> RenderGradients:
        return _gradients(problem, found[1], to_output, rays_too, parts, specs[1].near_fade)

    return loss_through((found, back), inputs, targets, parameters, specs, rays_too, parts)


def loss_through(
    passes: tuple[SeenSamples, Callable[[RenderOutput], RenderGradients]],
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    rays_too: bool,
    parts: FieldParts,
) -> tuple[RenderLoss, RenderGradients]:
    """``render_loss``, given what a backend's rays see and how it goes back from there."""
    ((seen, samples, num_marched), back), (spec, loss) = passes, specs
    value, squared, to_values, to_gain = color_loss(seen.values, targets, loss)
    zeros = torch.zeros_like(seen.opacity)
    to_distance = zeros
    if loss.distance_weight:
        weight = value.new_full((), loss.distance_weight)
        value = value + weight * distance_loss(seen.distance, seen.opacity, targets)
        (to_distance,) = pullback(
            lambda distance: distance_loss(distance, seen.opacity, targets),
            (seen.distance,),
            (weight,),
        )
    to_output = RenderOutput(
        values=to_values,
        opacity=zeros,
        distance=to_distance,
        distortion=zeros + loss.distortion_weight / max(1, len(zeros)),
        num_marched=num_marched,
        num_survived=samples.count,
    )
    gradients = back(to_output)
    if loss.normal_weight and spec.field.reflection_degree:
        samples_seen = samples, seen.weights
        given = inputs, targets, parameters, specs
        apart, more = _normal_loss(*given, samples_seen, rays_too, parts)
        value = value + apart
        gradients = _sum_of(gradients, more)
    distortion = loss.distortion_weight * seen.distortion.sum() / max(1, len(zeros))
    found = RenderLoss(
        loss=value + distortion,
        squared=squared,
        num_marched=num_marched,
        num_survived=samples.count,
    )
    return found, replace(gradients, gain=to_gain)


def _normal_loss(
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    seen: tuple[PackedSamples, Float[Tensor, " capacity"]],
    rays_too: bool,
    parts: FieldParts,
) -> tuple[Float[Tensor, ""], RenderGradients]:
    """How far the samples' normals are from those of first surfaces (see ``LossSpec``), times its
    weight; and the gradients. What is ``seen`` of each sample, its weight, is taken as given."""
    (spec, loss), (survivors, share) = specs, seen
    ray, field, grid = survivors.ray_index, spec.field, spec.field.grid
    points, footprint = sample_points(inputs, survivors)
    weights = parameters.density_weights
    known = (targets.normals != 0).any(1)
    of_rays = targets.weights * targets.opacity * known * loss.normal_weight / len(inputs.rays)
    share = share * of_rays[ray]

    def features_at(points: Tensor) -> Tensor:
        return parts.hash_encode(points, parameters.table, grid, footprint)

    def apart(features: Tensor, weights: Tensor) -> Tensor:
        vectors = normal_vectors(parts.mlp(features, weights, field.density_network))
        return (share * (vectors - targets.normals[ray]).square().sum(1)).sum()

    features = features_at(points)
    to_features, to_weights = pullback(apart, (features, weights), (share.new_ones(()),))
    to_origins = to_directions = torch.zeros_like(inputs.rays.origins)
    if rays_too:
        (to_points,) = pullback(features_at, (points,), (to_features,))
        to_origins = to_origins.index_add(0, ray, to_points)
        to_directions = to_directions.index_add(0, ray, to_points * midpoints(survivors)[:, None])
    return apart(features, weights), RenderGradients(
        origins=to_origins,
        directions=to_directions,
        background=torch.zeros_like(inputs.background),
        conditions=torch.zeros_like(inputs.conditions),
        table=FactoredGradient(
            points=points, features=(to_features * footprint_weights(footprint, grid)).T
        ),
        density_weights=to_weights,
        color_weights=torch.zeros_like(parameters.color_weights),
    )


def _sum_of(one: RenderGradients, other: RenderGradients) -> RenderGradients:
    """Both gradients, at the same samples."""
    features = one.table.features + other.table.features
    return replace(
        one,
        origins=one.origins + other.origins,
        directions=one.directions + other.directions,
        table=FactoredGradient(points=one.table.points, features=features),
        density_weights=one.density_weights + other.density_weights,
    )


def surviving_samples(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, parts: FieldParts = PARTS
) -> tuple[PackedSamples, int]:
    """The samples before which enough light is left, and how many were asked for their density."""
    num_rays = len(inputs.rays)
    t_near, t_far, ray = occupied_intervals(
        inputs.rays, inputs.jitter, inputs.occupancy, spec.march
    )
    num_marched = ray.shape[0]
    marched = pack(t_near, t_far, ray, num_rays, num_marched)
    points, footprint = sample_points(inputs, marched)
    density = torch.cat(
        [
            query_density(
                points[start : start + CHUNK],
                parameters.table,
                parameters.density_weights,
                spec.field,
                footprint[start : start + CHUNK],
                parts,
            )
            for start in range(0, max(1, num_marched), CHUNK)
        ]
    )
    light = transmittance_before(density, marched, num_rays)
    lit = light >= spec.march.min_transmittance
    num_survived = int(lit.sum())
    return pack(t_near[lit], t_far[lit], ray[lit], num_rays, num_survived), num_marched


def sample_points(
    inputs: RenderInputs, samples: PackedSamples
) -> tuple[Float[Tensor, "samples 3"], Float[Tensor, " samples"]]:
    """Midpoints of the samples' intervals and the pixels' footprints there."""
    rays, distance = inputs.rays[samples.ray_index], midpoints(samples)
    points = rays.origins + rays.directions * distance[:, None]
    return points.detach(), (rays.footprint * distance).detach()


def midpoints(samples: PackedSamples) -> Float[Tensor, " samples"]:
    """The distances of the middles of all intervals."""
    return 0.5 * (samples.t_near + samples.t_far)


def stopped_density(
    density: Float[Tensor, " samples"], survivors: PackedSamples, min_transmittance: float
) -> Float[Tensor, " samples"]:
    """The density, infinite where a sample leaves less light than ``min_transmittance``."""
    num_rays = survivors.offsets.shape[0] - 1
    light = transmittance_before(density, survivors, num_rays)
    light = light * torch.exp(-density * (survivors.t_far - survivors.t_near))
    return density.where(light >= min_transmittance, torch.inf)


def _shade(
    tensors: tuple[Tensor, ...],
    survivors: PackedSamples,
    spec: RenderSpec,
    parts: FieldParts,
    near_fade: float = 0.0,
) -> Composited:
    """What the rays see, given features, directions, background, conditions and both networks."""
    features, directions, background, conditions, density_weights, color_weights = tensors
    ray = survivors.ray_index
    density, radiance = query_features(
        features,
        directions.index_select(0, ray.long()),
        conditions_of(conditions, ray),
        density_weights,
        color_weights,
        spec.field,
        parts,
    )
    density, radiance = faded_near(density, radiance, midpoints(survivors), near_fade)
    if spec.min_weight > 0.0:
        density = stopped_density(density, survivors, spec.march.min_transmittance)
    return composite(density, radiance, survivors, background, spec.min_weight)
