"""The unbroken capture that the doctor's tests look at too."""

from pathlib import Path

import pytest

from tests.captures.doctor.textured import unbroken_capture


@pytest.fixture(scope="session")
def textured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture that nothing is wrong with."""
    return unbroken_capture(tmp_path_factory.getbasetemp())
