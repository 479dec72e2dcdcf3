"""Gradients of a loss without autograd, and the table's that is put together only where asked."""

import gc
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.cpu import modules
from neural_render.kernels.cpu.losses import ChunkedGradient
from neural_render.kernels.records import FactoredGradient, FieldParameters, RenderGradients
from neural_render.kernels.specs import AdamSpec, FieldSpec, LossSpec, RenderSpec
from tests.kernels.comparison import instruction_set
from tests.kernels.problems import (
    ball,
    empty_occupancy,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    small_grid,
    targets_of,
)

FIELD = small_field(num_conditions=2)
RUNNABLE = () if dispatch.unavailable_reason("cpu") else modules.runnable()


def gradients_of(
    num_rays: int = 100, seed: int = 0, field: FieldSpec = FIELD, occupancy: Tensor | None = None
) -> RenderGradients:
    """Of a small problem, by the active backend; another seed is another problem."""
    bits = occupancy_of(ball(0.4)) if occupancy is None else occupancy
    rays = rays_through_cube(num_rays + seed)
    rays = replace(rays, footprint=torch.full((num_rays + seed,), 0.01))
    inputs = render_inputs(rays, bits, field.num_channels, field.num_conditions)
    specs = RenderSpec(field=field, march=march()), LossSpec(delta=0.1)
    targets = targets_of(num_rays + seed, field.num_channels)
    return ops.render_loss_gradients(inputs, targets, parameters_of(field), specs)[1]


def plain(gradient: FactoredGradient) -> FactoredGradient:
    """The same as two tensors."""
    return FactoredGradient(points=gradient.points.clone(), features=gradient.features.clone())


def stepped(gradient: FactoredGradient, field: FieldSpec = FIELD) -> tuple[Tensor, Tensor]:
    """Table and second moments after two steps of Adam."""
    table, second = parameters_of(field).table, torch.zeros(field.grid.num_rows)
    for step in (1, 2):
        adam = AdamSpec(learning_rate=0.01, step=step)
        ops.table_adam_step(table, second, gradient, field.grid, adam)
    return table, second


def assert_same_steps(some: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    """Bit for bit, and not none at all."""
    assert some[1].any()
    assert all(torch.equal(one, another) for one, another in zip(some, other, strict=True))


@pytest.mark.parametrize("num_rays", [1, 100, 700])
def test_they_are_what_autograd_finds(any_backend: str, num_rays: int) -> None:
    inputs = render_inputs(rays_through_cube(num_rays), occupancy_of(ball(0.4)), 3, 2)
    parameters, targets = parameters_of(FIELD), targets_of(num_rays)
    specs = RenderSpec(field=FIELD, march=march()), LossSpec(delta=0.1, distortion_weight=0.3)
    with dispatch.using(any_backend):
        seen, found = ops.render_loss_gradients(inputs, targets, parameters, specs)
        leaves = {key: value.clone().requires_grad_() for key, value in vars(parameters).items()}
        conditions = inputs.conditions.clone().requires_grad_()
        given = replace(inputs, conditions=conditions)
        kept = ops.render_loss(given, targets, FieldParameters(**leaves), specs)
        kept.loss.backward()
        scatter = dispatch.active().scatter_table_gradient
        table = scatter(found.table, parameters.table, FIELD.grid)
    assert torch.equal(seen.loss, kept.loss.detach()) and not seen.loss.requires_grad
    assert torch.equal(seen.squared, kept.squared)
    for ours, theirs in (
        (table, leaves["table"].grad),
        (found.density_weights, leaves["density_weights"].grad),
        (found.color_weights, leaves["color_weights"].grad),
        (found.conditions, conditions.grad),
    ):
        assert theirs is not None and theirs.any()
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("features", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("num_rays", [1, 7, 700])
def test_a_chunked_gradient_is_its_points_and_features(
    backend: str, features: int, num_rays: int
) -> None:
    """For Adam, bit for bit, asked for its tensors before or not; and for a scatter."""
    field = small_field(grid=small_grid(features=features))
    with dispatch.using(backend):
        chunked = gradients_of(num_rays, field=field).table
        assert_same_steps(stepped(chunked, field), stepped(plain(chunked), field))
        assert_same_steps(stepped(chunked, field), stepped(plain(chunked), field))
        table = parameters_of(field).table
        scatter = dispatch.active().scatter_table_gradient
        assert torch.equal(
            scatter(chunked, table, field.grid), scatter(plain(chunked), table, field.grid)
        )


def test_what_fills_whole_vectors_touches_no_row(backend: str) -> None:
    """Points in the middle of the cube, of zero gradient: no ray passes near it here."""
    if backend in dispatch.ON_GPU:
        pytest.skip("nothing fills vectors there")
    rays = rays_through_cube(37)
    rays = replace(rays, origins=rays.origins * 0 + torch.tensor([0.1, 0.1, -1.0]))
    rays = replace(rays, directions=rays.directions * 0 + torch.tensor([0.0, 0.0, 1.0]))
    inputs = render_inputs(rays, occupancy_of(lambda points: points[:, 0] < 0.3))
    field = small_field()
    specs = RenderSpec(field=field, march=march()), LossSpec(delta=0.1)
    with dispatch.using(backend):
        given = inputs, targets_of(37), parameters_of(field), specs
        seen, found = ops.render_loss_gradients(*given)
        table = stepped(found.table, field)[0]
    points, features = found.table.points, found.table.features
    real = points[:, 0] < 0.3
    assert int(real.sum()) == int(seen.num_survived) < len(points)
    assert (points[~real] == 0.5).all() and not features[:, ~real].any()
    with dispatch.using("reference"):
        kept = FactoredGradient(points=points[real], features=features[:, real])
        expected = stepped(kept, field)[0]
    before = parameters_of(field).table
    assert torch.equal((table != before).any(1), (expected != before).any(1))


def test_without_survivors_nothing_is_touched(backend: str) -> None:
    with dispatch.using(backend):
        for found in (gradients_of(50, occupancy=empty_occupancy()), gradients_of(0)):
            assert found.table.points.shape == (0, 3)
            assert found.table.features.shape == (FIELD.grid.num_outputs, 0)
            table, second = stepped(found.table)
            assert torch.equal(table, parameters_of(FIELD).table) and not second.any()


def test_two_gradients_live_side_by_side(backend: str) -> None:
    """In either order, the first one's memory never being the second's."""
    with dispatch.using(backend):
        alone = [stepped(gradients_of(100, seed).table) for seed in (0, 9)]
        one, other = gradients_of(100, 0).table, gradients_of(100, 9).table
        for _ in range(2):
            assert_same_steps(stepped(other), alone[1])
            assert_same_steps(stepped(one), alone[0])
        del one
        gc.collect()
        third = gradients_of(100, 20).table
        assert_same_steps(stepped(other), alone[1])
        assert third.points.isfinite().all()


def test_a_gradient_outlives_later_calls(backend: str) -> None:
    """Of the same field, of others, larger and smaller ones, on other numbers of threads."""
    module = dispatch.load(backend)
    try:
        with dispatch.using(backend):
            expected = stepped(gradients_of().table)
            kept, late = gradients_of().table, gradients_of().table
            for seed in range(1, 30):
                module.set_threads(1 + seed % 3)
                gradients_of(5 + 40 * (seed % 5), seed)
                gradients_of(9, field=small_field())
            gc.collect()
            assert_same_steps(stepped(kept), expected)
            assert_same_steps(stepped(plain(late)), expected)
    finally:
        module.set_threads(dispatch.usable_cores())


@pytest.mark.parametrize("first", RUNNABLE)
@pytest.mark.parametrize("then", RUNNABLE)
def test_a_gradient_outlives_its_instruction_set(first: str, then: str) -> None:
    """Another module takes it as tensors, which the first one still puts together."""
    with dispatch.using("cpu"):
        with instruction_set(first):
            gradient = gradients_of().table
            assert isinstance(gradient, ChunkedGradient)
        with instruction_set(then):
            gradients_of(200)
            found = stepped(gradient)
            assert_same_steps(found, stepped(plain(gradient)))
        with instruction_set(first):
            own = stepped(gradient)
    # Each sums in the same order; the step's root and quotient may be of other roundings.
    for one, other in zip(found, own, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_another_grid_of_the_same_size_is_not_taken_for_its_own(backend: str) -> None:
    """The hash differs, and so do the rows."""
    xor = small_field(num_conditions=2, grid=small_grid(hash="xor"))
    assert isinstance(FIELD.grid.num_rows, int) and xor.grid.num_outputs == FIELD.grid.num_outputs
    with dispatch.using(backend):
        gradient = gradients_of().table
        assert_same_steps(stepped(gradient, xor), stepped(plain(gradient), xor))


def test_the_reference_understands_it(backend: str) -> None:
    with dispatch.using(backend):
        gradient = gradients_of().table
        own = dispatch.active().scatter_table_gradient(
            gradient, parameters_of(FIELD).table, FIELD.grid
        )
    scatter = dispatch.load("reference").scatter_table_gradient
    dense = scatter(gradient, parameters_of(FIELD).table, FIELD.grid)
    assert torch.allclose(own, dense, rtol=1e-4, atol=1e-5 * float(dense.abs().max()))
