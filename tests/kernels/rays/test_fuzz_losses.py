"""Random losses of random targets: every module beside the reference."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import ColorTargets, FieldParameters
from neural_render.kernels.specs import FieldSpec, LossSpec, RenderSpec
from tests.kernels.comparison import Outputs
from tests.kernels.cpu.fuzzing import LAYOUTS, allowed, assert_all_close, fields, on_all
from tests.kernels.cpu.test_fuzz_rays import GRADIENTS, VALUES, Layout, occupancy_called
from tests.kernels.problems import (
    generator,
    march,
    parameters_of,
    rays_through_cube,
    render_inputs,
    targets_of,
)
from tests.kernels.tolerances import assert_close

pytestmark = pytest.mark.skipif(
    bool(dispatch.unavailable_reason("cpu")), reason="the native kernels are not installed here"
)
SIZES = st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 1e4])
LOSSES = st.builds(
    LossSpec,
    delta=st.sampled_from([1e-3, 0.1, 10.0]),
    relative=st.sampled_from([0.0, 1e-4, 0.01, 1.0]),
    power=st.sampled_from([1.0, 1.5, 2.0]),
    distortion_weight=st.sampled_from([0.0, 0.1]),
    distance_weight=st.sampled_from([0.0, 0.5]),
    normal_weight=st.sampled_from([0.0, 0.5]),
    near_fade=st.sampled_from([0.0, 0.5, 2.0]),
)


def random_targets(num_rays: int, channels: int, size: float, layout: Layout) -> ColorTargets:
    """Colours of some size, distances of which some are not known, all laid out in memory."""
    targets = targets_of(num_rays, channels)
    targets = dataclasses.replace(targets, colors=size * targets.colors)
    tensors = {k: layout(v) for k, v in vars(targets).items() if isinstance(v, Tensor)}
    return dataclasses.replace(targets, **tensors)


@settings(max_examples=40)
@given(st.integers(0, 40), st.integers(1, 9), SIZES, SIZES, LOSSES, LAYOUTS)
def test_color_loss(
    num_rays: int, channels: int, size: float, seen: float, loss: LossSpec, layout: Layout
) -> None:
    def compute() -> Outputs:
        values = seen * torch.rand(num_rays, channels, generator=generator(6))
        values = layout(values).requires_grad_()
        targets = random_targets(num_rays, channels, size, layout)
        value, squared = ops.color_loss(values, targets, loss)
        (to_values,) = torch.autograd.grad(value, values)
        return {"loss": value.detach(), "squared": squared, "to_values": to_values}

    assert_all_close(compute, precision="float32", floor=1e-9)


@settings(max_examples=20)
@given(
    fields(),
    st.sampled_from([1, 3, 40, 300]),
    st.sampled_from(["full", "ball", "empty"]),
    LOSSES,
    LAYOUTS,
)
def test_render_loss(
    field: FieldSpec, num_rays: int, occupied: str, loss: LossSpec, layout: Layout
) -> None:
    """Of some of the field's channels, with all gradients."""
    inputs = render_inputs(
        rays_through_cube(num_rays), occupancy_called(occupied, 1), 3, field.num_conditions
    )
    field = dataclasses.replace(field, num_channels=4)
    targets = dataclasses.replace(random_targets(num_rays, 3, 1.0, layout), first_channel=1)
    specs = RenderSpec(field=field, march=march()), loss

    def compute() -> Outputs:
        leaves = {k: layout(v).requires_grad_() for k, v in vars(parameters_of(field)).items()}
        seen = ops.render_loss(inputs, targets, FieldParameters(**leaves), specs)
        found = torch.autograd.grad(seen.loss, list(leaves.values()))
        gradients = {f"to_{name}": g for name, g in zip(leaves, found, strict=True)}
        return {"loss": seen.loss.detach(), "squared": seen.squared, **gradients}

    everything, expected = on_all(compute)
    for name, actual in everything.items():
        for what, value in expected.items():
            tolerance = allowed(name, GRADIENTS if what.startswith("to_") else VALUES).of_whole()
            assert_close(actual[what], value, tolerance, f"{name}, {what}", parts=num_rays)
