"""How tensors and specs reach the native kernels.

Tensors are float32, whatever is computed with. They are handed over as addresses, so this file
checks types, sizes and layout of all that C++ will touch.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.core.rays import Rays
from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.tables import native_grid, table_entries
from neural_render.kernels.records import (
    FactoredGradient,
    FieldInputs,
    FieldParameters,
    PackedSamples,
    RenderInputs,
)
from neural_render.kernels.specs import (
    AdamSpec,
    FieldSpec,
    HashGridSpec,
    MarchSpec,
    MlpSpec,
    RenderSpec,
)

MOST_LAYERS = 8


def ready(tensor: Tensor, name: str, *shape: int) -> Tensor:
    """The tensor as C++ wants it: float32 on the CPU, contiguous, of this shape (-1: any)."""
    # What fits already is by far the most: many tensors are looked at in every step.
    if (
        tensor.shape == shape
        and tensor.dtype is torch.float32
        and tensor.is_cpu
        and not tensor.requires_grad
        and tensor.is_contiguous()
    ):
        return tensor
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
        raise KernelError(
            f"the cpu backend takes float32 tensors on the CPU, but {name} is {tensor.dtype} on "
            f"{tensor.device}; convert it, or use kernels.backend=reference."
        )
    fits = len(shape) == tensor.dim() and all(
        want in (-1, have) for want, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise KernelError(f"{name} has shape {tuple(tensor.shape)}, but {shape} was wanted.")
    return tensor.detach().contiguous()


def indices(tensor: Tensor, size: int, limit: int | None) -> Tensor:
    """Indices as contiguous int64, checked to lie in [0, limit) unless nobody looks at them."""
    if tensor.shape != (size,) or not tensor.is_cpu:
        raise KernelError(
            f"an index has shape {tuple(tensor.shape)} on {tensor.device}, but {(size,)} on the CPU"
            " was wanted."
        )
    tensor = tensor.detach().to(torch.int64).contiguous()
    if size and limit is not None and (int(tensor.min()) < 0 or int(tensor.max()) >= limit):
        raise KernelError(f"an index lies outside [0, {limit}).")
    return tensor


def addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def march_numbers(spec: MarchSpec) -> list[float | int]:
    numbers = (spec.step, spec.near, spec.cone_angle, spec.max_step, spec.min_transmittance)
    return [*numbers, spec.cascades, spec.max_samples_per_ray]


def adam_numbers(spec: AdamSpec) -> list[float | int]:
    numbers = (spec.learning_rate, spec.beta1, spec.beta2, spec.epsilon, spec.weight_decay)
    return [*numbers, spec.step]


def network_shape(spec: MlpSpec) -> tuple[int, int, int, int]:
    """The shape as C++ takes it, whose buffers have room for so many layers."""
    if spec.hidden_layers > MOST_LAYERS:
        raise KernelError(f"the cpu backend takes networks of at most {MOST_LAYERS} hidden layers.")
    return spec.inputs, spec.width, spec.hidden_layers, spec.outputs


def native_field(spec: FieldSpec) -> Any:
    """The field of the module in use."""
    return _native_field(native(), spec)


@cache
def _native_field(module: ModuleType, spec: FieldSpec) -> Any:
    spec.check_degrees()
    sizes = [spec.latent, spec.sh_degree, spec.num_conditions, spec.num_channels]
    sizes.append(spec.reflection_degree)
    return module.Field(
        native_grid(spec.grid),
        network_shape(spec.density_network),
        network_shape(spec.color_network),
        sizes,
        spec.density_bias,
        spec.radiance == "exp",
    )


@cache
def parameter_sizes(spec: FieldSpec) -> tuple[int, int, int]:
    return spec.grid.num_rows, spec.density_network.num_weights, spec.color_network.num_weights


def parameter_tensors(
    parameters: FieldParameters, spec: FieldSpec
) -> tuple[Tensor, Tensor, Tensor]:
    """Table entries and weights."""
    _, density, color = parameter_sizes(spec)
    return (
        table_entries(parameters.table, spec.grid),
        ready(parameters.density_weights, "density_weights", density),
        ready(parameters.color_weights, "color_weights", color),
    )


def query_tensors(inputs: FieldInputs, spec: FieldSpec) -> tuple[Tensor, ...]:
    samples = inputs.points.shape[0]
    conditions = ready(inputs.conditions, "conditions", -1, spec.num_conditions)
    limit = conditions.shape[0] if spec.num_conditions else None
    return (
        ready(inputs.points, "points", samples, 3),
        ready(inputs.directions, "directions", samples, 3),
        conditions,
        ready(inputs.footprint, "footprint", samples),
        indices(inputs.ray_index, samples, limit),
    )


def density_tensors(table: Tensor, weights: Tensor, spec: FieldSpec) -> tuple[Tensor, ...]:
    """Parameters for density alone: C++ packs a colour network too, so it is given zeros."""
    _, density, color = parameter_sizes(spec)
    return (
        table_entries(table, spec.grid),
        ready(weights, "density_weights", density),
        table.new_zeros(color),
    )


def occupancy_bits(bits: Tensor, cascades: int) -> Tensor:
    shape = cascades, 128**3 // 8
    if bits.dtype != torch.uint8 or bits.shape != shape or not bits.is_cpu:
        raise KernelError(
            f"occupancy is {bits.dtype} of shape {tuple(bits.shape)} on {bits.device}, but uint8 of"
            f" shape {shape} on the CPU was wanted for {cascades} cascades."
        )
    return bits.contiguous()


def ray_tensors(rays: Rays, jitter: Tensor) -> tuple[Tensor, ...]:
    num_rays = len(rays)
    return (
        ready(rays.origins, "rays.origins", num_rays, 3),
        ready(rays.directions, "rays.directions", num_rays, 3),
        ready(rays.footprint, "rays.footprint", num_rays),
        ready(jitter, "jitter", num_rays),
    )


def packed_tensors(samples: PackedSamples, num_rays: int) -> tuple[Tensor, ...]:
    capacity = samples.t_near.shape[0]
    offsets = indices(samples.offsets, num_rays + 1, capacity + 1)
    if bool((offsets.diff() < 0).any()):
        raise KernelError("the offsets of packed samples must not decrease.")
    return (
        ready(samples.t_near, "t_near", capacity),
        ready(samples.t_far, "t_far", capacity),
        indices(samples.ray_index, capacity, None),
        offsets,
    )


def render_tensors(inputs: RenderInputs, spec: RenderSpec) -> list[Tensor]:
    num_rays, field = len(inputs.rays), spec.field
    conditions_shape = (num_rays if field.num_conditions else -1, field.num_conditions)
    return [
        *ray_tensors(inputs.rays, inputs.jitter),
        ready(inputs.background, "background", num_rays, field.num_channels),
        ready(inputs.conditions, "conditions", *conditions_shape),
    ]


def factored_tensors(gradient: FactoredGradient, grid: HashGridSpec) -> tuple[Tensor, Tensor]:
    samples = gradient.points.shape[0]
    if grid.dims != 3:
        raise KernelError(f"gradients are factored by points in space, not in {grid.dims} dims.")
    points = ready(gradient.points.T, "points", 3, samples)
    if not native().points_in_cube(addresses(*points), samples):
        raise KernelError("a factored gradient has points outside [0, 1].")
    return points, ready(gradient.features, "feature gradients", grid.num_outputs, samples)


def ready_in_place(tensor: Tensor, name: str, *shape: int) -> Tensor:
    """A tensor to be changed in place: it must already be as C++ wants it."""
    if not tensor.is_contiguous():
        raise KernelError(f"{name} is changed in place and must be contiguous.")
    return ready(tensor, name, *shape)
