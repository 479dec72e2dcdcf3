"""What is no number in a field's parameters is none in what rays see, so that training notices."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FieldParameters
from neural_render.kernels.specs import LossSpec, RenderSpec
from tests.kernels.problems import (
    full_occupancy,
    march,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    targets_of,
)

FIELD = small_field()


def spoilt(name: str) -> FieldParameters:
    """Parameters of which all of one tensor are NaN."""
    parameters = parameters_of(FIELD)
    wrong: Tensor = getattr(parameters, name)
    return replace(parameters, **{name: torch.full_like(wrong, torch.nan)})


@pytest.mark.parametrize("broken", ["table", "density_weights", "color_weights"])
def test_it_is_seen_and_is_in_the_loss(any_backend: str, broken: str) -> None:
    inputs = render_inputs(rays_through_cube(40), full_occupancy())
    spec = RenderSpec(field=FIELD, march=march())
    parameters, loss = spoilt(broken), LossSpec(delta=0.1)
    with dispatch.using(any_backend):
        seen = ops.render_rays(inputs, parameters, spec)
        fit, _ = ops.render_loss_gradients(inputs, targets_of(40), parameters, (spec, loss))
    assert seen.values.isnan().any() and fit.loss.isnan()
