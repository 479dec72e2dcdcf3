"""Which backend computes: a named one or an error, ``auto`` the fastest that can run here."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch

from neural_render.core.errors import KernelError

# A backend is a module with the functions that `ops` documents, and chooses each of them: its own,
# or the reference's where there is nothing to be gained (see `borrowed`). Fastest first. Behind the
# reference, which always runs, stands what has to be named: tcnn cannot open every grid, and what
# it is fast at is a part of ops that cuda fuses.
BACKENDS = {
    "cuda": "neural_render.kernels.cuda",
    "cpu": "neural_render.kernels.cpu",
    "reference": "neural_render.kernels.reference",
    "tcnn": "neural_render.kernels.tcnn",
}
ON_GPU = ("cuda", "tcnn")  # whose tensors lie there
_active: list[ModuleType] = []


def available() -> dict[str, str]:
    """Every backend by name, with "" if it can run here, else the reason in one sentence."""
    return {name: unavailable_reason(name) for name in BACKENDS}


def unavailable_reason(name: str) -> str:
    """Why the backend called ``name`` cannot run here, in one sentence; "" if it can."""
    try:
        return load(name).unavailable_reason()
    except ImportError as error:
        if error.name == "triton":
            return "Triton is not installed; install it with: pip install triton"
        return f"its module {BACKENDS[name]} cannot be imported ({error})."


def load(name: str) -> ModuleType:
    """The module of the backend called ``name``, whether or not it can run here."""
    if name not in BACKENDS:
        known = ", ".join(["auto", *BACKENDS])
        raise KernelError(f"kernels.backend={name} is not a backend; choose one of {known}.")
    return importlib.import_module(BACKENDS[name])


def resolve(name: str) -> str:
    """The backend's name behind ``name``; KernelError if it cannot run here."""
    if name == "auto":
        return fastest()
    reason = unavailable_reason(name)
    if reason:
        raise KernelError(f"kernels.backend={name} cannot run here: {reason}")
    return name


def fastest(without_gpu: bool = False) -> str:
    """The name of the fastest backend that can run here; those on a GPU where there is one."""
    without_gpu = without_gpu or not torch.cuda.is_available()
    names = [name for name in BACKENDS if not (without_gpu and name in ON_GPU)]
    return next(name for name in names if not unavailable_reason(name))


def borrowed(name: str) -> list[str]:
    """The ops of the backend called ``name`` that are those of the reference."""
    own, reference = load(name), load("reference")
    if own is reference:
        return []
    return [op for op, of in vars(reference).items() if callable(of) and vars(own).get(op) is of]


def select(name: str, threads: int = 0, precision: str = "auto") -> str:
    """Makes a backend the active one and gives its name; ``threads=0`` takes the usable cores.

    ``precision`` is auto (the backend's fastest), float32, float16 or bfloat16; KernelError if the
    backend does not have it here.
    """
    resolved = resolve(name)
    module = load(resolved)
    module.set_precision(precision)
    module.set_threads(threads or usable_cores())
    _active[:] = [module]
    return resolved


def precision() -> str:
    """The numbers that the active backend holds table entries and network weights in."""
    return active().precision()


def active() -> ModuleType:
    """The backend that ``ops`` calls; resolved as ``auto`` at the first use."""
    if not _active:
        select("auto")
    return _active[0]


@contextmanager
def using(name: str) -> Iterator[ModuleType]:
    """The backend ``name`` is active inside the block."""
    before = list(_active)
    _active[:] = [load(resolve(name))]
    try:
        yield _active[0]
    finally:
        _active[:] = before


def usable_cores() -> int:
    """The number of cores that this process may use: affinity and cgroup quota respected."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: affinity is all there is to know
    return max(1, cores)
