"""The ``tinycudann`` library: whether it is here, and which numbers it computes with."""

import importlib
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch

from neural_render.core.errors import KernelError

SOURCE = "git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"


def unavailable_reason() -> str:
    """Why this backend cannot run here, in one sentence; "" if it can."""
    if find_spec("tinycudann") is None:
        return (
            "tinycudann is not installed; where torch finds a GPU and the CUDA toolkit is there,"
            f" run `pip install --no-build-isolation {SOURCE}`."
        )
    if not torch.cuda.is_available():
        return (
            f"tinycudann needs a GPU, and torch {torch.__version__} finds none here; install a"
            " CUDA build of torch and the GPU's driver, or leave kernels.backend out."
        )
    try:
        library()
    except (ImportError, OSError) as error:
        return (
            f"tinycudann cannot be imported ({error}); build it again with this torch and for this"
            f" GPU: `pip install --force-reinstall --no-build-isolation {SOURCE}`."
        )
    return ""


def library() -> ModuleType:
    """The module ``tinycudann``, which is imported here and nowhere else."""
    return importlib.import_module("tinycudann")


@cache
def precision() -> str:
    """What the library was built to compute with: float16, or float32 on old GPUs."""
    probe = library().Encoding(1, {"otype": "Identity"})
    return str(probe.dtype).removeprefix("torch.")


def set_precision(precision_wanted: str) -> None:
    """Nothing to choose: KernelError for what the library was not built for."""
    if precision_wanted not in ("auto", precision()):
        raise KernelError(
            f"kernels.precision={precision_wanted} does not go with kernels.backend=tcnn, which"
            f" computes in {precision()} here; use kernels.precision=auto."
        )


def set_threads(threads: int) -> None:
    """What stays on the CPU is PyTorch's."""
    torch.set_num_threads(threads)
