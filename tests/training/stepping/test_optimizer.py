"""One step on all parameters of a field, whichever way their gradients were found."""

import pytest
import torch

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.specs import AdamSpec
from neural_render.training.stepping.optimizer import new_moments, optimizer_step
from tests.training.problems import tiny_field

ADAM = AdamSpec(learning_rate=0.01, step=1)


def finished_step(*arguments):
    """A step of which nothing goes on."""
    optimizer_step(*arguments)
    ops.finish()


@pytest.fixture
def gradients():
    """Random ones for the tiny field, the table's at random points."""
    random = torch.Generator().manual_seed(1)
    field = tiny_field()
    found = {
        name: torch.randn(parameter.shape, generator=random)
        for name, parameter in field.named_parameters()
    }
    found["table"] = FactoredGradient(
        points=torch.rand(50, 3, generator=random),
        features=torch.randn(field.spec.grid.num_outputs, 50, generator=random),
    )
    return found


def test_moments_have_the_names_of_a_checkpoint():
    """The table has one second moment for each row, and no first one."""
    field = tiny_field()
    moments = new_moments(field)
    assert {name: list(tensor.shape) for name, tensor in moments.items()} == {
        "moment2.table": [field.spec.grid.num_rows],
        "moment1.density_weights": list(field.density_weights.shape),
        "moment2.density_weights": list(field.density_weights.shape),
        "moment1.color_weights": list(field.color_weights.shape),
        "moment2.color_weights": list(field.color_weights.shape),
    }
    assert not any(tensor.any() or tensor.requires_grad for tensor in moments.values())
    assert all(tensor.is_contiguous() for tensor in moments.values())


def test_a_dense_gradient_of_the_table_is_worth_a_factored_one(gradients):
    one, other = tiny_field(), tiny_field()
    mine, theirs = new_moments(one), new_moments(other)
    with dispatch.using(dispatch.resolve("auto")) as kernels:
        finished_step(one, mine, gradients, ADAM, 0.0)
        dense = kernels.scatter_table_gradient(gradients["table"], other.table, other.spec.grid)
        finished_step(other, theirs, gradients | {"table": dense}, ADAM, 0.0)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, dict(other.named_parameters())[name])
        assert not torch.equal(parameter, dict(tiny_field().named_parameters())[name])
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def test_only_networks_decay(gradients):
    plain, decayed = tiny_field(), tiny_field()
    finished_step(plain, new_moments(plain), gradients, ADAM, 0.0)
    finished_step(decayed, new_moments(decayed), gradients, ADAM, 10.0)
    assert torch.equal(plain.table, decayed.table)
    assert not torch.equal(plain.color_weights, decayed.color_weights)
    expected = tiny_field().color_weights.detach().clone()
    spec = AdamSpec(learning_rate=0.01, step=1, weight_decay=10.0)
    moments = torch.zeros_like(expected), torch.zeros_like(expected)
    ops.adam_step(expected, moments, gradients["color_weights"], spec)
    assert torch.equal(decayed.color_weights, expected)
