"""What makes a host wait for its device, found where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# To look at a value, or to have it decide on a shape: what Python asks of a tensor, and PyTorch.
ASKED = ("tolist", "item", "numpy", "__bool__", "__int__", "__float__", "__index__", "__array__")
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "bincount")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")


class _OfPython(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        assert name not in ASKED, f"a host waits for {name}"
        return func(*args, **(kwargs or {}))


class _OfPyTorch(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in INDEXING else ()
        by_mask = any(isinstance(one, Tensor) and one.dtype.itemsize == 1 for one in indices)
        assert name not in WAITING and not by_mask, f"a host waits for {func}"
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waiting() -> Iterator[None]:
    """Inside, whatever a host would have to wait for is an AssertionError."""
    with _OfPython(), _OfPyTorch():
        yield
