"""One capture and one trained run for all flow tests: starting a program takes seconds."""

from pathlib import Path

import pytest

from tests.flows.programs import SMALL, STEPS, Finished, succeed
from tests.tiny_capture import write_blender_capture


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of a small striped sphere, in a folder that Hydra alone would not take."""
    folder = tmp_path_factory.mktemp("captures") / "größe=1, [x] 写真"
    return write_blender_capture(folder, num_train=12, num_test=3, size=40)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the programs run, so that what they leave behind can be seen."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def trained(home: Path, tiny: Path) -> Finished:
    """What ``train.py`` said when it trained the run that most tests look at."""
    words = (f"capture.path={tiny}", "name=tiny", f"training.num_steps={STEPS}", *SMALL)
    return succeed("train.py", *words, folder=home)


@pytest.fixture(scope="session")
def trained_run(home: Path, trained: Finished) -> Path:
    """The folder of that run."""
    return home / trained.last_line
