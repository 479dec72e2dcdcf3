"""The loss of a batch: by hand, and every backend against the reference."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import ColorTargets
from neural_render.kernels.specs import LossSpec, RenderSpec
from tests.kernels.comparison import Outputs, assert_parity, strided
from tests.kernels.problems import (
    ball,
    full_occupancy,
    generator,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    targets_of,
)

HUBER = LossSpec(delta=0.1)
RELATIVE = LossSpec(delta=0.1, relative=0.01, distortion_weight=0.3)
NEAR = LossSpec(delta=0.1, distance_weight=0.7)


def loss_of(values: Tensor, targets: ColorTargets, loss: LossSpec) -> Outputs:
    """Loss, squared errors and the loss's gradient."""
    values = values.clone().requires_grad_()
    value, squared = ops.color_loss(values, targets, loss)
    (3 * value).backward()
    assert values.grad is not None
    return {"loss": value.detach(), "squared": squared, "to_values": values.grad}


def black(num_rays: int) -> ColorTargets:
    """Opaque black, each ray of weight 1."""
    zeros, ones = torch.zeros(num_rays, 3), torch.ones(num_rays)
    return ColorTargets(
        colors=zeros,
        opacity=ones,
        background=zeros + 0.5,
        weights=ones,
        distance=torch.zeros(num_rays),
    )


def test_it_is_the_squared_error_below_delta_and_linear_above(backend: str) -> None:
    for name in (backend, "reference"):
        with dispatch.using(name):
            seen = loss_of(torch.tensor([[0.05, -0.05, 0.5]]), black(1), HUBER)
        assert torch.allclose(seen["loss"], torch.tensor(0.0025 + 0.0025 + 0.09))
        assert torch.allclose(seen["squared"], torch.tensor([0.255 / 3]))
        assert torch.allclose(seen["to_values"], 3 * torch.tensor([[0.1, -0.1, 0.2]]))


def test_targets_stand_in_front_of_the_same_background(backend: str) -> None:
    targets = replace(
        black(2),
        colors=torch.tensor([[0.2, 0.4, 0.6], [0.2, 0.4, 0.6]]),
        opacity=torch.tensor([1.0, 0.25]),
        background=torch.ones(2, 3),
    )
    for name in (backend, "reference"):
        with dispatch.using(name):
            seen = loss_of(torch.tensor([[0.2, 0.4, 0.6], [0.8, 0.85, 0.9]]), targets, HUBER)
        assert torch.allclose(seen["squared"], torch.zeros(2), atol=1e-12)


def test_rays_of_no_weight_do_not_count(backend: str) -> None:
    targets = replace(black(2), weights=torch.tensor([2.0, 0.0]))
    values = torch.tensor([[0.1, 0.0, 0.0], [0.9, 0.9, 0.9]])
    for name in (backend, "reference"):
        with dispatch.using(name):
            seen = loss_of(values, targets, LossSpec(delta=10.0))
        assert torch.allclose(seen["loss"], torch.tensor(0.01))
        assert not seen["to_values"][1].any()


def test_every_backend_agrees(backend: str) -> None:
    """One, none and many rays, other channels, strided tensors; NaN is not hidden."""
    for loss in (HUBER, LossSpec(delta=10.0), RELATIVE):
        for num_rays, channels in ((0, 3), (1, 3), (3000, 3), (1025, 7)):
            values = torch.rand(num_rays, channels, generator=generator(6))
            targets = targets_of(num_rays, channels)
            assert_parity(backend, lambda v=values, t=targets, s=loss: loss_of(v, t, s))
            assert_parity(backend, lambda v=values, t=targets, s=loss: loss_of(strided(v), t, s))
    values = torch.full((2, 3), torch.nan)
    for loss in (HUBER, RELATIVE):
        with dispatch.using(backend):
            seen = loss_of(values, targets_of(2), loss)
        assert all(bool(value.isnan().any()) for value in seen.values())


def fitted(fused: bool, num_rays: int, loss: LossSpec) -> Outputs:
    """Loss, errors and all gradients of ``render_loss``, or of the ops that it stands for."""
    field = small_field(num_conditions=2)
    inputs = render_inputs(rays_through_cube(num_rays), occupancy_of(ball(0.4)), 3, 2)
    parameters = parameters_of(field)
    leaves = {
        "origins": inputs.rays.origins,
        "directions": inputs.rays.directions,
        "conditions": inputs.conditions,
        "table": parameters.table,
        "density_weights": parameters.density_weights,
        "color_weights": parameters.color_weights,
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    targets = replace(targets_of(num_rays), background=inputs.background)
    spec = RenderSpec(field=field, march=march())
    if fused:
        seen = ops.render_loss(inputs, targets, parameters, (spec, loss))
        value, squared, counts = seen.loss, seen.squared, (seen.num_survived, seen.num_marched)
    else:
        output = ops.render_rays(inputs, parameters, spec)
        value, squared = ops.output_loss(output, targets, loss)
        counts = (output.num_survived, output.num_marched)
    gradients = torch.autograd.grad(2 * value, list(leaves.values()))
    found = {f"to_{name}": value for name, value in zip(leaves, gradients, strict=True)}
    return {"loss": value.detach(), "squared": squared, "counts": torch.stack(counts), **found}


@pytest.mark.parametrize("loss", [HUBER, RELATIVE, NEAR])
@pytest.mark.parametrize("num_rays", [1, 700])
def test_render_loss_is_what_its_parts_give(backend: str, num_rays: int, loss: LossSpec) -> None:
    for name in (backend, "reference"):
        with dispatch.using(name):
            one, other = fitted(True, num_rays, loss), fitted(False, num_rays, loss)
        assert one["counts"].tolist() == other["counts"].tolist()
        for what in one.keys() - {"counts"}:
            scale = other[what].abs().max()
            assert torch.allclose(one[what], other[what], rtol=1e-3, atol=1e-4 * float(scale)), what


@pytest.mark.parametrize("loss", [HUBER, RELATIVE, NEAR])
def test_render_loss_without_gradients_is_the_same_loss(backend: str, loss: LossSpec) -> None:
    field, inputs = small_field(), render_inputs(rays_through_cube(50), full_occupancy())
    parameters = parameters_of(field)
    parameters.table.requires_grad_()
    specs = RenderSpec(field=field, march=march()), loss
    with dispatch.using(backend):
        with torch.no_grad():
            free = ops.render_loss(inputs, targets_of(50), parameters, specs)
        sink = ops.TableGradientSink()
        kept = ops.render_loss(inputs, targets_of(50), parameters, specs, sink)
        kept.loss.backward()
    assert torch.allclose(free.loss, kept.loss.detach(), rtol=1e-4)
    assert parameters.table.grad is None and sink.gradient is not None
