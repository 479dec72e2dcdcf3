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


def test_first_step_of_rows_by_hand() -> None:
    """Each row as a whole goes as far as ``learning_rate``, the root mean square of its entries."""
    table = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    gradient = torch.tensor([[3.0, 4.0], [0.0, -1e-9], [0.0, 0.0]], dtype=torch.float64)
    second = torch.tensor([0.0, 0.0, 7.0], dtype=torch.float64)
    ops.row_adam_step(table, second, gradient, AdamSpec(learning_rate=0.5, step=1))
    root = 12.5**0.5
    assert table[0].tolist() == pytest.approx([1 - 1.5 / root, 1 - 2 / root])
    assert table[1].tolist() == pytest.approx([1, 1 + 0.5 * 2**0.5], rel=1e-5)
    assert table[2].tolist() == [1, 1]
    assert second.tolist() == pytest.approx([0.125, 5e-21, 7])


def test_rows_of_one_feature_take_pytorchs_steps_without_its_first_moment() -> None:
    ours = torch.randn(5, 1, generator=generator(0), dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.01, betas=(0.0, 0.99), eps=1e-8)
    second = torch.zeros(5, dtype=torch.float64)
    for step in range(1, 11):
        gradient = torch.randn(5, 1, generator=generator(step), dtype=torch.float64)
        theirs.grad = gradient.clone()
        optimizer.step()
        ops.row_adam_step(
            ours, second, gradient, AdamSpec(learning_rate=0.01, step=step, epsilon=1e-8)
        )
    assert_close(ours, theirs.detach(), CLOSE)


def test_rows_of_zero_gradient_are_left_alone() -> None:
    """Nor do they decay; a row with one non-zero entry is a row as any other."""
    table = torch.rand(4, 2, generator=generator(1), dtype=torch.float64)
    second = torch.full((4,), 0.2, dtype=torch.float64)
    before = table.clone(), second.clone()
    gradient = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-0.0, 0.0], [2.0, 3.0]]).double()
    ops.row_adam_step(
        table, second, gradient, AdamSpec(learning_rate=0.1, step=7, weight_decay=0.5)
    )
    assert torch.equal(table[[0, 2]], before[0][[0, 2]])
    assert torch.equal(second[[0, 2]], before[1][[0, 2]])
    assert table[1, 0] != before[0][1, 0] and table[1, 1] == before[0][1, 1]
    assert (table[3] != before[0][3]).all() and (second[[1, 3]] != before[1][[1, 3]]).all()


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
    second, expected = torch.zeros(len(table), dtype=torch.float64), table.clone()
    before, expected_second = table.clone(), second.clone()
    for step in (1, 2, 3):
        spec = AdamSpec(learning_rate=0.01, step=step)
        ops.table_adam_step(table, second, gradient, grid, spec)
        ops.row_adam_step(expected, expected_second, dense, spec)
    assert torch.equal(table, expected) and torch.equal(second, expected_second)
    assert torch.equal(table[untouched], before[untouched])
    assert (table[~untouched] != before[~untouched]).all()
