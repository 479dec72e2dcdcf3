"""What benchmarks leave behind goes to a folder of the test, and kernels are chosen anew."""

from pathlib import Path

import pytest
import torch

from benchmarks import records
from neural_render.kernels import dispatch


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which records and plots are left."""
    monkeypatch.setattr(records, "ROOT", tmp_path)
    return tmp_path / "benchmarks"


@pytest.fixture(autouse=True)
def _same_kernels_after():
    threads = torch.get_num_threads()
    yield
    dispatch.select("auto")
    torch.set_num_threads(threads)
