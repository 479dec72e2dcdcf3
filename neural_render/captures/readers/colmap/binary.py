"""COLMAP's binary files: ``cameras.bin``, ``images.bin`` and ``points3D.bin``."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from neural_render.captures.readers.colmap.lenses import CAMERA_MODELS, model_name
from neural_render.captures.readers.colmap.model import (
    ModelCamera,
    ModelImage,
    ModelPoints,
    read_bytes,
)
from neural_render.core.errors import CaptureError

_OBSERVATION = np.dtype([("pixel", "<f8", 2), ("point", "<i8")])
_BYTES_OF_A_TRACK_ENTRY = 8


class _Cursor:
    """A place in a file's bytes that moves on with what is read."""

    def __init__(self, path: Path, content: str) -> None:
        self._data = read_bytes(path)
        self._path, self._content = path, content
        self._at = 0
        self.done = 0
        self.count = self.take("<Q")[0]  # each of the three files begins with it

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next values, as `struct` understands ``layout``."""
        start = self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self._data, start)

    def take_text(self) -> str:
        """The next text, which a zero byte ends."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise self._truncated()
        text = os.fsdecode(self._data[self._at : end])
        self._at = end + 1
        return text

    def take_rows(self, dtype: np.dtype, count: int) -> np.ndarray:
        """The next ``count`` records."""
        start = self.skip(dtype.itemsize * count)
        return np.frombuffer(self._data, dtype, count, start)

    def skip(self, num_bytes: int) -> int:
        """Where the next ``num_bytes`` bytes start, which are passed over."""
        start = self._at
        if num_bytes > len(self._data) - start:
            raise self._truncated()
        self._at = start + num_bytes
        return start

    def _truncated(self) -> CaptureError:
        if not self._data:
            return CaptureError(
                f"{self._path} is an empty file: copy it again or run the reconstruction again"
            )
        if self._at < 8:
            return CaptureError(
                f"{self._path} has {len(self._data)} bytes, too few for a COLMAP file: copy it"
                " again or run the reconstruction again"
            )
        return CaptureError(
            f"{self._path} is truncated or damaged: it announces {self.count} {self._content}, but"
            f" ends within number {self.done + 1}: copy it again or run the reconstruction again"
        )


def read_cameras(path: Path) -> dict[int, ModelCamera]:
    """The cameras by their numbers."""
    cursor = _Cursor(path, "cameras")
    cameras: dict[int, ModelCamera] = {}
    for index in range(cursor.count):
        cursor.done = index
        number, model, width, height = cursor.take("<iiQQ")
        where = f"camera {number} of {path}"
        name = model_name(int(model), where)
        cameras[int(number)] = ModelCamera(
            model=name,
            size=(int(width), int(height)),
            parameters=cursor.take(f"<{len(CAMERA_MODELS[name].parameters)}d"),
            where=where,
        )
    return cameras


def count_images(path: Path) -> int:
    """How many images the file lists."""
    return _Cursor(path, "images").count


def read_images(path: Path) -> tuple[ModelImage, ...]:
    """The images with their poses and observations, in the file's order."""
    cursor = _Cursor(path, "images")
    images = []
    for index in range(cursor.count):
        cursor.done = index
        number, *pose, camera = cursor.take("<i7di")
        name = cursor.take_text()
        (num_observations,) = cursor.take("<Q")
        seen = cursor.take_rows(_OBSERVATION, int(num_observations))
        images.append(
            ModelImage(
                name=name,
                camera=int(camera),
                quat_wxyz=np.array(pose[:4]),
                translation=np.array(pose[4:]),
                pixels=seen["pixel"].astype(np.float64),
                points=seen["point"].astype(np.int64),
                where=f"image {number} ({name}) of {path}",
            )
        )
    return tuple(images)


def read_points(path: Path) -> ModelPoints:
    """The points; their tracks are passed over."""
    cursor = _Cursor(path, "points")
    numbers, positions, colors = [], [], []
    for index in range(cursor.count):
        cursor.done = index
        number, x, y, z, red, green, blue, _, num_seen = cursor.take("<q3d3BdQ")
        cursor.skip(_BYTES_OF_A_TRACK_ENTRY * int(num_seen))
        numbers.append(number)
        positions.append((x, y, z))
        colors.append((red, green, blue))
    return ModelPoints(
        numbers=np.array(numbers, dtype=np.int64),
        positions=np.array(positions, dtype=np.float64).reshape(-1, 3),
        colors=np.array(colors, dtype=np.uint8).reshape(-1, 3),
    )
