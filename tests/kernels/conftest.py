"""Backends to be held against the reference."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from neural_render.kernels import dispatch
from neural_render.kernels.cpu import modules
from tests.kernels.comparison import instruction_set

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
