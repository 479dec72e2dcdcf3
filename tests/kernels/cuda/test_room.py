"""A loss with room for so many samples: nobody waits for counts, and what finds none counts not."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("triton", reason="Triton is not installed here")

import torch
from torch import Tensor

from neural_render.kernels import cuda, dispatch, ops
from neural_render.kernels.records import ColorTargets, RenderGradients, RenderInputs, RenderLoss
from neural_render.kernels.specs import AdamSpec, LossSpec, RenderSpec
from tests.kernels.cuda.on_device import moved
from tests.kernels.cuda.waiting import no_waiting
from tests.kernels.problems import (
    full_occupancy,
    march,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    targets_of,
)

Specs = tuple[RenderSpec, LossSpec]
RAYS, FITTING = 40, 25


def specs_of(normal_weight: float, **field: int) -> Specs:
    """Of a small field, with the errors of its distances."""
    loss = LossSpec(delta=0.1, distance_weight=0.1, normal_weight=normal_weight)
    return RenderSpec(field=small_field(**field), march=march(step=0.02)), loss


COLORS, NORMALS = specs_of(0.0), specs_of(5.0, reflection_degree=3)
of_each_loss = pytest.mark.parametrize("specs", [COLORS, NORMALS], ids=["colors", "normals"])


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    """As the reference computes, also on a GPU."""
    before = cuda.precision()
    cuda.set_precision("float32")
    yield
    cuda.set_precision(before)


needs_no_gpu = pytest.mark.skipif(not cuda.is_interpreted(), reason="tests move tensors there")


def inputs_of(num_rays: int) -> tuple[RenderInputs, ColorTargets]:
    """The first rays of all."""
    inputs, targets = render_inputs(rays_through_cube(RAYS), full_occupancy()), targets_of(RAYS)
    first = {
        name: getattr(targets, name)[:num_rays]
        for name in ("colors", "opacity", "background", "weights", "distance", "normals")
    }
    return RenderInputs(
        rays=inputs.rays[:num_rays],
        jitter=inputs.jitter[:num_rays],
        background=inputs.background[:num_rays],
        conditions=inputs.conditions[:num_rays],
        occupancy=inputs.occupancy,
    ), replace(targets, **first)


def with_room(specs: Specs, room: int) -> Specs:
    return specs[0], replace(specs[1], room=room)


def loss_of(
    specs: Specs, backend: str, num_rays: int, room: int = 0
) -> tuple[RenderLoss, RenderGradients]:
    """The loss of the first rays, and all gradients."""
    inputs, targets = inputs_of(num_rays)
    given = parameters_of(specs[0].field), with_room(specs, room)
    with dispatch.using(backend):
        return ops.render_loss_gradients(inputs, targets, *given, rays_too=True)


def gradients_of(found: RenderGradients) -> dict[str, Tensor]:
    """Those to all parameters, and to the rays that may find room."""
    field = COLORS[0].field
    table = parameters_of(field).table
    dense = dispatch.load("reference").scatter_table_gradient(found.table, table, field.grid)
    rays = {"origins": found.origins[:FITTING], "directions": found.directions[:FITTING]}
    weights = {"density": found.density_weights, "color": found.color_weights}
    return {"table": dense, **weights, **rays}


def assert_same(one: RenderGradients, other: RenderGradients) -> None:
    expected = gradients_of(other)
    for name, gradient in gradients_of(one).items():
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error < 1e-4, f"{name}: {error}"


@of_each_loss
def test_with_room_for_all_it_is_the_same_loss(specs: Specs) -> None:
    found, gradients = loss_of(specs, "cuda", RAYS, 1000)
    expected, to_all = loss_of(specs, "reference", RAYS)
    assert torch.allclose(found.loss, expected.loss, rtol=1e-5)
    assert torch.allclose(found.squared, expected.squared, atol=1e-5)
    assert found.num_survived == expected.num_survived
    assert_same(gradients, to_all)


@of_each_loss
def test_rays_that_find_no_room_count_for_nothing(specs: Specs) -> None:
    """The others count as if there were no more of them; an unknown error is an average one."""
    expected, to_all = loss_of(specs, "reference", FITTING)
    found, gradients = loss_of(specs, "cuda", RAYS, int(expected.num_survived))
    assert torch.allclose(found.loss, expected.loss, rtol=1e-5)
    assert found.num_survived == expected.num_survived
    assert torch.allclose(found.squared[:FITTING], expected.squared, atol=1e-5)
    assert found.num_fitting == FITTING
    mean = expected.squared.mean().expand(RAYS - FITTING)
    assert torch.allclose(found.squared[FITTING:], mean, atol=1e-5)
    assert_same(gradients, to_all)
    assert not gradients.origins[FITTING:].any() and not gradients.directions[FITTING:].any()


@of_each_loss
def test_where_no_ray_finds_room_nothing_is_learnt(specs: Specs) -> None:
    found, gradients = loss_of(specs, "cuda", RAYS, room=1)
    assert found.loss == 0 and found.num_survived == 0 and (found.squared == 0).all()
    assert not any(gradient.any() for gradient in gradients_of(gradients).values())


@needs_no_gpu
@of_each_loss
def test_nobody_waits_for_counts(specs: Specs) -> None:
    with no_waiting():
        found, _ = loss_of(specs, "cuda", RAYS, 1000)
    assert found.loss > 0
    with pytest.raises(AssertionError, match="a host waits for"), no_waiting():
        loss_of(specs, "cuda", RAYS)


@pytest.mark.skipif(cuda.is_interpreted(), reason="there is no GPU to wait for")
@of_each_loss
def test_on_a_gpu_nobody_waits_either(specs: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch says so itself, once kernels are compiled and what stays there is there."""
    monkeypatch.setitem(dispatch.BACKENDS, "cuda", "neural_render.kernels.cuda")
    field = specs[0].field
    given = (*inputs_of(RAYS), parameters_of(field))
    inputs, targets, parameters = moved(given, lambda tensor: tensor.cuda())
    second = torch.zeros(len(parameters.table), device="cuda")
    adam = AdamSpec(learning_rate=0.01, step=1)
    for mode in ("default", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            specs = with_room(specs, 1000)
            with dispatch.using("cuda"):
                _, found = cuda.render_loss(inputs, targets, parameters, specs, False)
            cuda.table_adam_step(parameters.table, second, found.table, field.grid, adam)
        finally:
            torch.cuda.set_sync_debug_mode("default")
