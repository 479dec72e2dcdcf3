"""Backends to be held against the reference."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

from neural_render.kernels import dispatch
from neural_render.kernels.cpu import modules
from tests.kernels.comparison import instruction_set, strided

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
    if name not in ("reference", "tcnn", "cuda itself")
    for isa in (modules.INSTRUCTION_SETS if name == "cpu" else ("",))
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each backend beside the reference, ``cpu`` once for each instruction set.

    Skips, with its reason, what cannot run.
    """
    name, _, isa = request.param.partition(":")
    reason = unavailable_reason(name, isa)
    if reason:
        pytest.skip(f"kernels.backend={request.param} cannot run here: {reason}")
    with instruction_set(isa) if isa else nullcontext():
        yield name


def unavailable_reason(backend: str, isa: str) -> str:
    """Why a backend, or its module for one instruction set, cannot run here; "" if it can."""
    reason = dispatch.unavailable_reason(backend)
    if not reason and isa and isa not in modules.runnable():
        reason = f"this processor does not have {isa}."
    return reason


# What an interpreted kernel is spared, each tile taking its time: what is made of several ops is
# tried on few rays, and of few samples and many media some examples stand for all.
SPARED = ("test_gradients", "test_marching", "test_gain", "test_roulette", "test_channels")
SPARED += ("test_fuzz_losses",)
MANY_RAYS = 700
WITH_FEW_SAMPLES = ("plain", "reflections")
LIMITS = (
    "test_rays_that_are_not_finite_see_nothing",
    "test_a_cube_beyond_all_intervals_is_not_seen",
)
SPARED_MEDIA = ("fine_steps", "fog", "short_rays", "four_features")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what is spared, where Triton is interpreted."""
    if INTERPRETED:
        items[:] = [item for item in items if not _is_spared(item)]


def _is_spared(item: pytest.Item) -> bool:
    given = item.callspec.params if hasattr(item, "callspec") else {}
    if given.get("backend") != "cuda":
        return False
    samples, name = given.get("num_samples"), given.get("name", "")
    if samples == 3 or (samples in (0, 1) and name and name not in WITH_FEW_SAMPLES):
        return True
    if given.get("layout") is strided and item.path.stem == "test_parity":
        return True  # every op makes its tensors contiguous by one function
    if item.path.stem == "test_parity_rendering" and name in SPARED_MEDIA:
        return True
    in_rays = item.path.parent.name == "rays" and item.path.stem in SPARED
    in_rays &= getattr(item, "originalname", "") not in LIMITS
    return in_rays or given.get("num_rays") == MANY_RAYS
