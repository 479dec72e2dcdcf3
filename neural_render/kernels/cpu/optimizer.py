"""The ops that change parameters: scatter and Adam."""

import torch
from torch import Tensor

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
    moments: tuple[Tensor, Tensor],
    gradient: FactoredGradient,
    grid: HashGridSpec,
    adam: AdamSpec,
) -> None:
    """See ``ops.table_adam_step``."""
    points, features = factored_tensors(gradient, grid)
    changed = [ready_in_place(x, "table", grid.num_rows, grid.features) for x in (table, *moments)]
    prepare_in_place((table, *moments))
    followed = followed_entries(table, grid)
    native().table_adam(
        native_grid(grid),
        adam_numbers(adam),
        addresses(*points),
        features.data_ptr(),
        points.shape[1],
        [*addresses(*changed), followed],
    )
    table_changed(table, grid, followed=followed)


def adam_step(
    parameter: Tensor,
    moments: tuple[Tensor, Tensor],
    gradient: Tensor,
    adam: AdamSpec,
    skip_zeros: bool,
) -> None:
    """See ``ops.adam_step``."""
    shape = parameter.shape
    changed = [ready_in_place(x, "parameter", *shape) for x in (parameter, *moments)]
    gradient = ready(gradient, "gradient", *shape)
    row = shape[-1] if skip_zeros and shape else int(skip_zeros)
    native().adam(adam_numbers(adam), *addresses(*changed, gradient), parameter.numel(), row)
    tensor_changed(parameter)
