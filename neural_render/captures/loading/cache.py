"""Decoded photos in files: written once, as a whole, and mapped into memory ever after.

A cache is a folder `pixels_<key>`, named by all that the pixels depend on, in the capture's own
`.neural_render` or, where that cannot be written, in the user's cache folder. It holds a file of
pixels and one of masks for each part, windows one after another (`Views.window`), and `cache.json`.
"""

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from neural_render.captures.workplace import place_for, told
from neural_render.core.errors import CaptureError
from neural_render.core.files import sync

VERSION = 2  # of what is decoded
FOLDER = ".neural_render"
PREFIX = "pixels_"
PARTIAL = ".partial"
RECORD = "cache.json"
SPARE_BYTES = 1 << 28  # of free disk, left alone


@dataclass(frozen=True, kw_only=True)
class CacheRecord:
    """What lies in a cache: the stride of the training photos, the length of each file."""

    stride: int
    has_opacity: bool  # some pixel is not opaque
    num_bytes: dict[str, int]


def cache_home(capture: Path) -> Path:
    """Where the caches of a capture lie, made if need be; CaptureError where that cannot be."""
    home = place_for(capture) / FOLDER
    with told(home):
        home.mkdir(exist_ok=True)
    return home


def find_cache(home: Path, key: str) -> CacheRecord | None:
    """The record of a cache that is complete; None if there is none."""
    folder = home / (PREFIX + key)
    try:
        record = CacheRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        sizes = {name: (folder / name).stat().st_size for name in record.num_bytes}
    except (OSError, ValueError, TypeError):
        return None
    return record if sizes == record.num_bytes else None


def cache_key(*parts: object) -> str:
    """A name for all that pixels depend on."""
    return hashlib.sha256(json.dumps([VERSION, *parts]).encode()).hexdigest()[:16]


@contextlib.contextmanager
def new_cache(home: Path, key: str, num_bytes: int) -> Iterator[Path]:
    """A folder to fill with ``num_bytes``, which becomes the cache if the block ends well.

    Other caches of the capture go first. CaptureError if the disk is, or becomes, too full.
    """
    folder = home / (PREFIX + key)
    partial = folder.with_name(folder.name + PARTIAL)
    for stale in home.glob(PREFIX + "*"):
        shutil.rmtree(stale, ignore_errors=True)
    free = shutil.disk_usage(home).free
    if num_bytes + SPARE_BYTES > free:
        raise CaptureError(
            f"the decoded photos need {num_bytes / 1e9:.2f} GB on disk, but {home} has"
            f" {free / 1e9:.2f} GB free: free some, or lower capture.max_side"
        )
    try:
        partial.mkdir()
        yield partial
        for file in partial.iterdir():  # space that was taken and never written is as long, and 0
            sync(file)
        partial.rename(folder)
    except OSError as error:
        raise CaptureError(
            f"the decoded photos cannot be written to {home} ({error.strerror or error}): free some"
            " space there, or lower capture.max_side"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_record(folder: Path, record: CacheRecord) -> None:
    """Completes a cache."""
    (folder / RECORD).write_text(json.dumps(record.__dict__, indent=1), encoding="utf-8")


class WindowFile:
    """A file of flat images as it is written: from several threads, each image at its place."""

    def __init__(self, path: Path, areas: Sequence[int], channels: int, stride: int) -> None:
        """Takes all space on disk at once. ``areas`` are the pixels of each image in a window."""
        self._channels, self._stride, self._size = channels, stride, sum(areas)
        self._starts = np.cumsum([0, *areas]).tolist()
        self.num_bytes = stride * stride * self._size * channels
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        if self.num_bytes and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, self.num_bytes)

    def __enter__(self) -> "WindowFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def put(self, index: int, image: UInt8[np.ndarray, "height width channels"]) -> None:
        """Writes one image, without the last rows and columns that not every window has."""
        stride = self._stride
        height, width = (side // stride for side in image.shape[:2])
        parts = image[: height * stride, : width * stride]
        parts = parts.reshape(height, stride, width, stride, -1)
        for window in range(stride * stride):
            row, column = divmod(window, stride)
            part = np.ascontiguousarray(parts[:, row, :, column])
            place = window * self._size + self._starts[index]
            _write(self._file, part, place * self._channels)


def _write(file: int, values: UInt8[np.ndarray, "..."], place: int) -> None:
    """All bytes of an array at a place of a file."""
    left = values.data.cast("B")
    while left:
        written = os.pwrite(file, left, place)
        left, place = left[written:], place + written


def mapped(path: Path, channels: int) -> UInt8[Tensor, "pixels channels"]:
    """A file's pixels, read from the disk when they are looked at, not to be written to."""
    if path.stat().st_size == 0:
        return torch.empty(0, channels, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that torch could write to it
        return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="r")).view(-1, channels)
