"""Backends to be held against the reference."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from torch import Tensor

from neural_render.kernels import dispatch
from neural_render.kernels.cpu import modules
from tests.kernels.comparison import about, instruction_set

# Where there is no Triton there is no cuda backend either, and its tests say so.
INTERPRETED = False
if find_spec("triton"):
    # Tests make their tensors on the CPU.
    dispatch.BACKENDS["cuda"] = "tests.kernels.cuda.on_device"
    INTERPRETED = dispatch.load("cuda").is_interpreted()
if INTERPRETED:
    from triton.runtime import interpreter

    # It would look for overflow in every sum of integers, at a quarter of its time; hashes wrap.
    options = interpreter.interpreter_builder.options
    interpreter.interpreter_builder.options = replace(options, sanitize_overflow=False)
    # Each call of a device function would prepare the language anew, as its kernel has already.
    prepared = interpreter.InterpretedFunction.__call__

    def call(function: Any, *arguments: Any, **constants: Any) -> Any:
        if function.fn.__module__.startswith("neural_render."):
            return function.rewrite()(*arguments, **constants)
        return prepared(function, *arguments, **constants)

    interpreter.InterpretedFunction.__call__ = call
# Every backend beside the reference; the C++ kernels once for each instruction set. What opens some
# grids only has tests of its own.
BACKENDS = [
    f"{name}:{isa}" if isa else name
    for name in dispatch.BACKENDS
    if name not in ("reference", "tcnn")
    for isa in (modules.INSTRUCTION_SETS if name == "cpu" else ("",))
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each backend beside the reference, ``cpu`` once for each instruction set.

    Skips, with its reason, what cannot run.
    """
    test, _, problem = request.node.nodeid.partition("[")
    with about(test, problem.replace(request.param, "", 1)), running(request.param) as name:
        yield name


@pytest.fixture(params=[*BACKENDS, "reference"])
def any_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each ``backend`` and of the reference, of which the same is to be shown."""
    with running(request.param) as name:
        yield name


@contextmanager
def running(backend: str) -> Iterator[str]:
    """The name of one of ``BACKENDS`` without its instruction set, which is used inside."""
    name, _, isa = backend.partition(":")
    reason = unavailable_reason(name, isa)
    if reason:
        pytest.skip(f"kernels.backend={backend} cannot run here: {reason}")
    with instruction_set(isa) if isa else nullcontext():
        yield name


def unavailable_reason(backend: str, isa: str) -> str:
    """Why a backend, or its module for one instruction set, cannot run here; "" if it can."""
    reason = dispatch.unavailable_reason(backend)
    if not reason and isa and isa not in modules.runnable():
        reason = f"this processor does not have {isa}."
    return reason


# What an interpreted kernel is tried on, each tile taking its time: some examples stand for all,
# and few rays for many.
KEPT: dict[str, tuple[Any, ...]] = {
    "name": ("plain", "conditions", "reflections", "odd_sizes", "unbounded"),
    "num_samples": (0, 1, 1100),
    "num_rays": (0, 1, 5, 40),
    "num_channels": (3,),
    "features": (2, 4),
    "occupied": ("empty", "full", "shells"),
    "layout": (Tensor.clone,),
}
ONLY_LARGE = ("conditions", "odd_sizes")
SPARED = ("test_marching", "test_gain", "test_channels", "test_fuzz_losses")
# What the cuda backend does not do, whatever it runs on: it adds in the order of arrival, and
# leaves no sample out.
OF_THE_CPU = ("test_gradients", "test_roulette")
LIMITS = (
    "test_rays_that_are_not_finite_see_nothing",
    "test_a_cube_beyond_all_intervals_is_not_seen",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is spared, where Triton is interpreted, and what does not apply.

    On a GPU tests of the same kernels come one after another: they are compiled once.
    """
    items[:] = [item for item in items if not _is_spared(item)]
    if not INTERPRETED and config.pluginmanager.hasplugin("xdist"):
        for item in items:
            name = item.callspec.params.get("name") if hasattr(item, "callspec") else None
            group = f"{getattr(item, 'originalname', item.name)} {name or ''}"
            item.add_marker(pytest.mark.xdist_group(group))


def _is_spared(item: pytest.Item) -> bool:
    given = item.callspec.params if hasattr(item, "callspec") else {}
    if "cuda" not in (given.get("backend"), given.get("any_backend")):
        return False
    if item.path.parent.name == "rays" and item.path.stem in OF_THE_CPU:
        return True
    if not INTERPRETED:
        return False
    if any(given[key] not in kept for key, kept in KEPT.items() if key in given):
        return True
    if given.get("name") in ONLY_LARGE and given.get("num_samples") in (0, 1):
        return True
    in_rays = item.path.parent.name == "rays" and item.path.stem in SPARED
    return in_rays and getattr(item, "originalname", "") not in LIMITS
