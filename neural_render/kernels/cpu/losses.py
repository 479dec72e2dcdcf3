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
    """Targets as C++ takes them."""
    return (
        ready(targets.colors, "colors", rays, channels),
        ready(targets.opacity, "opacity", rays),
        ready(targets.background, "background", rays, channels),
        ready(targets.weights, "weights", rays),
    )


def color_loss(
    values: Tensor, targets: ColorTargets, delta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See ``ops.color_loss``; also the loss's gradient to ``values``."""
    rays, channels = values.shape
    values = ready(values, "values", rays, channels)
    given = target_tensors(targets, rays, channels)
    squared, gradient = values.new_empty(rays), torch.empty_like(values)
    loss = native().color_loss(
        values.data_ptr(),
        addresses(*given),
        channels,
        rays,
        delta,
        addresses(squared, gradient),
    )
    return values.new_tensor(loss), squared, gradient


def render_loss(
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    rays_too: bool,
) -> tuple[RenderLoss, RenderGradients]:
    """See ``ops.render_loss``; also all gradients, to rays only if ``rays_too``."""
    spec, loss = specs
    given, weights = render_tensors(inputs, spec), parameter_tensors(parameters, spec.field)
    bits = occupancy_bits(inputs.occupancy, spec.march.cascades)
    num_rays, channels = len(inputs.rays), spec.field.num_channels
    values = torch.empty_like(given[4])
    opacity, distance, distortion, squared = values.new_empty(4, num_rays).unbind()
    to_values, zeros = torch.empty_like(values), values.new_zeros(num_rays)
    to_distortion = values.new_full((num_rays,), loss.distortion_weight / max(1, num_rays))
    out = [torch.zeros_like(given[0]), torch.zeros_like(given[1])] if rays_too else [zeros, zeros]
    out += [torch.empty_like(values), torch.zeros_like(given[5])]
    out += [torch.empty_like(weights[1]), torch.empty_like(weights[2])]
    field, state = native_field(spec.field), native().FitState()
    native().render_loss(
        field,
        march_numbers(spec.march),
        addresses(*weights),
        bits.data_ptr(),
        addresses(*given, values, opacity, distance, distortion),
        addresses(*target_tensors(targets, num_rays, channels)),
        [loss.delta, loss.distortion_weight, loss.roulette],
        num_rays,
        addresses(to_values, zeros, to_distortion, squared),
        addresses(*out),
        rays_too,
        state,
    )
    seen = RenderLoss(
        loss=values.new_tensor(state.loss),
        squared=squared,
        num_marched=torch.tensor(state.marched),
        num_survived=torch.tensor(state.survived),
    )
    nothing = values.new_zeros(()).expand_as(given[0])
    return seen, RenderGradients(
        origins=out[0] if rays_too else nothing,
        directions=out[1] if rays_too else nothing,
        background=out[2],
        conditions=out[3],
        table=ChunkedGradient(native(), spec.field.grid, state),
        density_weights=out[4],
        color_weights=out[5],
    )
