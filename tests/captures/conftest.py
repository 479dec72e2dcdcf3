"""One unbroken capture for all tests of the doctor; what opening it finds is kept beside it."""

from pathlib import Path

import pytest

from tests.captures.doctor.textured import write_textured_capture


@pytest.fixture(scope="session")
def textured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture that nothing is wrong with."""
    return write_textured_capture(tmp_path_factory.mktemp("textured"))
