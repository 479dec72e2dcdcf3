"""The fused field on the GPU."""

from functools import lru_cache
from math import exp, factorial, pi, sqrt

import torch
import triton.language as tl
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels.cuda.device import block, launch, precision, ready, tiles, turns
from neural_render.kernels.cuda.encoding import (
    all_of,
    all_places,
    encode,
    grid_of,
    no_places,
    padded,
    scatter_table_gradient,
)
from neural_render.kernels.cuda.networks import (
    BLOCK,
    gradient_factor,
    network_of,
    new_trace,
    weight_gradient,
)
from neural_render.kernels.cuda.programs.fields import (
    Asked,
    Features,
    Field,
    FieldBackward,
    Model,
    Samples,
    density_program,
    field_backward_program,
    field_program,
    place_program,
)
from neural_render.kernels.cuda.programs.grids import Places
from neural_render.kernels.records import (
    FactoredGradient,
    FieldGradients,
    FieldInputs,
    FieldParameters,
    PackedSamples,
    RenderInputs,
)
from neural_render.kernels.specs import MAX_SH_DEGREE, FieldSpec

PLACED = 256  # samples of a tile that holds nothing but where they lie
LARGEST_SLOPE = exp(15.0)  # of an exponential (see ``FieldSpec``)


@lru_cache(maxsize=4)
def _norms(device: torch.device) -> Tensor:
    """The factors of all spherical harmonics before their polynomials."""
    values = [0.0] * MAX_SH_DEGREE**2
    for n in range(MAX_SH_DEGREE):
        for m in range(n + 1):
            ratio = factorial(n - m) / factorial(n + m)
            norm = sqrt((2 * n + 1) / (4 * pi) * ratio * (2 if m else 1))
            values[n * n + n - m] = values[n * n + n + m] = norm
    return torch.tensor(values, dtype=torch.float32).to(device)


def field_of(spec: FieldSpec, device: torch.device) -> Field:
    """What a field is beside its grid and networks, as kernels take it."""
    spec.check_degrees()
    rest = spec.color_network.inputs - spec.latent
    return Field(
        spec.density_bias,
        _norms(device),
        tl.constexpr(spec.latent),
        tl.constexpr(rest),
        padded(rest),
        tl.constexpr(spec.sh_degree),
        tl.constexpr(spec.reflection_degree),
        tl.constexpr(spec.num_conditions),
        tl.constexpr(spec.radiance == "exp"),
    )


def samples_of(inputs: FieldInputs, spec: FieldSpec) -> Samples:
    """Where the field is asked, as kernels take it."""
    count, place = len(inputs.points), (inputs.points, inputs.footprint)
    directions = ready(inputs.directions, "directions", count, 3)
    return _samples(place, inputs.ray_index, directions, inputs.conditions, spec, of_rays=False)


def samples_on_rays(
    place: tuple[Tensor, Tensor], ray_index: Tensor, inputs: RenderInputs, spec: FieldSpec
) -> Samples:
    """The same for samples of rays; ``place``: their points and footprints."""
    directions = ready(inputs.rays.directions, "directions", -1, 3)
    return _samples(place, ray_index, directions, inputs.conditions, spec, of_rays=True)


def _samples(
    place: tuple[Tensor, Tensor],
    ray_index: Tensor,
    directions: Tensor,
    conditions: Tensor,
    spec: FieldSpec,
    of_rays: bool,
) -> Samples:
    count = len(place[0])
    if ray_index.shape != (count,):
        shape = tuple(ray_index.shape)
        raise KernelError(f"ray_index has shape {shape}, but {(count,)} was wanted.")
    return Samples(
        ready(place[0], "points", count, 3),
        ready(place[1], "footprint", count),
        directions,
        ready(conditions, "conditions", -1, spec.num_conditions),
        ray_index.detach().to(torch.int64).contiguous(),
        tl.constexpr(of_rays),
    )


def query_density(
    points: Tensor, table: Tensor, weights: Tensor, spec: FieldSpec, footprint: Tensor
) -> Tensor:
    """See ``ops.query_density``."""
    parameters, samples = _density_alone(table, weights), all_places(points, footprint)
    features = features_at(samples, parameters, spec)
    out = points.new_empty(len(points))
    find_densities(features, all_of(points), parameters, spec, out)
    return out


def features_at(samples: Places, parameters: FieldParameters, spec: FieldSpec) -> Features:
    """The grid's features of all samples, in the numbers that networks compute with."""
    features = new_features(len(samples.points), parameters, spec)
    encode(samples, parameters.table, spec.grid, all_of(samples.points), features.stored)
    return features


def new_features(room: int, parameters: FieldParameters, spec: FieldSpec) -> Features:
    """Room for the features of so many samples."""
    shape, like = (spec.grid.num_outputs, room), parameters.table
    values = torch.empty(shape, dtype=getattr(torch, precision()), device=like.device)
    return Features(values, no_places(like), tl.constexpr(False))


def some_of(features: Features, index: Tensor) -> Features:
    """Those of the samples at such places."""
    return Features(features.stored, index, tl.constexpr(True))


def places_on_rays(marched: PackedSamples, inputs: RenderInputs) -> tuple[Tensor, Tensor]:
    """Where the samples of rays lie, and how wide their pixels are there."""
    rays, room = inputs.rays, len(marched.t_near)
    size, points = block(PLACED, room), marched.t_near.new_zeros(room, 3)
    footprint = torch.empty_like(marched.t_near)
    given = (
        (marched.t_near, marched.t_far, marched.ray_index),
        (
            ready(rays.origins, "origins", len(rays), 3),
            ready(rays.directions, "directions", len(rays), 3),
            ready(rays.footprint, "footprint", len(rays)),
        ),
        marched.count,
    )
    launch(place_program, (tiles(room, size),), *given, points, footprint, BLOCK=size)
    return points, footprint


def find_densities(
    features: Features,
    count: Tensor,
    parameters: FieldParameters,
    spec: FieldSpec,
    density: Tensor,
) -> None:
    """Stores the densities of the first ``count`` samples with such features at their places."""
    most = len(features.place) if features.listed.value else features.stored.shape[1]
    size, model = block(BLOCK, most), _density_model(parameters, spec)
    given = (features, features.stored.shape[1], count, model, density)
    grid = (turns(most, size, density.device, 8),)
    launch(density_program, grid, *given, BLOCK=size)


def _density_alone(table: Tensor, weights: Tensor) -> FieldParameters:
    """Parameters without a colour network."""
    return FieldParameters(table=table, density_weights=weights, color_weights=weights[:0])


def query_density_backward(
    gradient: Tensor,
    points: Tensor,
    table: Tensor,
    weights: Tensor,
    spec: FieldSpec,
    footprint: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to points, table and density weights."""
    parameters, place = _density_alone(table, weights), all_places(points, footprint)
    features = features_at(place, parameters, spec)
    density = points.new_empty(len(points))
    find_densities(features, all_of(points), parameters, spec, density)
    # Of no direction and no condition: what is not looked at is the points' address.
    nothing = place.points, place.points, place.place, tl.constexpr(False)
    samples = Samples(place.points, place.footprint, *nothing)
    found = _backward(
        Asked(samples, features), parameters, spec, (gradient,), (density,), inputs_too=True
    )
    to_points, _, _, factored, to_weights, _ = found
    return to_points, scatter_table_gradient(factored, table, spec.grid), to_weights


def query_field(
    inputs: FieldInputs, parameters: FieldParameters, spec: FieldSpec
) -> tuple[Tensor, Tensor]:
    """See ``ops.query_field``."""
    return query_samples(_asked(inputs, parameters, spec), parameters, spec)


def _asked(inputs: FieldInputs, parameters: FieldParameters, spec: FieldSpec) -> Asked:
    """Where a field is asked, with the features there."""
    samples = samples_of(inputs, spec)
    return Asked(samples, features_at(all_places(*samples[:2]), parameters, spec))


def query_samples(
    asked: Asked,
    parameters: FieldParameters,
    spec: FieldSpec,
    count: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Density and radiance ``[samples channels]``; of the first ``count``, where that is given,
    and zero of the others."""
    samples, like = asked.samples, parameters.table
    room, stride = len(samples.points), asked.features.stored.shape[1]
    size, density = block(BLOCK, room), like.new_zeros(room)
    radiance = like.new_zeros(room, spec.num_channels)
    count = all_of(samples.points) if count is None else count
    given = (asked, stride, count, _model(parameters, spec))
    launch(field_program, (tiles(room, size),), *given, (density, radiance), BLOCK=size)
    return density, radiance


def _density_model(parameters: FieldParameters, spec: FieldSpec) -> Model:
    """A field that is asked for its density alone: nobody looks at its colour network."""
    density = network_of(parameters.density_weights, spec.density_network, "density_weights")
    field = field_of(spec, parameters.table.device)
    return Model(grid_of(parameters.table, spec.grid), density, density, field)


def _model(parameters: FieldParameters, spec: FieldSpec) -> Model:
    """The field as kernels take it."""
    color = network_of(parameters.color_weights, spec.color_network, "color_weights")
    return _density_model(parameters, spec)._replace(color=color)


def query_field_backward(
    grad_density: Tensor,
    grad_radiance: Tensor,
    inputs: FieldInputs,
    parameters: FieldParameters,
    spec: FieldSpec,
) -> FieldGradients:
    """Gradients to points, directions, conditions and all parameters."""
    asked = _asked(inputs, parameters, spec)
    outputs = query_samples(asked, parameters, spec)
    to_points, to_directions, of_samples, factored, to_density, to_color = query_samples_backward(
        asked, parameters, spec, (grad_density, grad_radiance), outputs, inputs_too=True
    )
    to_conditions = torch.zeros_like(asked.samples.conditions)
    if spec.num_conditions:
        to_conditions.index_add_(0, asked.samples.index, of_samples)
    return FieldGradients(
        points=to_points,
        directions=to_directions,
        conditions=to_conditions,
        parameters=FieldParameters(
            table=scatter_table_gradient(factored, parameters.table, spec.grid),
            density_weights=to_density,
            color_weights=to_color,
        ),
    )


def query_samples_backward(
    asked: Asked,
    parameters: FieldParameters,
    spec: FieldSpec,
    given: tuple[Tensor, Tensor],
    outputs: tuple[Tensor, Tensor],
    inputs_too: bool,
    count: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, FactoredGradient, Tensor, Tensor]:
    """Gradients to points, directions and conditions of each sample, table and both networks, given
    those to the ``outputs`` that ``query_samples`` found.

    Where ``count`` is given, samples behind so many have no gradient.
    """
    return _backward(asked, parameters, spec, given, outputs, inputs_too, count)


def _backward(
    asked: Asked,
    parameters: FieldParameters,
    spec: FieldSpec,
    given: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    inputs_too: bool,
    count: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, FactoredGradient, Tensor, Tensor]:
    """The same, of the density alone where nothing is given to the radiance."""
    samples, has_color = asked.samples, len(given) > 1
    room, size = len(samples.points), block(BLOCK, len(samples.points))
    given = tuple(gradient.detach().contiguous() for gradient in given)
    model = _model(parameters, spec) if has_color else _density_model(parameters, spec)
    new, density, color = parameters.table.new_empty, spec.density_network, spec.color_network
    of_density = new_trace(room, density, parameters.table)
    of_color = new_trace(room if has_color else 0, color, parameters.table)
    to_networks = _to_networks(given, outputs, spec)
    # What flows from the colour network into the other is no more than what flows into it.
    factors = torch.stack([gradient_factor(*to_networks), gradient_factor(to_networks[-1])])
    rows = room if inputs_too else 0
    gradients = FieldBackward(
        given[0],
        given[-1],
        factors,
        features=parameters.table.new_zeros(spec.grid.num_outputs, room),
        points=new(rows, 3),
        directions=new(rows, 3),
        conditions=new(rows, spec.num_conditions),
        of_density=of_density,
        of_color=of_color,
        has_color=tl.constexpr(has_color),
        inputs_too=tl.constexpr(inputs_too),
    )
    count = all_of(samples.points) if count is None else count
    parts = (asked, asked.features.stored.shape[1], count, model, gradients, room)
    launch(field_backward_program, (tiles(room, size),), *parts, BLOCK=size)
    factored = FactoredGradient(points=samples.points, features=gradients.features)
    to_density = weight_gradient(of_density, count, density) / factors[0]
    to_color = parameters.color_weights.new_zeros(0)
    if has_color:
        to_color = weight_gradient(of_color, count, color) / factors[1]
    of_samples = gradients.points, gradients.directions, gradients.conditions
    return *of_samples, factored, to_density, to_color


def _to_networks(
    given: tuple[Tensor, ...], outputs: tuple[Tensor, ...], spec: FieldSpec
) -> list[Tensor]:
    """About what flows into the networks, given what flows into their activations."""
    found = [given[0] * outputs[0].clamp(max=LARGEST_SLOPE)]
    if len(given) > 1:
        radiance = outputs[1]
        is_exponential = spec.radiance == "exp"
        slope = radiance.clamp(max=LARGEST_SLOPE) if is_exponential else radiance * (1 - radiance)
        found.append(given[1] * slope)
    return found
