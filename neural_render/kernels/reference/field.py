"""The fused radiance field: hash grid, density network, spherical harmonics, colour network."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.kernels.gradients import pullback
from neural_render.kernels.records import FieldGradients, FieldInputs, FieldParameters
from neural_render.kernels.reference.encoding import hash_encode
from neural_render.kernels.reference.networks import ClampedExp, mlp, spherical_harmonics
from neural_render.kernels.specs import FieldSpec

SMOOTH_NORMAL = 1e-4  # added to squared lengths


def query_density(
    points: Float[Tensor, "samples 3"],
    table: Float[Tensor, "rows features"],
    weights: Float[Tensor, " density_weights"],
    spec: FieldSpec,
    footprint: Float[Tensor, " samples"],
) -> Float[Tensor, " samples"]:
    """See ``ops.query_density``."""
    features = hash_encode(points, table, spec.grid, footprint)
    return _density(mlp(features, weights, spec.density_network), spec)


def query_density_backward(
    gradient: Float[Tensor, " samples"],
    points: Float[Tensor, "samples 3"],
    table: Float[Tensor, "rows features"],
    weights: Float[Tensor, " density_weights"],
    spec: FieldSpec,
    footprint: Float[Tensor, " samples"],
) -> tuple[
    Float[Tensor, "samples 3"],
    Float[Tensor, "rows features"],
    Float[Tensor, " density_weights"],
]:
    """Gradients to points, table and density weights."""
    to_points, to_table, to_weights = pullback(
        lambda points, table, weights: query_density(points, table, weights, spec, footprint),
        (points, table, weights),
        (gradient,),
    )
    return to_points, to_table, to_weights


def query_field(
    inputs: FieldInputs, parameters: FieldParameters, spec: FieldSpec
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
    """See ``ops.query_field``."""
    return query_features(
        hash_encode(inputs.points, parameters.table, spec.grid, inputs.footprint),
        inputs.directions,
        conditions_of(inputs.conditions, inputs.ray_index),
        parameters.density_weights,
        parameters.color_weights,
        spec,
    )


def query_field_backward(
    grad_density: Float[Tensor, " samples"],
    grad_radiance: Float[Tensor, "samples channels"],
    inputs: FieldInputs,
    parameters: FieldParameters,
    spec: FieldSpec,
) -> FieldGradients:
    """Gradients to points, directions, conditions and all parameters."""

    def forward(*tensors: Tensor) -> tuple[Tensor, ...]:
        points, directions, conditions, table, density_weights, color_weights = tensors
        features = hash_encode(points, table, spec.grid, inputs.footprint)
        rows = conditions_of(conditions, inputs.ray_index)
        return query_features(features, directions, rows, density_weights, color_weights, spec)

    gradients = pullback(
        forward,
        (
            inputs.points,
            inputs.directions,
            inputs.conditions,
            parameters.table,
            parameters.density_weights,
            parameters.color_weights,
        ),
        (grad_density, grad_radiance),
    )
    return FieldGradients(
        points=gradients[0],
        directions=gradients[1],
        conditions=gradients[2],
        parameters=FieldParameters(
            table=gradients[3], density_weights=gradients[4], color_weights=gradients[5]
        ),
    )


def query_features(
    features: Float[Tensor, "samples level_features"],
    directions: Float[Tensor, "samples 3"],
    conditions: Float[Tensor, "samples conditions"],
    density_weights: Float[Tensor, " density_weights"],
    color_weights: Float[Tensor, " color_weights"],
    spec: FieldSpec,
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
    """Density and radiance, given the grid's features; ``conditions`` per sample."""
    latent = mlp(features, density_weights, spec.density_network)
    harmonics = spherical_harmonics(directions, spec.sh_degree)
    reflected = reflected_inputs(latent, directions, spec.reflection_degree)
    color_inputs = torch.cat([latent, reflected, harmonics, conditions], dim=1)
    raw = mlp(color_inputs, color_weights, spec.color_network)
    radiance = raw.sigmoid() if spec.radiance == "sigmoid" else ClampedExp.apply(raw)
    return _density(latent, spec), radiance


def reflected_inputs(
    latent: Float[Tensor, "samples latent"], directions: Float[Tensor, "samples 3"], degree: int
) -> Float[Tensor, "samples reflected"]:
    """Harmonics of the directions reflected about the latents' normals, and the cosines.

    The normals are taken as given: no gradient reaches the latents from here.
    """
    if degree == 0:
        return latent[:, :0]
    vectors = normal_vectors(latent).detach()
    normals = vectors / (vectors.square().sum(1, keepdim=True) + SMOOTH_NORMAL).sqrt()
    cosines = (directions * normals).sum(1, keepdim=True)
    mirrored = directions - 2 * cosines * normals
    return torch.cat([spherical_harmonics(mirrored, degree), cosines], dim=1)


def normal_vectors(latent: Float[Tensor, "samples latent"]) -> Float[Tensor, "samples 3"]:
    """What the latents' normals are made of."""
    return latent[:, 1:4]


def conditions_of(
    conditions: Float[Tensor, "rays conditions"], ray_index: Int[Tensor, " samples"]
) -> Float[Tensor, "samples conditions"]:
    """Each sample's conditions; where there are none, no rows are asked for either."""
    if conditions.shape[1] == 0:
        return conditions.new_zeros(ray_index.shape[0], 0)
    return conditions.index_select(0, ray_index.long())


def _density(latent: Tensor, spec: FieldSpec) -> Tensor:
    return ClampedExp.apply(latent[:, 0] + spec.density_bias)
