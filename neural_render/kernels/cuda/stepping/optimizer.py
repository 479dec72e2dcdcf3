"""Adam on the GPU, in place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import torch
import triton.language as tl
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels.cuda.device import block, is_on_cpu, launch, ready, tiles
from neural_render.kernels.cuda.encoding import padded, scatter_levels
from neural_render.kernels.cuda.programs.steps import adam_program, row_adam_program
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.specs import AdamSpec, HashGridSpec

BLOCK = 1024
# Entries of the table whose gradient is held densely at once, 4 bytes each.
LARGEST_GRADIENT = 1 << 26


# Where Adam's numbers lie, if a graph's replay is told of them there.
_live: list[Tensor] = []


def host_numbers(adam: AdamSpec) -> Tensor:
    """What changes from step to step, and what does not, as kernels take it."""
    corrections = 1.0 - adam.beta1**adam.step, 1.0 - adam.beta2**adam.step
    rest = adam.beta1, adam.beta2, adam.epsilon
    return torch.tensor([adam.learning_rate, *corrections, *rest], device="cpu")


@contextmanager
def numbers_in(live: Tensor) -> Iterator[None]:
    """Inside, steps have their ``host_numbers`` from this tensor on the device."""
    _live.append(live)
    try:
        yield
    finally:
        _live.pop()


def _numbers(adam: AdamSpec, device: torch.device) -> Tensor:
    """The numbers on the device."""
    return _live[-1] if _live else _moved(replace(adam, weight_decay=0.0), device)


@lru_cache(maxsize=8)
def _moved(adam: AdamSpec, device: torch.device) -> Tensor:
    """The same for all parameters of a step; no host waits."""
    numbers = host_numbers(adam)
    return numbers if device.type == "cpu" else numbers.pin_memory().to(device, non_blocking=True)


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
    """See ``ops.table_adam_step``: two launches for all levels whose dense gradients fit together.

    Never ``later`` than what the device does next.
    """
    layout = grid.level_layout()
    for levels in together(grid, LARGEST_GRADIENT):
        first, last = layout[levels[0]], layout[levels[-1]]
        rows = slice(first.offset, last.offset + last.rows)
        dense = table.new_zeros(rows.stop - rows.start, grid.features)
        scatter_levels(gradient.points, gradient.features, grid, levels, dense)
        _step_rows(
            _in_place(table[rows], "the table"), _in_place(second[rows], "its moment"), dense, adam
        )


def together(grid: HashGridSpec, most: int) -> list[range]:
    """Levels one after another, grouped: ``most`` entries of the table, or a single level."""
    groups, entries = [range(1)], 0
    for number, level in enumerate(grid.level_layout()):
        entries += level.rows * grid.features
        if entries > most and number > groups[-1].start:
            groups.append(range(number, number))
            entries = level.rows * grid.features
        groups[-1] = range(groups[-1].start, number + 1)
    return groups


@torch.no_grad()
def row_adam_step(table: Tensor, second: Tensor, gradient: Tensor, adam: AdamSpec) -> None:
    """See ``ops.row_adam_step``."""
    gradient = ready(gradient, "gradient", *table.shape)
    _step_rows(_in_place(table, "the table"), _in_place(second, "its moment"), gradient, adam)


def _step_rows(table: Tensor, second: Tensor, gradient: Tensor, adam: AdamSpec) -> None:
    count, features = table.shape
    size = block(BLOCK, count)
    shape = (tl.constexpr(features), padded(features, 1))
    given = (table, second, gradient, _numbers(adam, table.device), count, shape)
    launch(row_adam_program, (tiles(count, size),), *given, BLOCK=size)


@torch.no_grad()
def adam_step(
    parameter: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, adam: AdamSpec
) -> None:
    """See ``ops.adam_step``."""
    gradient = ready(gradient, "gradient", *parameter.shape)
    count = parameter.numel()
    stepped = _in_place(parameter, "a parameter")
    kept = (_in_place(moments[0], "its moment"), _in_place(moments[1], "its moment"))
    numbers = _numbers(adam, stepped.device)
    given = (stepped, kept, gradient, numbers, float(adam.weight_decay), count)
    launch(adam_program, (tiles(count, BLOCK),), *given, BLOCK=BLOCK)
