"""Tests of the definition itself."""

from collections.abc import Iterator

import pytest

from neural_render.kernels import dispatch


@pytest.fixture(autouse=True)
def reference() -> Iterator[None]:
    """The reference is the active backend."""
    with dispatch.using("reference"):
        yield
