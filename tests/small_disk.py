"""A disk that is nearly full, as far as this process can tell."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

FULL = "cannot be written .*: free some space there, or choose another disk with outputs=DIR"


@contextmanager
def small_disk(free: int = 4000) -> Iterator[None]:
    """Inside, no file may grow beyond ``free`` bytes: writers meet a real error of the system."""
    resource = pytest.importorskip("resource", reason="file size limits need a Unix system")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
