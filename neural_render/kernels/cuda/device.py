"""The GPU: whether it is there, what numbers it computes with, and how kernels are launched."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from neural_render.core.errors import KernelError, reason_of

# The first NVIDIA architecture that all kernels compile for, and the first that has bfloat16 and
# whose tensor cores Triton uses.
LEAST_CAPABILITY, BFLOAT16_CAPABILITY = (7, 5), (8, 0)
LEAST_TRITON = (3, 6)  # older ones do not compile all of it
# Triton from 3.10 on makes no product and its sum one instruction unless it is told to: slower.
LAUNCH = {"enable_fp_fusion": True}
WARPS = 4
# What Triton raises where a part of the machine is missing.
MENDABLE = (RuntimeError, AssertionError, OSError, ImportError, subprocess.SubprocessError)
_precision = ["auto"]


def is_interpreted() -> bool:
    """Whether Triton's interpreter stands in for the GPU, on tensors of the CPU.

    It does where TRITON_INTERPRET=1 was set before this package was imported.
    """
    return os.environ.get("TRITON_INTERPRET", "") == "1"


def unavailable_reason() -> str:
    """Why these kernels cannot run here, in one sentence; "" if they can."""
    try:
        import triton
    except ImportError as error:
        return f"Triton cannot be imported ({error}); install it with: pip install triton"
    version = tuple(int(part) for part in triton.__version__.split(".")[:2])
    if version < LEAST_TRITON:
        least = ".".join(map(str, LEAST_TRITON))
        return f"Triton {triton.__version__} is older than {least}; pip install -U triton"
    if is_interpreted():
        return ""
    return _gpu_reason()


def _gpu_reason() -> str:
    import triton

    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} was built without CUDA; install a CUDA build of torch"
            " (pytorch.org/get-started names the command)."
        )
    try:
        found = torch.cuda.is_available()
    except RuntimeError as error:  # a driver that torch cannot talk to
        return f"torch {torch.__version__} cannot use the GPU ({error}); update its driver."
    if not found:
        return (
            f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU; if nvidia-smi"
            " shows one, its driver is older than this CUDA: update the driver, or install a torch"
            " for an older CUDA."
        )
    capability = torch.cuda.get_device_capability()
    if capability < LEAST_CAPABILITY:
        name, least = torch.cuda.get_device_name(), ".".join(map(str, LEAST_CAPABILITY))
        return (
            f"{name} has compute capability {capability[0]}.{capability[1]}, and Triton needs"
            f" {least}; use kernels.backend=reference on it, or kernels.backend=cpu."
        )
    return _driver_reason(triton.runtime.driver)


@lru_cache(maxsize=2)
def _driver_reason(drivers: Any) -> str:
    """Why Triton cannot launch kernels here: it builds what does so, once, with a C compiler."""
    try:
        _ = drivers.active.utils
    except MENDABLE as error:
        return missing_part(error) or f"Triton cannot use the GPU ({reason_of(error)})."
    return ""


def missing_part(error: Exception) -> str:
    """What Triton misses on this machine, in a sentence that says how to mend it; "" for other
    errors."""
    text = str(error)
    if isinstance(error, FileNotFoundError) and "ldconfig" in text:
        return (
            "Triton looks for the GPU's driver with /sbin/ldconfig, which is not there; install it"
            " (on Debian: apt install libc-bin), or name the folder of libcuda.so.1 in the variable"
            " TRITON_LIBCUDA_PATH."
        )
    if isinstance(error, AssertionError) and "libcuda.so" in text:
        return (
            "Triton finds no libcuda.so.1, the library of the GPU's driver; run ldconfig as root,"
            " or name its folder in the variable TRITON_LIBCUDA_PATH."
        )
    if isinstance(error, subprocess.CalledProcessError) and "-shared" in error.cmd:
        return (
            f"Triton builds a C extension of Python at its first use, and {error.cmd[0]} fails,"
            " most likely for want of Python.h; install Python's headers (on Debian: apt install"
            " python3-dev) and the C library's (apt install libc6-dev)."
        )
    if isinstance(error, RuntimeError) and "C compiler" in text:
        return (
            "Triton needs a C compiler at its first use, and finds none; install one (on Debian:"
            " apt install gcc), or name it in the variable CC."
        )
    return ""


def set_precision(precision: str) -> None:
    """Chooses what products are made of: KernelError for what the GPU does not have."""
    if precision == "bfloat16" and torch.cuda.is_available():
        capability = torch.cuda.get_device_capability()
        if capability < BFLOAT16_CAPABILITY:
            raise KernelError(
                f"kernels.precision=bfloat16: {torch.cuda.get_device_name()} (compute capability"
                f" {capability[0]}.{capability[1]}) has none; use kernels.precision=float16, or"
                " auto."
            )
    _precision[0] = precision


def precision() -> str:
    """What products are made of: float16 where nothing else was chosen, on a GPU."""
    if _precision[0] != "auto":
        return _precision[0]
    return "float32" if is_interpreted() else "float16"


def set_threads(threads: int) -> None:
    """The GPU has its own."""


def finish() -> None:
    """See ``ops.finish``: what is launched later runs later."""


def block(wanted: int, count: int) -> int:
    """The samples of a tile; the interpreter is faster the fewer tiles there are."""
    if not is_interpreted():
        return wanted
    return min(1 << 12, max(16, 1 << max(0, count - 1).bit_length()))


def ray_block(rays: int, slots: int) -> tuple[int, int]:
    """The rays of a program, and how many samples of each it looks at together; see ``block``."""
    return (128, 128) if is_interpreted() else (rays, slots)


def tiles(count: int, size: int) -> int:
    """How many tiles of this size hold so many."""
    return -(-count // size)


def turns(count: int, size: int, device: torch.device, each: int) -> int:
    """How many programs take turns with so many tiles, at most ``each`` for a multiprocessor.

    Where only the device knows how many tiles there are in the end, most of them may be none.
    """
    return max(1, min(tiles(count, size), each * _multiprocessors(device)))


@lru_cache(maxsize=8)
def _multiprocessors(device: torch.device) -> int:
    return 4 if is_on_cpu() else torch.cuda.get_device_properties(device).multi_processor_count


def launch(
    kernel: Any, grid: tuple[int, ...], *arguments: Any, warps: int = WARPS, **constants: Any
) -> None:
    """Runs a kernel, so many warps a program; KernelError for what the user can mend."""
    try:
        with _device_of(arguments):
            kernel[grid](*arguments, **constants, num_warps=warps, **LAUNCH)
    except Exception as error:
        if isinstance(error, MENDABLE) and (missing := missing_part(error)):
            raise KernelError(f"kernels.backend=cuda: {missing}") from error
        if type(error).__name__ == "OutOfResources":
            raise KernelError(
                f"kernels.backend=cuda: this GPU has too little fast memory ({error}); use"
                " kernels.precision=float16 or a smaller field.width."
            ) from error
        raise


def _device_of(arguments: Sequence[Any]) -> AbstractContextManager[Any]:
    """The GPU of the first tensor in (tuples of) arguments, made the current one inside."""
    for argument in arguments:
        if isinstance(argument, tuple):
            found = _device_of(argument)
            if not isinstance(found, nullcontext):
                return found
        elif isinstance(argument, Tensor) and argument.is_cuda:
            return torch.cuda.device(argument.device)
    return nullcontext()


def ready(tensor: Tensor, name: str, *shape: int) -> Tensor:
    """The tensor as kernels want it: float32, contiguous, of this shape (-1: any)."""
    if tensor.dtype != torch.float32 or tensor.is_cuda == is_on_cpu():
        raise KernelError(
            f"the cuda backend takes float32 tensors on the GPU, but {name} is {tensor.dtype} on"
            f" {tensor.device}; convert it, or use kernels.backend=reference."
        )
    fits = len(shape) == tensor.dim() and all(
        want in (-1, have) for want, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise KernelError(f"{name} has shape {tuple(tensor.shape)}, but {shape} was wanted.")
    return tensor.detach().contiguous()


def is_on_cpu() -> bool:
    """Whether tensors lie on the CPU: in the interpreter they do."""
    return is_interpreted()
