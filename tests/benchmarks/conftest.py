"""What benchmarks leave behind goes to a folder of the test, and kernels are chosen anew."""

from pathlib import Path

import pytest
import torch

import neural_render
from benchmarks import records
from neural_render.captures.settings import CaptureSettings
from neural_render.fields import FieldSettings, GridSettings
from neural_render.kernels import dispatch
from neural_render.training.runs.folder import RunFolder
from neural_render.training.settings import TrainingSettings
from tests.captures.formats import write_transforms


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which records and plots are left."""
    monkeypatch.setattr(records, "ROOT", tmp_path)
    monkeypatch.setattr(records, "_begun", "")
    return tmp_path / "benchmarks"


@pytest.fixture(scope="session")
def run_on_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has hardly begun, of another split and size of photos than by default."""
    home = tmp_path_factory.mktemp("photos")
    neural_render.fit(
        CaptureSettings(
            path=str(write_transforms(home / "capture")),
            max_side=12,
            test_every=4,
            find_points=False,
            check="off",
        ),
        home / "outputs",
        steps=2,
        field=FieldSettings(grid=GridSettings(levels=4, log2_rows=10)),
        training=TrainingSettings(samples_per_step=512, tensorboard=False),
    )
    return RunFolder.open(home / "outputs" / "latest").path


@pytest.fixture(autouse=True)
def _same_kernels_after():
    threads = torch.get_num_threads()
    yield
    dispatch.select("auto")
    torch.set_num_threads(threads)
