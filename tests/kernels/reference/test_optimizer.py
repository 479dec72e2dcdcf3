"""Adam, against PyTorch's and by hand."""

import pytest
import torch
from torch import Tensor

from neural_render.kernels import ops
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.reference.encoding import scatter_table_gradient
from neural_render.kernels.specs import AdamSpec
from tests.kernels.problems import generator, small_grid
from tests.kernels.tolerances import CLOSED_FORM, assert_close

CLOSE = CLOSED_FORM[torch.float64]


def zeros_like_twice(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Fresh moments."""
    return torch.zeros_like(tensor), torch.zeros_like(tensor)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_is_pytorchs(weight_decay: float) -> None:
    """Ten steps, with L2 decay."""
    ours = torch.randn(5, 3, generator=generator(0), dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    optimizer = torch.optim.Adam(
        [theirs], lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=weight_decay
    )
    moments = zeros_like_twice(ours)
    for step in range(1, 11):
        gradient = torch.randn(5, 3, generator=generator(step), dtype=torch.float64)
        theirs.grad = gradient.clone()
        optimizer.step()
        spec = AdamSpec(learning_rate=0.01, step=step, epsilon=1e-8, weight_decay=weight_decay)
        ops.adam_step(ours, moments, gradient, spec)
    assert_close(ours, theirs.detach(), CLOSE)


def test_first_step_by_hand() -> None:
    """Bias correction makes the first step ``learning_rate * sign(gradient)``."""
    parameter = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
    gradient = torch.tensor([3.0, -1e-9, 0.0], dtype=torch.float64)
    moments = zeros_like_twice(parameter)
    ops.adam_step(parameter, moments, gradient, AdamSpec(learning_rate=0.5, step=1))
    assert parameter.tolist() == pytest.approx([0.5, 1.5, 1.0], abs=1e-5)
    assert moments[0].tolist() == pytest.approx([0.3, -1e-10, 0.0])


def test_rows_of_zero_gradient_are_left_alone() -> None:
    """Neither moments nor decay touch them; a row with one non-zero entry is a row as any other."""
    shape = 4, 2
    parameter = torch.rand(shape, generator=generator(1), dtype=torch.float64)
    moments = (torch.full_like(parameter, 0.1), torch.full_like(parameter, 0.2))
    before = [tensor.clone() for tensor in (parameter, *moments)]
    gradient = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-0.0, 0.0], [2.0, 3.0]]).double()
    spec = AdamSpec(learning_rate=0.1, step=7, weight_decay=0.5)
    ops.adam_step(parameter, moments, gradient, spec, skip_zeros=True)
    for after, old in zip((parameter, *moments), before, strict=True):
        assert torch.equal(after[[0, 2]], old[[0, 2]])
        assert (after[[1, 3]] != old[[1, 3]]).all()
    everywhere = [tensor.clone() for tensor in before]
    ops.adam_step(everywhere[0], (everywhere[1], everywhere[2]), gradient, spec)
    assert torch.equal(everywhere[0][[1, 3]], parameter[[1, 3]])
    assert (everywhere[0][[0, 2]] != before[0][[0, 2]]).all()


def test_table_step_is_a_scatter_and_a_step() -> None:
    """Rows that no point touches stay as they are, bit for bit."""
    grid = small_grid()
    table = torch.rand(grid.num_rows, 2, generator=generator(1), dtype=torch.float64)
    points = torch.rand(40, 3, generator=generator(2), dtype=torch.float64) * 0.5
    features = torch.randn(grid.num_outputs, 40, generator=generator(3), dtype=torch.float64)
    gradient = FactoredGradient(points=points, features=features)
    dense = scatter_table_gradient(gradient, table, grid)
    untouched = (dense == 0).all(-1)
    assert 0 < untouched.sum() < len(untouched)
    expected, moments, expected_moments = (
        table.clone(),
        zeros_like_twice(table),
        zeros_like_twice(table),
    )
    before = table.clone()
    for step in (1, 2, 3):
        spec = AdamSpec(learning_rate=0.01, step=step, weight_decay=1e-3)
        ops.table_adam_step(table, moments, gradient, grid, spec)
        ops.adam_step(expected, expected_moments, dense, spec, skip_zeros=True)
    for ours, theirs in zip((table, *moments), (expected, *expected_moments), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(table[untouched], before[untouched])
    assert (table[~untouched] != before[~untouched]).all()
