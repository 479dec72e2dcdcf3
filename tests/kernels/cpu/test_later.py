"""A step of the table that goes on beside the caller is the step that ends before it returns."""

import gc
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.cpu import modules
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.specs import AdamSpec
from tests.kernels.comparison import instruction_set
from tests.kernels.problems import generator, small_grid

pytestmark = pytest.mark.skipif(
    bool(dispatch.unavailable_reason("cpu")), reason="there are no kernels"
)
GRID = small_grid(log2_rows=14, levels=8)
POINTS = torch.rand(3000, 3, generator=generator(1))
STEPS = 5


@pytest.fixture(params=[1, 2, 3], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The op runs on so many threads."""
    with dispatch.using("cpu"):
        modules.set_threads(request.param)
        yield request.param
        ops.finish()
        modules.set_threads(1)


def start() -> tuple[Tensor, Tensor]:
    """A table and its second moments."""
    table = torch.rand(GRID.num_rows, GRID.features, generator=generator(2)) - 0.5
    return table, torch.zeros(GRID.num_rows)


def step(table: Tensor, second: Tensor, number: int, *, later: bool) -> None:
    features = torch.randn(GRID.num_outputs, len(POINTS), generator=generator(number))
    gradient = FactoredGradient(points=POINTS.clone(), features=features)
    adam = AdamSpec(learning_rate=0.1, step=number)
    ops.table_adam_step(table, second, gradient, GRID, adam, later)


def after(num_steps: int) -> tuple[Tensor, Tensor]:
    table, second = start()
    for number in range(1, num_steps + 1):
        step(table, second, number, later=False)
    return table, second


def test_finish_waits() -> None:
    """Its gradient is gone by then, but for what the op keeps."""
    table, second = start()
    for number in range(1, STEPS + 1):
        step(table, second, number, later=True)
        gc.collect()
        ops.finish()
    for found, expected in zip((table, second), after(STEPS), strict=True):
        assert torch.equal(found, expected)


def test_the_next_step_waits() -> None:
    table, second = start()
    for number in range(1, STEPS + 1):
        step(table, second, number, later=True)
    ops.finish()
    assert torch.equal(table, after(STEPS)[0])
    ops.finish()


def look(table: Tensor) -> Tensor:
    return ops.hash_encode(POINTS, table, GRID)


def test_an_op_that_looks_at_the_table_waits() -> None:
    table, second = start()
    seen = []
    for number in range(1, STEPS + 1):
        step(table, second, number, later=True)
        seen.append(look(table))
    for number, found in enumerate(seen, start=1):
        assert torch.equal(found, look(after(number)[0]))


def networks_step() -> Tensor:
    weights, moments = torch.ones(200_000), (torch.zeros(200_000), torch.zeros(200_000))
    gradient = torch.randn(200_000, generator=generator(3))
    ops.adam_step(weights, moments, gradient, AdamSpec(learning_rate=0.1, step=1))
    return weights


def test_adam_of_other_weights_goes_beside_it() -> None:
    expected = networks_step()
    table, second = start()
    step(table, second, 1, later=True)
    found = networks_step()
    ops.finish()
    assert torch.equal(found, expected)
    assert torch.equal(table, after(1)[0])


@pytest.mark.parametrize(
    "change",
    [lambda: modules.set_threads(2), lambda: modules.set_precision("float32")],
    ids=["threads", "module"],
)
def test_a_change_of_the_backend_waits(change: Callable[[], None]) -> None:
    with instruction_set(modules.instruction_set()):
        expected = after(1)[0]
        table, second = start()
        step(table, second, 1, later=True)
        change()
        assert torch.equal(table, expected)


def test_tables_may_be_forgotten_meanwhile() -> None:
    """What a step works on stays until it is done."""
    for number in range(1, STEPS + 1):
        step(*start(), number, later=True)
        gc.collect()
    table, second = start()
    step(table, second, 1, later=True)
    ops.finish()
    assert torch.equal(table, after(1)[0])
