"""The ops that know what rays should see."""

from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.native import (
    addresses,
    march_numbers,
    native_field,
    occupancy_bits,
    parameter_tensors,
    ready,
    render_tensors,
)
from neural_render.kernels.records import (
    ColorTargets,
    FactoredGradient,
    FieldParameters,
    RenderGradients,
    RenderInputs,
    RenderLoss,
)
from neural_render.kernels.specs import HashGridSpec, LossSpec, RenderSpec


class ChunkedGradient(FactoredGradient):
    """A factored gradient as the fused pass leaves it; put together only where asked for.

    Each chunk's samples fill whole vectors: those behind its last one have a gradient of zero.
    """

    def __init__(self, module: ModuleType, grid: HashGridSpec, state: Any) -> None:
        """The gradient that ``module`` left in its ``state``."""
        # As the base class is frozen.
        self.__dict__.update(module=module, grid=grid, state=state)

    module: ModuleType
    grid: HashGridSpec
    state: Any

    def fits(self, module: ModuleType, grid: HashGridSpec) -> bool:
        """Whether ``module`` can take ``state`` as the gradient of a table of ``grid``."""
        return self.module is module and self.grid == grid

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        points = torch.empty(3, self.state.kept)
        features = torch.empty(self.grid.num_outputs, self.state.kept)
        self.module.copy_factors(self.state, *addresses(points, features))
        return points.T, features

    @property
    def points(self) -> Tensor:
        """See ``FactoredGradient``."""
        return self._tensors[0]

    @property
    def features(self) -> Tensor:
        """See ``FactoredGradient``."""
        return self._tensors[1]


def target_tensors(targets: ColorTargets, rays: int, channels: int) -> tuple[Tensor, ...]:
    """Targets as C++ takes them, the gain last; no gain has no address."""
    gain = ready(targets.gain, "gain", rays, channels) if len(targets.gain) else targets.gain
    return (
        ready(targets.colors, "colors", rays, channels),
        ready(targets.opacity, "opacity", rays),
        ready(targets.background, "background", rays, channels),
        ready(targets.weights, "weights", rays),
        ready(targets.distance, "distance", rays),
        ready(targets.normals, "normals", rays, 3),
        gain,
    )


def loss_numbers(spec: LossSpec) -> list[float]:
    """A loss as C++ takes it."""
    weights = (spec.distortion_weight, spec.distance_weight, spec.roulette, spec.normal_weight)
    return [spec.delta, spec.relative, spec.power, *weights, spec.near_fade]


def color_loss(
    values: Tensor, targets: ColorTargets, loss: LossSpec
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See ``ops.color_loss``; also the loss's gradients to ``values`` and to the gain."""
    rays, channels = values.shape
    values = ready(values, "values", rays, channels)
    given = target_tensors(targets, rays, channels)
    squared, gradient = values.new_empty(rays), torch.empty_like(values)
    to_gain = torch.empty_like(given[-1])
    value = native().color_loss(
        values.data_ptr(),
        addresses(*given),
        channels,
        rays,
        loss_numbers(loss),
        addresses(squared, gradient, to_gain),
    )
    return values.new_tensor(value), squared, gradient, to_gain


def render_loss(
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    rays_too: bool,
) -> tuple[RenderLoss, RenderGradients]:
    """See ``ops.render_loss``; also the gradients, to rays if ``rays_too``."""
    spec, loss = specs
    given, weights = render_tensors(inputs, spec), parameter_tensors(parameters, spec.field)
    bits = occupancy_bits(inputs.occupancy, spec.march.cascades)
    num_rays, channels = len(inputs.rays), spec.field.num_channels
    wanted = target_tensors(targets, num_rays, channels)  # copies must outlive the call
    squared = torch.empty(num_rays)
    to_networks = [torch.empty_like(weight) for weight in weights[1:]]
    # What nobody asked for stays at this one zero.
    to_rays = [torch.zeros(()).expand(num_rays, 3)] * 2
    if rays_too:
        to_rays = [torch.zeros_like(given[0]), torch.zeros_like(given[1])]
    to_conditions, to_gain = torch.zeros_like(given[5]), torch.zeros_like(wanted[-1])
    to_background = torch.empty(num_rays, channels)
    state = native().FitState()
    native().render_loss(
        native_field(spec.field),
        march_numbers(spec.march),
        addresses(*weights),
        bits.data_ptr(),
        addresses(*given),
        addresses(*wanted),
        loss_numbers(loss),
        num_rays,
        addresses(squared, *to_networks, *to_rays, to_conditions, to_gain, to_background),
        rays_too,
        state,
    )
    seen = RenderLoss(
        loss=torch.tensor(state.loss, dtype=torch.float32),
        squared=squared,
        num_marched=torch.tensor(state.marched),
        num_survived=torch.tensor(state.survived),
    )
    return seen, RenderGradients(
        origins=to_rays[0],
        directions=to_rays[1],
        background=to_background,
        conditions=to_conditions,
        table=ChunkedGradient(native(), spec.field.grid, state),
        density_weights=to_networks[0],
        color_weights=to_networks[1],
        gain=to_gain,
    )
