"""Backends to be held against the reference."""

from collections.abc import Iterator

import pytest

from neural_render.kernels import dispatch
from neural_render.kernels.cpu import native

# Every backend beside the reference; the C++ kernels once for each instruction set.
BACKENDS = [
    f"{name}:{isa}" if isa else name
    for name in dispatch.BACKENDS
    if name != "reference"
    for isa in (native.INSTRUCTION_SETS if name == "cpu" else ("",))
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of each backend beside the reference, ``cpu`` once for each instruction set.

    Skips, with its reason, what cannot run.
    """
    name, _, instruction_set = request.param.partition(":")
    reason = unavailable_reason(name, instruction_set)
    if reason:
        pytest.skip(f"kernels.backend={request.param} cannot run here: {reason}")
    if instruction_set:
        monkeypatch.setenv("NEURAL_RENDER_ISA", instruction_set)
        native.choose_again()
        native.set_threads(dispatch.usable_cores())
    yield name
    if instruction_set:
        native.choose_again()


def unavailable_reason(backend: str, instruction_set: str) -> str:
    """Why a backend, or its module for one instruction set, cannot run here; "" if it can."""
    reason = dispatch.unavailable_reason(backend)
    if not reason and instruction_set and instruction_set not in native.runnable():
        reason = f"this processor does not have {instruction_set}."
    return reason
