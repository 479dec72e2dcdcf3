"""Adam on the GPU, in place."""

import torch
import triton.language as tl
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels.cuda.device import is_on_cpu, launch, ready, tiles
from neural_render.kernels.cuda.encoding import padded, scatter_levels
from neural_render.kernels.cuda.programs.steps import adam_program, row_adam_program
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.specs import AdamSpec, HashGridSpec

BLOCK = 1024


def _numbers(adam: AdamSpec) -> tuple[float, ...]:
    """Adam's numbers as kernels take them."""
    return (
        float(adam.learning_rate),
        1.0 - adam.beta1**adam.step,
        1.0 - adam.beta2**adam.step,
        float(adam.beta1),
        float(adam.beta2),
        float(adam.epsilon),
        float(adam.weight_decay),
    )


def _in_place(tensor: Tensor, name: str) -> Tensor:
    """The tensor, which a kernel may write to."""
    if not tensor.is_contiguous() or tensor.dtype != torch.float32 or tensor.is_cuda == is_on_cpu():
        raise KernelError(
            f"the cuda backend steps contiguous float32 tensors on the GPU in place, but {name} is"
            f" not one ({tensor.dtype} on {tensor.device})."
        )
    return tensor.detach()


@torch.no_grad()
def table_adam_step(
    table: Tensor,
    second: Tensor,
    gradient: FactoredGradient,
    grid: HashGridSpec,
    adam: AdamSpec,
    later: bool = False,
) -> None:
    """See ``ops.table_adam_step``: level by level, in a buffer that holds the largest one.

    Never ``later`` than what the device does next.
    """
    layout = grid.level_layout()
    largest = max(level.rows for level in layout)
    dense = table.new_zeros(largest, grid.features)
    for number, level in enumerate(layout):
        levels, rows = range(number, number + 1), slice(level.offset, level.offset + level.rows)
        scatter_levels(gradient.points, gradient.features, grid, levels, dense)
        parts = (_in_place(table[rows], "the table"), _in_place(second[rows], "its moment"))
        _step_rows(*parts, dense[: level.rows], adam, clear=True)


@torch.no_grad()
def row_adam_step(table: Tensor, second: Tensor, gradient: Tensor, adam: AdamSpec) -> None:
    """See ``ops.row_adam_step``."""
    gradient = ready(gradient, "gradient", *table.shape)
    _step_rows(
        _in_place(table, "the table"), _in_place(second, "its moment"), gradient, adam, clear=False
    )


def _step_rows(
    table: Tensor, second: Tensor, gradient: Tensor, adam: AdamSpec, clear: bool
) -> None:
    rows, features = table.shape
    shape = (rows, tl.constexpr(features), padded(features, 1))
    given = (table, second, gradient, _numbers(adam), shape)
    launch(row_adam_program, (tiles(rows, BLOCK),), *given, CLEAR=clear, BLOCK=BLOCK)


@torch.no_grad()
def adam_step(
    parameter: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, adam: AdamSpec
) -> None:
    """See ``ops.adam_step``."""
    gradient = ready(gradient, "gradient", *parameter.shape)
    count = parameter.numel()
    stepped = _in_place(parameter, "a parameter")
    kept = (_in_place(moments[0], "its moment"), _in_place(moments[1], "its moment"))
    given = (stepped, kept, gradient, _numbers(adam), count)
    launch(adam_program, (tiles(count, BLOCK),), *given, BLOCK=BLOCK)
