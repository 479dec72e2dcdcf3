"""Which native module computes: one for each instruction set, the best chosen at run time."""

import importlib
import os
from types import ModuleType
from typing import Any

from neural_render.core.errors import KernelError

# Best first, each with the numbers that its module computes with.
PRECISIONS = {
    "amx": "bfloat16",
    "avx512bf16": "bfloat16",
    "avx512": "float32",
    "avx2": "float32",
    "baseline": "float32",
}
INSTRUCTION_SETS = tuple(PRECISIONS)
_used: dict[str, Any] = {"threads": 1}


def runnable() -> tuple[str, ...]:
    """The instruction sets that can run here, best first: the processor, the system and the build
    have them."""
    baseline = importlib.import_module("neural_render.kernels._native_baseline")
    return INSTRUCTION_SETS[INSTRUCTION_SETS.index(baseline.best_instruction_set()) :]


def choose(precision: str) -> str:
    """The instruction set for ``kernels.precision``: the best, or NEURAL_RENDER_ISA."""
    wanted = os.environ.get("NEURAL_RENDER_ISA", "")
    if wanted and wanted not in runnable():
        raise KernelError(
            f"NEURAL_RENDER_ISA={wanted} cannot run here: this processor, its system or this "
            f"build lacks it; choose one of {', '.join(runnable())}, or unset it."
        )
    fitting = [
        name
        for name in ([wanted] if wanted else runnable())
        if precision in ("auto", PRECISIONS[name])
    ]
    if not fitting:
        where = f"NEURAL_RENDER_ISA={wanted}" if wanted else "this processor"
        raise KernelError(
            f"kernels.precision={precision} does not go with {where}; use kernels.precision=auto."
        )
    return fitting[0]


def use(instruction_set: str) -> None:
    """Makes every later op run on the module for this instruction set."""
    module = importlib.import_module(f"neural_render.kernels._native_{instruction_set}")
    if "module" in _used:  # what goes on there is waited for by its own ops alone
        _used["module"].finish_later()
    module.set_threads(_used["threads"])
    _used["module"] = module


def native() -> ModuleType:
    """The native module in use; at first the best for this processor."""
    if "module" not in _used:
        use(choose("auto"))
    return _used["module"]


def set_threads(threads: int) -> None:
    """Makes every later op use so many threads; results do not depend on it."""
    _used["threads"] = threads
    native().set_threads(threads)


def set_precision(precision: str) -> None:
    """Makes every later op compute with these numbers (see ``kernels.precision``)."""
    use(choose(precision))


def instruction_set() -> str:
    """The instruction set of the module in use."""
    return native().__name__.rpartition("_native_")[2]


def precision() -> str:
    """The numbers that the module in use computes with."""
    return PRECISIONS[instruction_set()]


def unavailable_reason() -> str:
    """Why this backend cannot run here, in one sentence; "" if it can."""
    try:
        native()
    except ImportError as error:
        return (
            f"the native kernels are not installed ({error}); install a C++ compiler and Python's "
            "headers, then run `pip install -e .` again without NEURAL_RENDER_NATIVE=0."
        )
    return ""
