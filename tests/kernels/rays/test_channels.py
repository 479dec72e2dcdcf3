"""Targets that are some of a field's channels: a full render's loss that looks at these alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import ColorTargets, FieldParameters, RenderInputs
from neural_render.kernels.specs import FieldSpec, LossSpec, RenderSpec
from tests.kernels.comparison import Outputs, assert_parity
from tests.kernels.problems import (
    ball,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    targets_of,
)
from tests.kernels.tolerances import assert_close, parity

LOSS = LossSpec(delta=0.1, relative=0.01, distortion_weight=0.2, distance_weight=0.3)
NAMES = ("table", "density_weights", "color_weights")


def problem(field: FieldSpec, first: int, num: int) -> tuple[RenderInputs, ColorTargets]:
    """Rays before a ball, with targets in ``num`` channels."""
    inputs = render_inputs(
        rays_through_cube(60), occupancy_of(ball(0.4)), field.num_channels, field.num_conditions
    )
    targets = replace(targets_of(60, num), first_channel=first)
    return inputs, replace(targets, background=inputs.background[:, first : first + num])


def leaves_of(field: FieldSpec) -> FieldParameters:
    parameters = parameters_of(field)
    return FieldParameters(**{name: vars(parameters)[name].requires_grad_() for name in NAMES})


def gradients(loss: Tensor, parameters: FieldParameters) -> Outputs:
    found = torch.autograd.grad(loss, [vars(parameters)[name] for name in NAMES])
    return {f"to_{name}": value for name, value in zip(NAMES, found, strict=True)}


def masked(field: FieldSpec, first: int, num: int) -> Outputs:
    """Of all channels being rendered."""
    inputs, targets = problem(field, first, num)
    parameters = leaves_of(field)
    seen = ops.render_rays(inputs, parameters, RenderSpec(field=field, march=march()))
    seen = replace(seen, values=seen.values[:, first : first + num])
    loss, squared = ops.output_loss(seen, targets, LOSS)
    return {"loss": loss.detach(), "squared": squared.detach(), **gradients(loss, parameters)}


def narrow(field: FieldSpec, first: int, num: int) -> Outputs:
    """Of the targets' channels alone."""
    inputs, targets = problem(field, first, num)
    inputs = replace(inputs, background=targets.background)
    parameters, specs = leaves_of(field), (RenderSpec(field=field, march=march()), LOSS)
    seen = ops.render_loss(inputs, targets, parameters, specs)
    found = gradients(seen.loss, parameters)
    same, without_autograd = ops.render_loss_gradients(inputs, targets, parameters, specs)
    assert torch.equal(same.loss, seen.loss) and torch.equal(same.squared, seen.squared)
    for name in ("density_weights", "color_weights"):
        assert torch.equal(vars(without_autograd)[name], found[f"to_{name}"])
    return {"loss": seen.loss.detach(), "squared": seen.squared, **found}


@pytest.mark.parametrize(("first", "num"), [(0, 3), (3, 3), (6, 3), (2, 5), (0, 9), (8, 1)])
@pytest.mark.parametrize("layers", [0, 2])
def test_it_is_what_a_render_of_all_gives(
    any_backend: str, first: int, num: int, layers: int
) -> None:
    field = small_field(num_channels=9, num_conditions=2, color_layers=layers, radiance="exp")
    with dispatch.using(any_backend):
        one, other = narrow(field, first, num), masked(field, first, num)
        hidden, rows = field.color_rows(first, num)
    for what, value in other.items():
        kind = "render gradients" if what.startswith("to_") else "render"
        like = "cpu" if any_backend == "reference" else any_backend
        tolerance = parity(like, kind, dispatch.load(any_backend).precision()).of_whole()
        assert_close(one[what], value, tolerance, f"{any_backend}, {what}", parts=60)
    elsewhere = one["to_color_weights"].clone()
    assert elsewhere[rows].any()
    elsewhere[hidden], elsewhere[rows] = 0, 0
    assert not elsewhere.any()


def test_every_backend_agrees(backend: str) -> None:
    field = small_field(num_channels=6, num_conditions=1, radiance="exp")
    kinds = ("render", "render gradients")
    assert_parity(backend, lambda: narrow(field, 3, 3), kinds=kinds, parts=60)


@pytest.mark.parametrize("first", [-1, 4])
def test_channels_that_a_field_does_not_have_are_an_error(first: int) -> None:
    with pytest.raises(AssertionError, match="no such channels"):
        small_field(num_channels=6).color_rows(first, 3)
