"""The package of the trained run, made once."""

from pathlib import Path

import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.config.composition import load_settings
from neural_render.training.packages.making import Original, make_package
from neural_render.training.packages.settings import PackageSettings
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering


@pytest.fixture(scope="session")
def packaged(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, under a name that Hydra alone would not take."""
    path = tmp_path_factory.mktemp("package") / "größe=1, [x] 写真.nrpack"
    run = RunFolder.open(trained_run)
    original = Original(
        run=run,
        scene=load_for_rendering(run, torch.device("cpu")),
        capture=open_capture(load_settings(run.config_path).capture, progress=False),
        background="auto",
    )
    return make_package(original, PackageSettings(output=str(path), views=2)).file.path
