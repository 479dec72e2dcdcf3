"""The fused radiance field: hash grid, density network, spherical harmonics, colour network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.kernels.gradients import pullback
from neural_render.kernels.records import FieldGradients, FieldInputs, FieldParameters
from neural_render.kernels.reference.encoding import hash_encode
from neural_render.kernels.reference.networks import ClampedExp, mlp, spherical_harmonics
from neural_render.kernels.specs import FieldSpec, HashGridSpec, MlpSpec

SMOOTH_NORMAL = 1e-4  # added to squared lengths


@dataclass(frozen=True, kw_only=True)
class FieldParts:
    """The costly parts of a field, differentiable by autograd.

    Another backend may bring its own: what joins them is then written once.
    """

    hash_encode: Callable[[Tensor, Tensor, HashGridSpec, Tensor], Tensor]
    mlp: Callable[[Tensor, Tensor, MlpSpec], Tensor]


PARTS = FieldParts(hash_encode=hash_encode, mlp=mlp)


def query_density(
    points: Float[Tensor, "samples 3"],
    table: Float[Tensor, "rows features"],
    weights: Float[Tensor, " density_weights"],
    spec: FieldSpec,
    footprint: Float[Tensor, " samples"],
    parts: FieldParts = PARTS,
) -> Float[Tensor, " samples"]:
    """See ``ops.query_density``."""
    features = parts.hash_encode(points, table, spec.grid, footprint)
    return _density(parts.mlp(features, weights, spec.density_network), spec)


def query_density_backward(
    gradient: Float[Tensor, " samples"],
    points: Float[Tensor, "samples 3"],
    table: Float[Tensor, "rows features"],
    weights: Float[Tensor, " density_weights"],
    spec: FieldSpec,
    footprint: Float[Tensor, " samples"],
    parts: FieldParts = PARTS,
) -> tuple[
    Float[Tensor, "samples 3"],
    Float[Tensor, "rows features"],
    Float[Tensor, " density_weights"],
]:
    """Gradients to points, table and density weights."""

    def forward(points: Tensor, table: Tensor, weights: Tensor) -> Tensor:
        return query_density(points, table, weights, spec, footprint, parts)

    to_points, to_table, to_weights = pullback(forward, (points, table, weights), (gradient,))
    return to_points, to_table, to_weights


def query_field(
    inputs: FieldInputs, parameters: FieldParameters, spec: FieldSpec, parts: FieldParts = PARTS
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
    """See ``ops.query_field``."""
    return query_features(
        parts.hash_encode(inputs.points, parameters.table, spec.grid, inputs.footprint),
        inputs.directions,
        conditions_of(inputs.conditions, inputs.ray_index),
        parameters.density_weights,
        parameters.color_weights,
        spec,
        parts,
    )


def query_field_backward(
    grad_density: Float[Tensor, " samples"],
    grad_radiance: Float[Tensor, "samples channels"],
    inputs: FieldInputs,
    parameters: FieldParameters,
    spec: FieldSpec,
    parts: FieldParts = PARTS,
) -> FieldGradients:
    """Gradients to points, directions, conditions and all parameters."""

    def forward(*tensors: Tensor) -> tuple[Tensor, ...]:
        points, directions, conditions, table, density_weights, color_weights = tensors
        features = parts.hash_encode(points, table, spec.grid, inputs.footprint)
        rows = conditions_of(conditions, inputs.ray_index)
        weights = density_weights, color_weights
        return query_features(features, directions, rows, *weights, spec, parts)

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
    parts: FieldParts = PARTS,
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
    """Density and radiance, given the grid's features; ``conditions`` per sample."""
    latent = parts.mlp(features, density_weights, spec.density_network)
    harmonics = spherical_harmonics(directions, spec.sh_degree)
    reflected = reflected_inputs(latent, directions, spec.reflection_degree)
    color_inputs = torch.cat([latent, reflected, harmonics, conditions], dim=1)
    raw = parts.mlp(color_inputs, color_weights, spec.color_network)
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
