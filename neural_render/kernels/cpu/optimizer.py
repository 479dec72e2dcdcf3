"""The ops that change parameters: scatter and Adam."""

import atexit
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neural_render.kernels.cpu.losses import ChunkedGradient
from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.native import (
    adam_numbers,
    addresses,
    factored_tensors,
    ready,
    ready_in_place,
)
from neural_render.kernels.cpu.tables import (
    followed_entries,
    native_grid,
    prepare_in_place,
    table_changed,
    tensor_changed,
)
from neural_render.kernels.records import (
    FactoredGradient,
)
from neural_render.kernels.specs import (
    AdamSpec,
    HashGridSpec,
)

# Steps that go on beside the caller: their native module and all that they use.
_running: list[tuple[Any, ...]] = []


def scatter_table_gradient(gradient: FactoredGradient, table: Tensor, grid: HashGridSpec) -> Tensor:
    """The dense gradient of the table."""
    points, features = factored_tensors(gradient, grid)
    out = torch.zeros_like(ready(table, "table", grid.num_rows, grid.features))
    native().scatter_table(
        native_grid(grid), addresses(*points), features.data_ptr(), points.shape[1], out.data_ptr()
    )
    return out


def table_adam_step(
    table: Tensor,
    second: Tensor,
    gradient: FactoredGradient,
    grid: HashGridSpec,
    adam: AdamSpec,
    later: bool = False,
) -> None:
    """See ``ops.table_adam_step``."""
    finish()
    ready_in_place(table, "table", grid.num_rows, grid.features)
    ready_in_place(second, "second moments", grid.num_rows)
    prepare_in_place((table, second))
    followed = followed_entries(table, grid)
    changed = [*addresses(table, second), 0 if followed is None else followed.data_ptr()]
    how = native_grid(grid), adam_numbers(adam)
    if isinstance(gradient, ChunkedGradient) and gradient.fits(native(), grid):
        used = (gradient.state,)
        step = partial(native().table_adam_of, *how, gradient.state, changed, later)
    else:
        used = points, features = factored_tensors(gradient, grid)
        size = addresses(*points), features.data_ptr(), points.shape[1]
        step = partial(native().table_adam, *how, *size, changed, later)
    if later:  # before it begins: whatever happens, what is worked on stays
        _running.append((native(), table, second, followed, used))
    try:
        step()
    finally:
        table_changed(table, grid, followed=followed)


@atexit.register
def finish() -> None:
    """See ``ops.finish``."""
    while _running:
        # Kept until here: nothing that is worked on may go.
        module = _running[-1][0]
        module.finish_later()
        _running.pop()


def row_adam_step(table: Tensor, second: Tensor, gradient: Tensor, adam: AdamSpec) -> None:
    """See ``ops.row_adam_step``."""
    rows, features = table.shape
    ready_in_place(table, "table", rows, features)
    ready_in_place(second, "second moments", rows)
    consumed = ready(gradient, "gradient", rows, features).clone()
    native().adam_rows(adam_numbers(adam), *addresses(table, second, consumed), rows, features)
    tensor_changed(table)


def adam_step(
    parameter: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, adam: AdamSpec
) -> None:
    """See ``ops.adam_step``."""
    shape = parameter.shape
    changed = [ready_in_place(x, "parameter", *shape) for x in (parameter, *moments)]
    gradient = ready(gradient, "gradient", *shape)
    native().adam(adam_numbers(adam), *addresses(*changed, gradient), parameter.numel())
    tensor_changed(parameter)
