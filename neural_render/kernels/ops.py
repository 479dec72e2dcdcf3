"""Every hot function, once: what it computes, for any backend. ``reference`` is the definition.

Each op is a forward and a backward function of the active backend (see ``dispatch``); what stands
here joins them to autograd. A backend has all that ``reference/__init__`` gives, by the same names.
The ops on Gaussian splats have a door of their own, ``splats.ops``.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels import autograd, dispatch
from neural_render.kernels.records import (
    ColorTargets,
    Composited,
    FactoredGradient,
    FieldInputs,
    FieldParameters,
    OccupancyState,
    PackedSamples,
    PixelLayout,
    PixelRays,
    PixelViews,
    RenderGradients,
    RenderInputs,
    RenderLoss,
    RenderOutput,
)
from neural_render.kernels.reference.compositing import distance_loss as reference_distance_loss
from neural_render.kernels.specs import (
    AdamSpec,
    FieldSpec,
    HashGridSpec,
    LossSpec,
    MarchSpec,
    MlpSpec,
    OccupancySpec,
    RenderSpec,
)


@dataclass(kw_only=True)
class TableGradientSink:
    """Where ``render_rays`` leaves the table's factored gradient in the backward pass.

    With a sink no dense gradient of the table is ever formed.
    """

    gradient: FactoredGradient | None = None


def hash_encode(
    points: Float[Tensor, "samples dims"],
    table: Float[Tensor, "rows features"],
    spec: HashGridSpec,
    footprint: Float[Tensor, " samples"] | None = None,
) -> Float[Tensor, "samples level_features"]:
    """Interpolated features of all levels (Mueller et al. 2022, section 3), coarsest level first.

    With a footprint sigma (standard deviation, field units; 0 changes nothing) the features of a
    level with N cells are multiplied by ``erf(1 / (sqrt(8) sigma N))``, N being the level's scale
    (Barron et al. 2023, eq. 5). Differentiable in points (piecewise) and table, not in footprint.
    """
    if footprint is None:
        footprint = points.new_zeros(points.shape[0])
    return autograd.HashEncode.apply(points, table, spec, footprint)


def mlp(
    inputs: Float[Tensor, "samples inputs"], weights: Float[Tensor, " weights"], spec: MlpSpec
) -> Float[Tensor, "samples outputs"]:
    """The network's outputs, no activation on the last layer; differentiable in both tensors."""
    return autograd.Mlp.apply(inputs, weights, spec)


def query_field(
    inputs: FieldInputs, parameters: FieldParameters, spec: FieldSpec
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
    """Density and radiance of samples, encoding and networks fused.

    Differentiable in all parameters and in points, directions and conditions, not in footprint.
    """
    return autograd.QueryField.apply(
        inputs.points,
        inputs.directions,
        inputs.conditions,
        parameters.table,
        parameters.density_weights,
        parameters.color_weights,
        (inputs.ray_index, inputs.footprint, spec),
    )


def query_density(
    points: Float[Tensor, "samples 3"],
    parameters: FieldParameters,
    spec: FieldSpec,
    footprint: Float[Tensor, " samples"] | None = None,
) -> Float[Tensor, " samples"]:
    """Density of samples (per field unit); differentiable in points, so normals, and parameters."""
    if footprint is None:
        footprint = points.new_zeros(points.shape[0])
    return autograd.QueryDensity.apply(
        points, parameters.table, parameters.density_weights, spec, footprint
    )


def march_rays(
    rays: Rays,
    jitter: Float[Tensor, " rays"],
    occupancy: UInt8[Tensor, "cascades bytes"],
    spec: MarchSpec,
    capacity: int,
) -> PackedSamples:
    """The samples of all rays in occupied space (see ``MarchSpec``); not differentiable."""
    return dispatch.active().march_rays(rays, jitter, occupancy, spec, capacity)


def composite(
    density: Float[Tensor, " capacity"],
    radiance: Float[Tensor, "capacity channels"],
    samples: PackedSamples,
    background: Float[Tensor, "rays channels"],
) -> Composited:
    """What each ray sees (see ``Composited``); differentiable in density, radiance, background."""
    values, opacity, distance, distortion, weights = autograd.Composite.apply(
        density, radiance, background, samples
    )
    return Composited(
        values=values, opacity=opacity, distance=distance, distortion=distortion, weights=weights
    )


def render_rays(
    inputs: RenderInputs,
    parameters: FieldParameters,
    spec: RenderSpec,
    sink: TableGradientSink | None = None,
) -> RenderOutput:
    """March, encode, early termination, compaction, colour and compositing in one pass.

    Differentiable in the parameters, ray origins and directions (the intervals' distances are held
    fixed), background and conditions. With a ``sink`` the table's gradient goes there, factored,
    and not to ``parameters.table.grad``.
    """
    values, opacity, distance, distortion, num_marched, num_survived = autograd.RenderRays.apply(
        inputs.rays.origins,
        inputs.rays.directions,
        inputs.background,
        inputs.conditions,
        parameters.table,
        parameters.density_weights,
        parameters.color_weights,
        (inputs, spec, sink, torch.is_grad_enabled()),
    )
    return RenderOutput(
        values=values,
        opacity=opacity,
        distance=distance,
        distortion=distortion,
        num_marched=num_marched,
        num_survived=num_survived,
    )


def render_loss(
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    sink: TableGradientSink | None = None,
) -> RenderLoss:
    """``output_loss`` of what ``render_rays`` gives, in one pass.

    Differentiable as ``render_rays`` is, and in the gain, but not in the background; the gradient
    is found along with the loss, so it costs the same whether or not it is asked for. Without grad
    mode none is found. Where ``targets`` are some of the field's channels, so is the background of
    ``inputs``, and nothing is spent on the others.
    """
    parameters, specs = _of_channels(targets, parameters, specs)
    if not torch.is_grad_enabled():
        seen = render_rays(inputs, parameters, specs[0])
        loss, squared = output_loss(seen, targets, specs[1])
        counts = seen.num_marched, seen.num_survived
    else:
        loss, squared, *counts = autograd.RenderLossFunction.apply(
            inputs.rays.origins,
            inputs.rays.directions,
            inputs.conditions,
            targets.gain,
            parameters.table,
            parameters.density_weights,
            parameters.color_weights,
            (inputs, targets, specs, sink),
        )
    return RenderLoss(loss=loss, squared=squared, num_marched=counts[0], num_survived=counts[1])


@torch.no_grad()
def render_loss_gradients(
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    rays_too: bool = False,
) -> tuple[RenderLoss, RenderGradients]:
    """``render_loss`` with its gradient, to rays if ``rays_too``, without autograd's overhead."""
    given, narrow = _of_channels(targets, parameters, specs)
    seen, found = dispatch.active().render_loss(inputs, targets, given, narrow, rays_too)
    if narrow is not specs:
        hidden, rows = specs[0].field.color_rows(targets.first_channel, targets.colors.shape[1])
        to_color = torch.zeros_like(parameters.color_weights)
        to_color[hidden], to_color[rows] = found.color_weights.tensor_split([hidden.stop])
        found = replace(found, color_weights=to_color)
    return seen, found


def _of_channels(
    targets: ColorTargets, parameters: FieldParameters, specs: tuple[RenderSpec, LossSpec]
) -> tuple[FieldParameters, tuple[RenderSpec, LossSpec]]:
    """A field of the targets' channels alone, if they are not all of them."""
    field, num_channels = specs[0].field, targets.colors.shape[1]
    hidden, rows = field.color_rows(targets.first_channel, num_channels)
    if num_channels == field.num_channels:
        return parameters, specs
    weights = torch.cat([parameters.color_weights[hidden], parameters.color_weights[rows]])
    spec = replace(specs[0], field=replace(field, num_channels=num_channels))
    return replace(parameters, color_weights=weights), (spec, specs[1])


def output_loss(
    seen: RenderOutput, targets: ColorTargets, loss: LossSpec
) -> tuple[Float[Tensor, ""], Float[Tensor, " rays"]]:
    """The loss of what rays see, and each ray's squared error (see ``color_loss``).

    It is ``color_loss``, the mean of the distortion and that of ``distance_loss``, the last two
    times their weights; normals are no output, and only ``render_loss`` looks at them.
    Differentiable in all that is seen, the loss alone.
    """
    value, squared = color_loss(seen.values, targets, loss)
    distortion = seen.distortion.sum() / max(1, len(seen.distortion))
    value = value + loss.distortion_weight * distortion
    if loss.distance_weight:
        value = value + loss.distance_weight * distance_loss(seen.distance, seen.opacity, targets)
    return value, squared


def color_loss(
    values: Float[Tensor, "rays channels"], targets: ColorTargets, loss: LossSpec
) -> tuple[Float[Tensor, ""], Float[Tensor, " rays"]]:
    """The loss of a batch, and each ray's squared error, averaged over channels.

    For display-referred values the loss is squared below ``loss.delta`` and linear above it with
    the same slope (Huber 1964, times 2). For scene-linear ones, ``loss.relative`` > 0, it is
    ``error^2 / (value^2 + relative)^(power / 2)``, no gradient going through the denominator, and
    the squared errors are these: bright light does not drown the rest, and noisy targets lead to
    their mean. Power 2 is Mueller et al. 2021, "Real-time neural radiance caching"; with power 1
    values that are exponentials keep the sum of their targets, however badly they fit (McCullagh
    and Nelder 1989, canonical links). Summed over channels, averaged over rays with their weights.
    Values are multiplied by the targets' gain first, and so is the background of both sides.
    Differentiable in ``values`` and in the gain, the loss alone.
    """
    return autograd.ColorLoss.apply(values, targets.gain, targets, loss)


def distance_loss(
    distance: Float[Tensor, " rays"], opacity: Float[Tensor, " rays"], targets: ColorTargets
) -> Float[Tensor, ""]:
    """How far the distances of a batch are off, where they are known: ``(2 (d - t) / (d + t))^2``.

    Near the target t that is the relative error squared; it never exceeds 4. It is multiplied by
    the target's opacity and by what is seen of it (which also keeps the gradient of a distance in
    thin air finite), and averaged over rays with their weights. Differentiable in ``distance``.
    """
    return reference_distance_loss(distance, opacity, targets)


@torch.no_grad()
def table_adam_step(
    table: Float[Tensor, "rows features"],
    second: Float[Tensor, " rows"],
    gradient: FactoredGradient,
    grid: HashGridSpec,
    adam: AdamSpec,
    later: bool = False,
) -> None:
    """Scatters a factored gradient and takes the step of ``row_adam_step``, level by level.

    ``later``: the step may go on beside the caller. Until ``finish`` nothing may look at ``table``
    and ``second`` but ops, which wait for it, except those on photos and ``adam_step``.
    """
    dispatch.active().table_adam_step(table, second, gradient, grid, adam, later)


def finish() -> None:
    """Waits for a ``table_adam_step`` that goes on."""
    dispatch.active().finish()


@torch.no_grad()
def row_adam_step(
    table: Float[Tensor, "rows features"],
    second: Float[Tensor, " rows"],
    gradient: Float[Tensor, "rows features"],
    adam: AdamSpec,
) -> None:
    """Adam for rows of features, in place, without first and with one second moment for each row.

    ``v = beta2 v + (1 - beta2) mean_j g_j^2``, then ``w -= rate g / (sqrt(v / (1 - beta2^t)) +
    epsilon)``. What a first moment would smooth, an average of the weights does, without its memory
    traffic. Rows whose gradient is exactly zero are not touched (Instant-NGP) and no row decays.
    One second moment for several weights: Zhang et al. 2024, "Adam-mini".
    """
    dispatch.active().row_adam_step(table, second, gradient, adam)


@torch.no_grad()
def adam_step(
    parameter: Float[Tensor, "*shape"],
    moments: tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]],
    gradient: Float[Tensor, "*shape"],
    adam: AdamSpec,
) -> None:
    """Adam (Kingma and Ba 2015), in place; ``moments`` are the first and the second ones."""
    dispatch.active().adam_step(parameter, moments, gradient, adam)


def occupancy_cells(
    state: OccupancyState,
    stripe: int,
    num_stripes: int,
    num_occupied: int = 0,
    start: float = 0.0,
) -> Int[Tensor, " chosen"]:
    """Flat indices, ascending, of the seen cells of a stripe and of so many occupied cells.

    A stripe is every ``num_stripes``-th row of 512 cells. The occupied ones are evenly spread over
    all, from ``start`` (in [0, 1)) on; all of them where there are no more. Of cells that a finer
    cascade covers there are none. A cell that was chosen twice is there twice.
    """
    return dispatch.active().occupancy_cells(state, stripe, num_stripes, num_occupied, start)


def occupancy_points(
    cells: Int[Tensor, " chosen"], cascades: int, key: int, first: int = 0
) -> Float[Tensor, "chosen 3"]:
    """A random point in each of the cells (flat indices), in the unit cube.

    Number i depends on ``key`` (64 bits), ``first + i`` and its cell alone, for every backend.
    """
    return dispatch.active().occupancy_points(cells, cascades, key, first)


@torch.no_grad()
def occupancy_update(
    state: OccupancyState,
    cells: Int[Tensor, " chosen"],
    density: Float[Tensor, " chosen"],
    spec: OccupancySpec,
) -> None:
    """Takes in densities that were found in ``cells`` and refreshes all of ``state``, in place.

    The cells ascend and are such as ``occupancy_cells`` gives; one that comes twice decays once. A
    density that is not a number counts as none. A cell that a finer cascade covers gets the
    greatest of its eight values there, as an opacity of its own step. Of rows whose sum is known, a
    backend may leave alone all that the given cells do not change.
    """
    dispatch.active().occupancy_update(state, cells, density, spec)


@torch.no_grad()
def shoot_rays(pixel: Int[Tensor, " rays"], views: PixelViews) -> PixelRays:
    """The rays through the centres of pixels, given by flat index, and the pixels' colours.

    Not differentiable. The cpu backend raises KernelError for an index outside of the photos.
    """
    return dispatch.active().shoot_rays(pixel, views)


@torch.no_grad()
def pick_pixels(
    block: Int[Tensor, " rays"],
    place: Float[Tensor, " rays"],
    layout: PixelLayout,
    masks: UInt8[Tensor, " masked"],
) -> Int[Tensor, " rays"]:
    """The flat index of one usable pixel of each block: that at ``place`` in [0, 1) in row order.

    Uniform float64 places give uniform pixels. A pixel is usable where ``masks`` is not 0; a mask
    of no length masks nothing. Blocks without a usable pixel may not be asked.
    """
    return dispatch.active().pick_pixels(block, place, layout, masks)
