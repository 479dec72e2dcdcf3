"""What a camera multiplies light by: the loss with a gain, and its gradient to it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import ColorTargets, FieldParameters
from neural_render.kernels.specs import LossSpec, RenderSpec
from tests.kernels.comparison import assert_parity, on_both
from tests.kernels.problems import (
    ball,
    generator,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    targets_of,
)

LOSSES = (
    LossSpec(delta=0.1),
    LossSpec(delta=10.0),
    LossSpec(delta=0.1, relative=0.01, power=1.5),
)
FIELD = small_field(num_conditions=2)


def gained(num_rays: int, channels: int = 3) -> ColorTargets:
    """Random targets with gains around 1."""
    gain = 0.5 + torch.rand(num_rays, channels, generator=generator(6))
    return replace(targets_of(num_rays, channels), gain=gain)


def loss_of(values: Tensor, targets: ColorTargets, loss: LossSpec) -> dict[str, Tensor]:
    """Loss, squared errors and the loss's gradients."""
    values, gain = values.clone().requires_grad_(), targets.gain.clone().requires_grad_()
    value, squared = ops.color_loss(values, replace(targets, gain=gain), loss)
    to_values, to_gain = torch.autograd.grad(3 * value, (values, gain))
    return {
        "loss": value.detach(),
        "squared": squared,
        "to_values": to_values,
        "to_gain": to_gain,
    }


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("num_rays", [0, 1, 2000])
def test_backends_agree(loss: LossSpec, num_rays: int, backend: str) -> None:
    values = 2 * torch.rand(num_rays, 3, generator=generator(3))

    def compute() -> dict[str, Tensor]:
        return loss_of(values, gained(num_rays), loss)

    assert_parity(backend, compute)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_gain_of_one_is_none(loss: LossSpec, any_backend: str) -> None:
    values, targets = torch.rand(500, 3, generator=generator(3)), targets_of(500)
    with dispatch.using(any_backend):
        ones = loss_of(values, replace(targets, gain=torch.ones(500, 3)), loss)
        leaf = values.clone().requires_grad_()
        value, squared = ops.color_loss(leaf, targets, loss)
        (slope,) = torch.autograd.grad(3 * value, leaf)
    assert torch.allclose(ones["loss"], value.detach(), rtol=1e-5)
    assert torch.allclose(ones["squared"], squared, rtol=1e-4, atol=1e-7)
    assert torch.allclose(ones["to_values"], slope, rtol=1e-3, atol=1e-8)


def test_an_opaque_photo_of_twice_the_light_has_no_error_at_a_gain_of_two(any_backend: str) -> None:
    """Nor one with opacity, as the background behind both is multiplied too."""
    targets = targets_of(50)
    color, opacity = torch.rand(50, 3, generator=generator(4)), targets.opacity[:, None]
    seen = torch.lerp(targets.background, color, opacity)
    brighter = replace(targets, colors=2 * color, gain=torch.full((50, 3), 2.0))
    with dispatch.using(any_backend):
        assert float(ops.color_loss(seen, brighter, LOSSES[0])[0]) < 1e-10


@pytest.mark.parametrize("loss", LOSSES[:2])
def test_gradients_are_those_of_finite_differences(loss: LossSpec) -> None:
    targets = gained(7)
    exact = {name: x.double() for name, x in vars(targets).items() if isinstance(x, Tensor)}
    values = torch.rand(7, 3, generator=generator(3)).double().requires_grad_()
    gain = exact.pop("gain").requires_grad_()

    def value(values: Tensor, gain: Tensor) -> Tensor:
        return ops.color_loss(values, ColorTargets(**exact, gain=gain), loss)[0]

    with dispatch.using("reference"):
        assert torch.autograd.gradcheck(value, (values, gain))


@pytest.mark.parametrize("roulette", [0.0, 0.5])
@pytest.mark.parametrize("num_rays", [1, 100, 700])
def test_the_fused_loss_finds_the_gradient_to_rays_conditions_and_gain(
    num_rays: int, roulette: float, backend: str
) -> None:
    """Without autograd what it finds with it; that to the gain is exact however many are thinned.

    With roulette the two draw alike, from the rays' jitter.
    """
    inputs = render_inputs(rays_through_cube(num_rays), occupancy_of(ball(0.4)), 3, 2)
    parameters, targets = parameters_of(FIELD), gained(num_rays)
    specs = RenderSpec(field=FIELD, march=march()), LossSpec(delta=0.1, roulette=roulette)

    def compute() -> dict[str, Tensor]:
        seen, found = ops.render_loss_gradients(inputs, targets, parameters, specs, True)
        origins, directions, gain, conditions = (
            x.clone().requires_grad_()
            for x in (
                inputs.rays.origins,
                inputs.rays.directions,
                targets.gain,
                inputs.conditions,
            )
        )
        rays = replace(inputs.rays, origins=origins, directions=directions)
        given = replace(inputs, rays=rays, conditions=conditions)
        kept = ops.render_loss(
            given, replace(targets, gain=gain), FieldParameters(**vars(parameters)), specs
        )
        (2 * kept.loss).backward()
        assert torch.equal(seen.loss, kept.loss.detach())
        for ours, leaf in (
            (found.origins, origins),
            (found.directions, directions),
            (found.conditions, conditions),
            (found.gain, gain),
        ):
            assert leaf.grad is not None and leaf.grad.any()
            assert torch.allclose(2 * ours, leaf.grad, rtol=1e-5)
        return {"to_gain": found.gain}

    actual, expected = (found["to_gain"] for found in on_both(backend, compute))
    assert (actual - expected).norm() / expected.norm() < 2e-2
