"""The loss of a batch: by hand, and every backend against the reference."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.gradients import faded_near
from neural_render.kernels.records import ColorTargets, FieldParameters
from neural_render.kernels.specs import LossSpec, RenderSpec
from tests.kernels.comparison import Outputs, assert_parity, in_float32, remembered, strided
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
from tests.kernels.tolerances import assert_close, parity

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
        normals=zeros,
    )


def test_it_is_the_squared_error_below_delta_and_linear_above(any_backend: str) -> None:
    with dispatch.using(any_backend):
        seen = loss_of(torch.tensor([[0.05, -0.05, 0.5]]), black(1), HUBER)
    assert torch.allclose(seen["loss"], torch.tensor(0.0025 + 0.0025 + 0.09))
    assert torch.allclose(seen["squared"], torch.tensor([0.255 / 3]))
    assert torch.allclose(seen["to_values"], 3 * torch.tensor([[0.1, -0.1, 0.2]]))


def test_relative_errors_are_over_what_is_seen(any_backend: str) -> None:
    """No gradient goes through the denominator, and nothing bends however large the error."""
    targets = replace(black(1), colors=torch.tensor([[1.0, 9.0, 0.5]]))
    with dispatch.using(any_backend):
        seen = loss_of(torch.tensor([[2.0, 1.0, 0.0]]), targets, LossSpec(delta=0.1, relative=0.25))
    each = torch.tensor([1 / 4.25, 64 / 1.25, 0.25 / 0.25])
    assert torch.allclose(seen["loss"], each.sum())
    assert torch.allclose(seen["squared"], each.mean()[None])
    slopes = 3 * 2 * torch.tensor([[1 / 4.25, -8 / 1.25, -0.5 / 0.25]])
    assert torch.allclose(seen["to_values"], slopes)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5])
def test_powers_of_what_is_seen(power: float, any_backend: str) -> None:
    """At power 0 errors are squared, at 1 they are over values."""
    values = torch.tensor([[2.0, 1.0, 4.0]])
    targets = replace(black(1), colors=torch.tensor([[1.0, 9.0, 0.5]]))
    loss = LossSpec(delta=0.1, relative=1e-9, power=power)
    with dispatch.using(any_backend):
        seen = loss_of(values, targets, loss)
    errors = values - targets.colors
    assert torch.allclose(seen["loss"], (errors**2 / values**power).sum())
    assert torch.allclose(seen["to_values"], 3 * 2 * errors / values**power)


def test_at_power_1_a_poor_fit_keeps_the_sum(backend: str) -> None:
    """One exponential for all: at its best the sum is right, at power 2 it is too bright."""
    shape = torch.tensor([[0.5], [1.0], [3.0]])  # of what is seen; the targets are all alike
    sums = {}
    for power in (1.0, 2.0):
        z = torch.zeros(1, requires_grad=True)
        for _ in range(300):
            values = shape * z.exp()
            targets = replace(black(3), colors=torch.ones(3, 1), background=torch.zeros(3, 1))
            with dispatch.using(backend):
                value, _ = ops.color_loss(
                    values, targets, LossSpec(delta=0.1, relative=1e-9, power=power)
                )
            (slope,) = torch.autograd.grad(value, z)
            with torch.no_grad():
                z -= 0.1 * slope
        sums[power] = float((shape * z.detach().exp()).sum())
    assert sums[1.0] == pytest.approx(3.0, rel=1e-3)
    assert sums[2.0] > 4.0


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_noisy_targets_lead_to_their_mean(power: float, any_backend: str) -> None:
    """Not to their median or less, as Huber's loss does, however skewed they are."""
    noise = (2 * torch.randn(4000, 3, generator=generator(7))).exp()
    targets = replace(black(4000), colors=noise)
    mean = noise.mean(dim=0)
    relative = replace(RELATIVE, power=power)

    def slope(values: Tensor, loss: LossSpec) -> Tensor:
        return loss_of(values.expand(4000, 3), targets, loss)["to_values"].sum(0)

    with dispatch.using(any_backend):
        assert (noise.median(0).values < 0.3 * mean).all()
        assert (slope(0.999 * mean, relative) < 0).all()
        assert (slope(1.001 * mean, relative) > 0).all()
        assert (slope(0.5 * mean, HUBER) > 0).all()


def near(distance: Tensor, opacity: Tensor, targets: ColorTargets) -> tuple[Tensor, Tensor]:
    """The distance loss and its gradient."""
    distance = distance.clone().requires_grad_()
    loss = ops.distance_loss(distance, opacity, targets)
    return loss.detach(), torch.autograd.grad(loss, distance)[0]


def test_the_distance_loss_by_hand() -> None:
    """Where it is not known, nothing is there to be seen, or nothing is seen yet, it is zero."""
    distance = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    wanted = torch.tensor([1.0, 1.0, 0.0, torch.inf, 2.0, 2.0])
    opacity = torch.tensor([0.5, 1.0, 1.0, 1.0, 1.0, 0.0])
    there = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    targets = replace(black(6), distance=wanted, opacity=there)
    loss, gradient = near(distance, opacity, replace(targets, weights=torch.full((6,), 3.0)))
    assert torch.allclose(loss, torch.tensor(3 * 0.5 * 1.0 / 6))
    slope = 3 * 0.5 / 6 * (2 * 1.0 * 4 * 1.0 / 16)
    assert torch.allclose(gradient, torch.tensor([slope, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("density", [1e-30, 1e-12, 1.0, 1e6])
def test_distances_in_thin_air_have_finite_gradients(any_backend: str, density: float) -> None:
    """Of a ray through one density all along, before a wall that is known to be near."""
    rays = rays_through_cube(20)
    targets = replace(targets_of(20), distance=torch.full((20,), 0.01), opacity=torch.ones(20))
    with dispatch.using(any_backend):
        samples = ops.march_rays(rays, torch.zeros(20), full_occupancy(), march(), 4000)
        thin = torch.full((4000,), density, requires_grad=True)
        seen = ops.composite(thin, torch.rand(4000, 3), samples, targets.background)
        ops.distance_loss(seen.distance, seen.opacity, targets).backward()
    assert thin.grad is not None and thin.grad.isfinite().all()
    assert thin.grad.abs().max() < 10


@pytest.mark.parametrize("weight", [0.5, 50.0])
def test_the_distance_loss_brings_density_to_the_surface(backend: str, weight: float) -> None:
    """A step against the gradient makes what is seen nearer to where it should be."""
    field = small_field()
    inputs = render_inputs(rays_through_cube(60), full_occupancy())
    parameters = parameters_of(field)
    targets = replace(targets_of(60), weights=torch.ones(60), distance=torch.full((60,), 0.6))
    spec = RenderSpec(field=field, march=march())
    with dispatch.using(backend):
        before = ops.render_rays(inputs, parameters, spec)
        specs = spec, LossSpec(delta=1e-6, distance_weight=weight)
        found = ops.render_loss_gradients(inputs, targets, parameters, specs)[1]
        step = 1e-3 / float(found.density_weights.norm())
        moved = parameters.density_weights - step * found.density_weights
        after = ops.render_rays(inputs, replace(parameters, density_weights=moved), spec)
        losses = [ops.distance_loss(x.distance, x.opacity, targets) for x in (before, after)]
    assert losses[1] < losses[0]


def test_targets_stand_in_front_of_the_same_background(any_backend: str) -> None:
    targets = replace(
        black(2),
        colors=torch.tensor([[0.2, 0.4, 0.6], [0.2, 0.4, 0.6]]),
        opacity=torch.tensor([1.0, 0.25]),
        background=torch.ones(2, 3),
    )
    with dispatch.using(any_backend):
        seen = loss_of(torch.tensor([[0.2, 0.4, 0.6], [0.8, 0.85, 0.9]]), targets, HUBER)
    assert torch.allclose(seen["squared"], torch.zeros(2), atol=1e-12)


def test_rays_of_no_weight_do_not_count(any_backend: str) -> None:
    targets = replace(black(2), weights=torch.tensor([2.0, 0.0]))
    values = torch.tensor([[0.1, 0.0, 0.0], [0.9, 0.9, 0.9]])
    with dispatch.using(any_backend):
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
@pytest.mark.parametrize("num_rays", [0, 1, 700])
def test_render_loss_is_what_its_parts_give(
    any_backend: str, num_rays: int, loss: LossSpec
) -> None:
    with dispatch.using(any_backend), in_float32(any_backend):
        one, other = fitted(True, num_rays, loss), fitted(False, num_rays, loss)
    assert one["counts"].tolist() == other["counts"].tolist()
    for what in one.keys() - {"counts"}:
        scale = other[what].abs().max() if other[what].numel() else 0
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


def test_the_normal_loss_is_how_far_normals_are_from_first_surfaces(backend: str) -> None:
    """Of rays through one wall of no normals at all: their weight, times the target's square."""
    field = small_field(reflection_degree=2, density_bias=9.0)
    parameters = parameters_of(field)
    parameters = replace(parameters, density_weights=0 * parameters.density_weights)
    inputs = render_inputs(rays_through_cube(50), full_occupancy())
    spec = RenderSpec(field=field, march=march())
    targets = targets_of(50)
    with dispatch.using(backend):
        seen = ops.render_rays(inputs, parameters, spec)
        losses = [
            ops.render_loss(inputs, targets, parameters, (spec, LossSpec(delta=0.1, **weight)))
            for weight in ({}, {"normal_weight": 2.0})
        ]
    known = targets.normals.square().sum(1)
    expected = 2 * (seen.opacity * known * targets.opacity * targets.weights).mean()
    assert 0.2 < known.mean() < 0.9
    assert torch.allclose(losses[1].loss - losses[0].loss, expected, rtol=1e-3)


def normal_gradients(num_rays: int, rays_too: bool) -> Outputs:
    """Loss and gradients of fog whose normals are drawn to those of first surfaces."""
    field = small_field(reflection_degree=3, num_conditions=2, density_bias=1.0)
    rays = rays_through_cube(num_rays)
    inputs = render_inputs(rays, occupancy_of(ball(0.4)), 3, 2)
    specs = RenderSpec(field=field, march=march()), LossSpec(delta=0.1, normal_weight=5.0)
    leaves = vars(parameters_of(field))
    if rays_too:
        leaves |= {"origins": rays.origins, "directions": rays.directions}
    for leaf in leaves.values():
        leaf.requires_grad_()
    weights = {name: leaves[name] for name in ("table", "density_weights", "color_weights")}
    seen = ops.render_loss(inputs, targets_of(num_rays), FieldParameters(**weights), specs)
    found = torch.autograd.grad(seen.loss, list(leaves.values()))
    return {"loss": seen.loss.detach(), **dict(zip(leaves, found, strict=True))}


@pytest.mark.parametrize("num_rays", [1, 700])
@pytest.mark.parametrize("rays_too", [False, True])
def test_normal_loss_of_every_backend(backend: str, num_rays: int, rays_too: bool) -> None:
    with dispatch.using(backend):
        actual = normal_gradients(num_rays, rays_too)
    expected = remembered(lambda: normal_gradients(num_rays, rays_too))
    for name, value in expected.items():
        tolerance = parity(backend, "render" if name == "loss" else "render gradients")
        assert_close(actual[name], value, tolerance, name)


def faded_gradients(near_fade: float, num_rays: int, roulette: float = 0.0) -> Outputs:
    """Loss and all gradients of fog of which what is near learns more slowly."""
    field = small_field(num_conditions=2)
    rays = rays_through_cube(num_rays)
    inputs = render_inputs(rays, occupancy_of(ball(0.4)), 3, 2)
    loss = LossSpec(
        delta=0.1,
        distortion_weight=0.2,
        distance_weight=0.3,
        near_fade=near_fade,
        roulette=roulette,
    )
    leaves = vars(parameters_of(field)) | {"origins": rays.origins, "directions": rays.directions}
    leaves |= {"conditions": inputs.conditions}
    for leaf in leaves.values():
        leaf.requires_grad_()
    weights = {name: leaves[name] for name in ("table", "density_weights", "color_weights")}
    specs = RenderSpec(field=field, march=march()), loss
    seen = ops.render_loss(inputs, targets_of(num_rays), FieldParameters(**weights), specs)
    found = torch.autograd.grad(seen.loss, list(leaves.values()))
    return {"loss": seen.loss.detach(), **dict(zip(leaves, found, strict=True))}


@pytest.mark.parametrize("num_rays", [1, 700])
@pytest.mark.parametrize("near_fade", [0.3, 50.0])
def test_near_samples_fade_in_every_backend(backend: str, num_rays: int, near_fade: float) -> None:
    with dispatch.using(backend):
        actual = faded_gradients(near_fade, num_rays)
    expected = remembered(lambda: faded_gradients(near_fade, num_rays))
    for name, value in expected.items():
        tolerance = parity(backend, "render" if name == "loss" else "render gradients")
        assert_close(actual[name], value, tolerance, name)


def test_what_is_near_learns_by_the_square_of_its_distance(any_backend: str) -> None:
    """All samples lie within reach: twice the reach is a quarter of every gradient."""
    with dispatch.using(any_backend):
        none, near, nearer, beyond = (faded_gradients(x, 20) for x in (0.0, 10.0, 20.0, 1e-6))
    assert near["loss"] == nearer["loss"] == none["loss"]
    for what in near.keys() - {"loss"}:
        scale = float(near[what].abs().max())
        assert 0 < scale < 0.2 * float(none[what].abs().max())
        assert torch.allclose(4 * nearer[what], near[what], rtol=1e-2, atol=1e-3 * scale)
        assert torch.allclose(beyond[what], none[what], rtol=1e-6, atol=1e-6 * scale)


def test_fading_changes_no_value() -> None:
    density = torch.tensor([torch.inf, 0.1, 1e-30], requires_grad=True)
    faded, _ = faded_near(density, torch.rand(3, 2), torch.tensor([0.1, 0.2, 5.0]), 1.0)
    assert torch.equal(faded, density)
    (found,) = torch.autograd.grad(faded, density, torch.ones(3))
    torch.testing.assert_close(found, torch.tensor([0.01, 0.04, 1.0]))
