"""The fused field on the GPU."""

from functools import lru_cache
from math import factorial, pi, sqrt

import torch
import triton.language as tl
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels.cuda.device import block, launch, ready, tiles
from neural_render.kernels.cuda.encoding import BLOCK, grid_of, padded, scatter_table_gradient
from neural_render.kernels.cuda.networks import gradient_factor, network_of, shares
from neural_render.kernels.cuda.programs.fields import (
    Field,
    FieldBackward,
    Model,
    Samples,
    density_program,
    field_backward_program,
    field_program,
    wave_program,
)
from neural_render.kernels.records import (
    FactoredGradient,
    FieldGradients,
    FieldInputs,
    FieldParameters,
    PackedSamples,
    RenderInputs,
)
from neural_render.kernels.specs import MAX_SH_DEGREE, FieldSpec


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
    count, samples = len(points), _asked_for_density(points, footprint)
    size, out = block(BLOCK, count), points.new_empty(count)
    model = _density_model(_density_alone(table, weights), spec)
    launch(density_program, (tiles(count, size),), samples, count, model, out, BLOCK=size)
    return out


def find_densities(
    listed: tuple[Tensor, Tensor],
    marched: PackedSamples,
    inputs: RenderInputs,
    parameters: FieldParameters,
    spec: FieldSpec,
    density: Tensor,
) -> None:
    """Stores the densities of samples at their places: of those ``listed``, and so many of them."""
    size, rays = block(BLOCK, len(listed[0])), inputs.rays
    given = (
        *listed,
        (marched.t_near, marched.t_far, marched.ray_index),
        (
            ready(rays.origins, "origins", len(rays), 3),
            ready(rays.directions, "directions", len(rays), 3),
            ready(rays.footprint, "footprint", len(rays)),
        ),
        _density_model(parameters, spec),
        density,
    )
    launch(wave_program, (tiles(len(listed[0]), size),), *given, BLOCK=size)


def _density_alone(table: Tensor, weights: Tensor) -> FieldParameters:
    """Parameters without a colour network."""
    return FieldParameters(table=table, density_weights=weights, color_weights=weights[:0])


def _asked_for_density(points: Tensor, footprint: Tensor) -> Samples:
    """Samples of no direction and no condition: what is not looked at is the points' address."""
    points = ready(points, "points", -1, 3)
    footprint = ready(footprint, "footprint", len(points))
    nothing = torch.empty(0, dtype=torch.int64, device=points.device)
    return Samples(points, footprint, points, points, nothing, tl.constexpr(False))


def query_density_backward(
    gradient: Tensor,
    points: Tensor,
    table: Tensor,
    weights: Tensor,
    spec: FieldSpec,
    footprint: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to points, table and density weights."""
    samples = _asked_for_density(points, footprint)
    parameters = _density_alone(table, weights)
    found = _backward(samples, parameters, spec, (gradient, gradient), inputs_too=True)
    to_points, _, _, factored, to_weights, _ = found
    return to_points, scatter_table_gradient(factored, table, spec.grid), to_weights


def query_field(
    inputs: FieldInputs, parameters: FieldParameters, spec: FieldSpec
) -> tuple[Tensor, Tensor]:
    """See ``ops.query_field``."""
    return query_samples(samples_of(inputs, spec), parameters, spec)


def query_samples(
    samples: Samples, parameters: FieldParameters, spec: FieldSpec, count: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Density and radiance ``[samples channels]``; of the first ``count``, where that is given."""
    room, like = len(samples.points), parameters.table
    size, density = block(BLOCK, room), like.new_empty(room)
    radiance = like.new_empty(room, spec.num_channels)
    given = (samples, _count(samples, count), _model(parameters, spec), (density, radiance))
    launch(field_program, (tiles(room, size),), *given, BLOCK=size)
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
    samples = samples_of(inputs, spec)
    given = (grad_density, grad_radiance)
    to_points, to_directions, of_samples, factored, to_density, to_color = _backward(
        samples, parameters, spec, given, inputs_too=True
    )
    to_conditions = torch.zeros_like(samples.conditions)
    if spec.num_conditions:
        to_conditions.index_add_(0, samples.index, of_samples)
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
    samples: Samples,
    parameters: FieldParameters,
    spec: FieldSpec,
    given: tuple[Tensor, Tensor],
    inputs_too: bool,
    count: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, FactoredGradient, Tensor, Tensor]:
    """Gradients to points, directions and conditions of each sample, table and both networks.

    Where ``count`` is given, samples behind so many have no gradient.
    """
    return _backward(samples, parameters, spec, given, inputs_too, count)


def _backward(
    samples: Samples,
    parameters: FieldParameters,
    spec: FieldSpec,
    given: tuple[Tensor, Tensor],
    inputs_too: bool,
    count: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, FactoredGradient, Tensor, Tensor]:
    room, has_color = len(samples.points), given[0] is not given[1]
    size = block(BLOCK, room)
    given = given[0].detach().contiguous(), given[1].detach().contiguous()
    model = _model(parameters, spec) if has_color else _density_model(parameters, spec)
    programs, _ = shares(room, size)
    new = parameters.table.new_empty
    sums = [new(programs, n).zero_() for n in _weight_counts(parameters)]
    factor = gradient_factor(*given)
    rows = room if inputs_too else 0
    gradients = FieldBackward(
        *given,
        factor,
        features=parameters.table.new_zeros(spec.grid.num_outputs, room),
        points=new(rows, 3),
        directions=new(rows, 3),
        conditions=new(rows, spec.num_conditions),
        density_sums=sums[0],
        color_sums=sums[1],
        has_color=tl.constexpr(has_color),
        inputs_too=tl.constexpr(inputs_too),
    )
    parts = (samples, _count(samples, count), model, gradients, room)
    launch(field_backward_program, (programs,), *parts, BLOCK=size)
    factored = FactoredGradient(points=samples.points, features=gradients.features)
    to_density, to_color = (part.sum(0) / factor for part in sums)
    of_samples = gradients.points, gradients.directions, gradients.conditions
    return *of_samples, factored, to_density, to_color


def _count(samples: Samples, count: Tensor | None) -> Tensor:
    """How many samples there are, on the device: all of them where nothing else is given."""
    if count is not None:
        return count
    points = samples.points
    return torch.full((), len(points), dtype=torch.int64, device=points.device)


def _weight_counts(parameters: FieldParameters) -> tuple[int, int]:
    return len(parameters.density_weights), len(parameters.color_weights)
