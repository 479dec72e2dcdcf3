"""Starting the kernels: one line that says who computes, and a warning about the slow reference."""

import logging

import pytest
import torch

from neural_render.core.errors import KernelError
from neural_render.core.processes.sweeps import told
from neural_render.kernels import dispatch
from neural_render.kernels.settings import KernelSettings, start_kernels


@pytest.fixture(autouse=True)
def restored_backend():
    """The other tests' backend, back afterwards."""
    before = dispatch.active()
    yield
    dispatch.select(before.__name__.rpartition(".")[2])


def test_the_backend_and_its_threads_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "neural_render"):
        started = start_kernels(KernelSettings(backend="reference", threads=1, device="cpu"))
    assert started == ("reference", 1, torch.device("cpu"))
    assert caplog.messages == ["kernels: reference, float32, 1 thread"]


def test_a_job_of_a_sweep_works_on_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in told("", 3).items():
        monkeypatch.setenv(name, value)
    assert start_kernels(KernelSettings(backend="reference"))[1] == 3
    assert start_kernels(KernelSettings(backend="reference", threads=2))[1] == 2


def test_falling_back_to_the_reference_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(dispatch.BACKENDS, "cpu", "neural_render.kernels.not_built")
    with caplog.at_level(logging.INFO, "neural_render"):
        assert start_kernels(KernelSettings())[0] == "reference"
    assert "this is the slow PyTorch reference, because its module" in caplog.messages[1]


def test_a_backend_asked_for_by_name_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dispatch.BACKENDS, "cpu", "neural_render.kernels.not_built")
    with pytest.raises(KernelError, match=r"kernels\.backend=cpu cannot run here: its module"):
        start_kernels(KernelSettings(backend="cpu"))


def test_cpu_kernels_do_not_take_tensors_on_a_gpu() -> None:
    with pytest.raises(
        KernelError, match=r"kernels\.device=cuda does not go with kernels\.backend="
    ):
        start_kernels(KernelSettings(backend="cpu", device="cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_said() -> None:
    for backend in ("auto", "reference"):
        with pytest.raises(KernelError, match=r"torch .* finds no GPU here"):
            start_kernels(KernelSettings(backend=backend, device="cuda"))
