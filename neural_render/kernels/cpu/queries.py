"""The ops that ask at given points: encoding, networks, field and density."""

import torch
from torch import Tensor

from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.native import (
    addresses,
    density_tensors,
    native_field,
    network_shape,
    parameter_tensors,
    query_tensors,
    ready,
)
from neural_render.kernels.cpu.tables import native_grid, table_entries
from neural_render.kernels.records import (
    FieldGradients,
    FieldInputs,
    FieldParameters,
)
from neural_render.kernels.specs import (
    FieldSpec,
    HashGridSpec,
    MlpSpec,
)


def hash_encode(points: Tensor, table: Tensor, spec: HashGridSpec, footprint: Tensor) -> Tensor:
    """See ``ops.hash_encode``."""
    samples = points.shape[0]
    points = ready(points, "points", -1, spec.dims)
    table = table_entries(table, spec)
    footprint = ready(footprint, "footprint", samples)
    out = points.new_empty(samples, spec.num_outputs)
    native().hash_encode(
        native_grid(spec), *addresses(points, table, footprint), samples, out.data_ptr()
    )
    return out


def hash_encode_backward(
    gradient: Tensor, points: Tensor, table: Tensor, spec: HashGridSpec, footprint: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients to points and, dense, to the table."""
    samples = points.shape[0]
    points = ready(points, "points", -1, spec.dims)
    entries = table_entries(table, spec)
    footprint = ready(footprint, "footprint", samples)
    gradient = ready(gradient, "gradient", samples, spec.num_outputs)
    to_points, to_table = torch.zeros_like(points), points.new_zeros(table.shape)
    native().hash_encode_backward(
        native_grid(spec),
        *addresses(points, entries, footprint, gradient),
        samples,
        *addresses(to_points, to_table),
    )
    return to_points, to_table


def mlp(inputs: Tensor, weights: Tensor, spec: MlpSpec) -> Tensor:
    """See ``ops.mlp``."""
    inputs = ready(inputs, "inputs", -1, spec.inputs)
    weights = ready(weights, "weights", spec.num_weights)
    out = inputs.new_empty(inputs.shape[0], spec.outputs)
    native().mlp(network_shape(spec), *addresses(weights, inputs), inputs.shape[0], out.data_ptr())
    return out


def mlp_backward(
    gradient: Tensor, inputs: Tensor, weights: Tensor, spec: MlpSpec
) -> tuple[Tensor, Tensor]:
    """Gradients to inputs and weights."""
    inputs = ready(inputs, "inputs", -1, spec.inputs)
    weights = ready(weights, "weights", spec.num_weights)
    gradient = ready(gradient, "gradient", inputs.shape[0], spec.outputs)
    to_inputs, to_weights = torch.empty_like(inputs), torch.empty_like(weights)
    native().mlp_backward(
        network_shape(spec),
        *addresses(weights, inputs, gradient),
        inputs.shape[0],
        *addresses(to_inputs, to_weights),
    )
    return to_inputs, to_weights


def query_field(
    inputs: FieldInputs, parameters: FieldParameters, spec: FieldSpec
) -> tuple[Tensor, Tensor]:
    """See ``ops.query_field``."""
    given, weights = query_tensors(inputs, spec), parameter_tensors(parameters, spec)
    samples = given[0].shape[0]
    density = given[0].new_empty(samples)
    radiance = given[0].new_empty(samples, spec.num_channels)
    native().query_field(
        native_field(spec),
        addresses(*weights),
        addresses(*given),
        samples,
        *addresses(density, radiance),
    )
    return density, radiance


def query_field_backward(
    to_density: Tensor,
    to_radiance: Tensor,
    inputs: FieldInputs,
    parameters: FieldParameters,
    spec: FieldSpec,
) -> FieldGradients:
    """Gradients to everything that ``query_field`` takes."""
    given, weights = query_tensors(inputs, spec), parameter_tensors(parameters, spec)
    samples = given[0].shape[0]
    to_density = ready(to_density, "gradient to density", samples)
    to_radiance = ready(to_radiance, "gradient to radiance", samples, spec.num_channels)
    to_table = given[0].new_zeros(parameters.table.shape)
    out = [torch.zeros_like(tensor) for tensor in (*given[:3], *weights[1:])]
    out.insert(3, to_table)
    native().query_field_backward(
        native_field(spec),
        addresses(*weights),
        addresses(*given),
        samples,
        *addresses(to_density, to_radiance),
        addresses(*out),
    )
    return FieldGradients(
        points=out[0],
        directions=out[1],
        conditions=out[2],
        parameters=FieldParameters(table=out[3], density_weights=out[4], color_weights=out[5]),
    )


def query_density(
    points: Tensor, table: Tensor, weights: Tensor, spec: FieldSpec, footprint: Tensor
) -> Tensor:
    """See ``ops.query_density``."""
    points = ready(points, "points", -1, 3)
    footprint = ready(footprint, "footprint", points.shape[0])
    parameters = density_tensors(table, weights, spec)
    density = points.new_empty(points.shape[0])
    native().query_density(
        native_field(spec),
        addresses(*parameters),
        *addresses(points, footprint),
        points.shape[0],
        density.data_ptr(),
    )
    return density


def query_density_backward(
    gradient: Tensor,
    points: Tensor,
    table: Tensor,
    weights: Tensor,
    spec: FieldSpec,
    footprint: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to points, table and density weights."""
    points = ready(points, "points", -1, 3)
    footprint = ready(footprint, "footprint", points.shape[0])
    gradient = ready(gradient, "gradient", points.shape[0])
    parameters = density_tensors(table, weights, spec)
    out = [torch.zeros_like(points), points.new_zeros(table.shape), torch.zeros_like(parameters[1])]
    native().query_density_backward(
        native_field(spec),
        addresses(*parameters),
        *addresses(points, footprint),
        points.shape[0],
        gradient.data_ptr(),
        addresses(*out),
    )
    return out[0], out[1], out[2]
