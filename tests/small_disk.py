"""Disks that are nearly full or sync nothing, as far as this process can tell."""

import os
import stat
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


@contextmanager
def refusing_to_sync(code: int, *, folders: bool) -> Iterator[None]:
    """Inside, whoever syncs a folder, or else a file, meets this error of the system."""
    sync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode) is folders:
            raise OSError(code, os.strerror(code))
        sync(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        yield
