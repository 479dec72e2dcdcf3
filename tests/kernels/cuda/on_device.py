"""The cuda backend for tensors on the CPU: they go to the GPU and come back with each call.

So one parity suite holds every backend against the reference. Where Triton's interpreter stands in
for the GPU, nothing has to move.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from neural_render.kernels import cuda, dispatch

DEVICE = "cpu" if cuda.is_interpreted() else "cuda"
Move = Callable[[Tensor], Tensor]


def moved(value: Any, move: Move) -> Any:
    """A record, tuple or tensor with all its tensors moved."""
    if isinstance(value, Tensor):
        return move(value)
    if isinstance(value, tuple):
        return tuple(moved(part, move) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: moved(getattr(value, field.name), move) for field in fields(value)}
        changed = {name: part for name, part in parts.items() if part is not getattr(value, name)}
        return replace(value, **changed) if changed else value
    return value


def __getattr__(name: str) -> Any:
    op = getattr(cuda, name)
    if not callable(op) or name in ("is_interpreted", "precision", "unavailable_reason"):
        return op

    @wraps(op)
    def there_and_back(*arguments: Any, **options: Any) -> Any:
        pairs: list[tuple[Tensor, Tensor]] = []

        def go(tensor: Tensor) -> Tensor:
            pairs.append((tensor, tensor.to(DEVICE)))
            return pairs[-1][1]

        before = list(dispatch._active)
        dispatch._active[:] = [cuda]  # some ops are made of others, which stay there
        try:
            found = op(*(moved(argument, go) for argument in arguments), **options)
        finally:
            dispatch._active[:] = before
        with torch.no_grad():
            for here, there in pairs:  # some ops change what they are given
                if there is not here and not torch.equal(here, there.cpu()):
                    here.copy_(there)
        return moved(found, lambda tensor: tensor.cpu())

    return there_and_back
