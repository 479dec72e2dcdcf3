"""Choosing a backend: by name or an error, ``auto`` the first that runs."""

import io
import os
from inspect import isfunction

import pytest

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch, reference

# What a backend has: the reference's functions, none of which is missing elsewhere.
NAMES = [name for name, of in vars(reference).items() if isfunction(of)]


def test_unknown_name_is_an_error_that_lists_the_known() -> None:
    """One sentence with the setting as the user types it."""
    with pytest.raises(
        KernelError, match=r"kernels\.backend=gpu is not a backend.*auto.*reference"
    ):
        dispatch.resolve("gpu")


def test_named_backend_that_cannot_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend's own reason is passed on, and ``auto`` goes on to the next."""
    module = dispatch.load("reference")
    monkeypatch.setitem(dispatch.BACKENDS, "broken", "neural_render.kernels.not_there")
    with pytest.raises(KernelError, match=r"kernels\.backend=broken cannot run here: .*not_there"):
        dispatch.resolve("broken")
    monkeypatch.setattr(
        dispatch,
        "BACKENDS",
        {"broken": "neural_render.kernels.not_there", "reference": module.__name__},
    )
    assert dispatch.resolve("auto") == "reference"


def test_what_a_backend_borrows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each op of a backend is its own, or the reference's: the line of the log says which."""
    assert dispatch.borrowed("cpu") == dispatch.borrowed("reference") == []
    pytest.importorskip("triton", reason="Triton is not installed here")
    monkeypatch.setitem(dispatch.BACKENDS, "cuda", "neural_render.kernels.cuda")
    assert set(dispatch.borrowed("cuda")) == {
        "color_loss",
        "draw_splats",
        "draw_splats_backward",
        "occupancy_cells",
        "occupancy_points",
        "occupancy_update",
    }


def test_using_restores_what_was_active() -> None:
    """Also when the block fails."""
    before = dispatch.active()
    with pytest.raises(RuntimeError), dispatch.using("reference") as module:
        assert dispatch.active() is module
        raise RuntimeError
    assert dispatch.active() is before


def test_reference_always_runs_and_cores_are_counted() -> None:
    """There is always one backend and one core."""
    assert dispatch.available()["reference"] == ""
    assert dispatch.usable_cores() >= 1


@pytest.mark.parametrize(("stated", "cores"), [("max", 8), ("150000", 1), ("300000", 3)])
def test_a_container_may_use_a_part_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, stated: str, cores: int
) -> None:
    """By its quota of microseconds in each period, as the system states it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO(f"{stated} 100000\n"))
    assert dispatch.usable_cores() == cores


@pytest.mark.parametrize("name", dispatch.BACKENDS)
def test_every_backend_has_every_op(name: str) -> None:
    if "Triton is not installed" in dispatch.unavailable_reason(name):
        pytest.skip(dispatch.unavailable_reason(name))
    module = dispatch.load(name)
    assert len(NAMES) > 25
    assert [op for op in NAMES if not callable(getattr(module, op, None))] == []
