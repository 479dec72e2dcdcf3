"""The hash table as the module in use reads it: the tensor itself, or a bfloat16 copy of it.

The copy is kept beside the tensor while that lives, follows ``table_adam_step`` row by row, and
is made anew when anything else has changed the tensor. Changes are seen as autograd sees them,
by the tensor's version; what is written behind its back, through ``tensor.data`` or a NumPy view,
is not.
"""

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from neural_render.core.errors import KernelError
from neural_render.kernels.cpu.modules import native
from neural_render.kernels.specs import HashGridSpec

MAX_COPIES = 4
LARGE_BYTES = 4 << 20


def native_grid(spec: HashGridSpec) -> Any:
    """The grid of the module in use."""
    return _native_grid(native(), spec)


@cache
def _native_grid(module: ModuleType, spec: HashGridSpec) -> Any:
    if not (2 <= spec.dims <= 4 and 1 <= spec.features <= 16):
        raise KernelError(
            "the cpu backend takes grids of 2 to 4 dimensions and 1 to 16 features a level, but "
            f"this one has {spec.dims} and {spec.features}; use kernels.backend=reference."
        )
    levels = [
        (level.scale, level.resolution, level.offset, level.rows, level.dense)
        for level in spec.level_layout()
    ]
    xor = spec.hash == "xor"
    return module.Grid(levels, spec.dims, spec.features, xor, list(spec.multipliers))


@dataclass(kw_only=True)
class RoundedTable:
    """A bfloat16 copy of a table, and of which table in which state."""

    owner: StorageWeakRef
    key: tuple[Any, ...]
    version: object
    entries: Tensor


_copies: list[RoundedTable] = []


def table_entries(table: Tensor, spec: HashGridSpec) -> Tensor:
    """What the module in use looks features up in; KernelError if ``table`` does not fit."""
    checked = float_table(table, spec)
    if native().ENTRY_BYTES == 4:
        return checked
    found = _find(table, spec)
    if found is None:
        rows = spec.num_rows + native().SPARE_ROWS * spec.levels
        entries = torch.zeros(rows * spec.features, dtype=torch.bfloat16)
        native().use_large_pages(entries.data_ptr(), entries.nbytes)
        found = RoundedTable(
            owner=StorageWeakRef(table.untyped_storage()),
            key=_key(table, spec),
            version=None,
            entries=entries,
        )
        _copies.insert(0, found)
        del _copies[MAX_COPIES:]
    if found.version != _version(table):
        native().round_table(native_grid(spec), checked.data_ptr(), found.entries.data_ptr())
        found.version = _version(table)
    return found.entries


def followed_entries(table: Tensor, spec: HashGridSpec) -> Tensor | None:
    """An up-to-date copy, for an op that changes both, if there is one."""
    found = None if native().ENTRY_BYTES == 4 else _find(table, spec)
    return found.entries if found and found.version == _version(table) else None


def table_changed(table: Tensor, spec: HashGridSpec, *, followed: Tensor | None) -> None:
    """To be called after a native op wrote to ``table`` and, if any, to the copy ``followed``."""
    tensor_changed(table)
    found = None if followed is None else _find(table, spec)
    if found is not None:
        found.version = _version(table)


def tensor_changed(tensor: Tensor) -> None:
    """To be called after a native op wrote to a tensor, so that autograd sees it."""
    if not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)


def float_table(table: Tensor, spec: HashGridSpec) -> Tensor:
    """The table, checked to be a contiguous float32 matrix of the grid's size on the CPU."""
    wanted = (spec.num_rows, spec.features)
    if table.dtype != torch.float32 or table.device.type != "cpu":
        raise KernelError(
            f"the cpu backend takes float32 tensors on the CPU, but table is {table.dtype} on "
            f"{table.device}; convert it, or use kernels.backend=reference."
        )
    if tuple(table.shape) != wanted:
        raise KernelError(f"table has shape {tuple(table.shape)}, but {wanted} was wanted.")
    return table.detach().contiguous()


def _version(table: Tensor) -> object:
    """What tells one state of the tensor from another; in inference mode none is like another."""
    return object() if table.is_inference() else table._version


def _key(table: Tensor, spec: HashGridSpec) -> tuple[Any, ...]:
    return table.untyped_storage()._cdata, table.storage_offset(), table.stride(), spec


def _find(table: Tensor, spec: HashGridSpec) -> RoundedTable | None:
    """The copy of this table, if there is one; those of tables that are gone are dropped."""
    _copies[:] = [copy for copy in _copies if not copy.owner.expired()]
    key = _key(table, spec)
    return next((copy for copy in _copies if copy.key == key), None)


def prepare_in_place(tensors: tuple[Tensor, ...]) -> None:
    """Large pages for tensors that will be changed again and again; once for each of them."""
    for tensor in tensors:
        if tensor.nbytes >= LARGE_BYTES and not hasattr(tensor, "_large_pages"):
            native().use_large_pages(tensor.data_ptr(), tensor.nbytes)
            tensor._large_pages = True  # pyright: ignore[reportAttributeAccessIssue]
