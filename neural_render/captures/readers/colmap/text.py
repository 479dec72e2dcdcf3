"""COLMAP's text files: ``cameras.txt``, ``images.txt`` and ``points3D.txt``."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neural_render.captures.readers.colmap.model import (
    NO_POINT,
    ModelCamera,
    ModelImage,
    ModelPoints,
    read_bytes,
)
from neural_render.core.errors import CaptureError

# Beyond this a number of a point is COLMAP's largest one, which stands for none.
_LARGEST_NUMBER = 2.0**53


def read_cameras(path: Path) -> dict[int, ModelCamera]:
    """The cameras by their numbers."""
    cameras = {}
    for line, text in _rows(path):
        words = text.split()
        with _told(path, line, "CAMERA_ID, MODEL, WIDTH, HEIGHT and PARAMS"):
            number, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            parameters = tuple(float(word) for word in words[4:])
        cameras[number] = ModelCamera(
            model=model,
            size=(width, height),
            parameters=parameters,
            where=f"camera {number} of {path}",
        )
    return cameras


def count_images(path: Path) -> int:
    """How many images the file lists."""
    return sum(1 for _ in _image_rows(path))


def read_images(path: Path) -> tuple[ModelImage, ...]:
    """The images with their poses and observations, in the file's order."""
    images = []
    for line, text, observations in _image_rows(path):
        # A name may hold spaces: it is all that follows the ninth of them.
        words = text.split(maxsplit=9)
        with _told(path, line, "IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID and NAME"):
            number, camera, name = int(words[0]), int(words[8]), words[9].strip()
            pose = np.array([float(word) for word in words[1:8]])
        with _told(path, line + 1, "the observations of an image, X, Y and POINT3D_ID of each"):
            seen = np.array(observations.split(), dtype=np.float64).reshape(-1, 3)
        has_point = (seen[:, 2] >= 0) & (seen[:, 2] < _LARGEST_NUMBER)
        images.append(
            ModelImage(
                name=name,
                camera=camera,
                quat_wxyz=pose[:4],
                translation=pose[4:],
                pixels=seen[:, :2].copy(),
                points=np.where(has_point, seen[:, 2], NO_POINT).astype(np.int64),
                where=f"image {number} ({name}) of {path}",
            )
        )
    return tuple(images)


def read_points(path: Path) -> ModelPoints:
    """The points; their tracks are passed over."""
    numbers, positions, colors = [], [], []
    for line, text in _rows(path):
        words = text.split(maxsplit=7)
        with _told(path, line, "POINT3D_ID, X, Y, Z, R, G, B, ERROR and a track"):
            numbers.append(int(words[0]))
            positions.append([float(word) for word in words[1:4]])
            colors.append([int(word) for word in words[4:7]])
            if not all(0 <= channel <= 255 for channel in colors[-1]):
                raise ValueError("a colour is from 0 to 255")
    return ModelPoints(
        numbers=np.array(numbers, dtype=np.int64),
        positions=np.array(positions, dtype=np.float64).reshape(-1, 3),
        colors=np.array(colors, dtype=np.uint8).reshape(-1, 3),
    )


def _lines(path: Path) -> list[str]:
    return read_bytes(path).decode("utf-8-sig", errors="surrogateescape").splitlines()


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are neither empty nor comments, with their numbers."""
    for number, text in enumerate(_lines(path), start=1):
        stripped = text.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _image_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """A line's number, the line, and the one after it, which is empty if nothing was seen."""
    lines = iter(enumerate([*_lines(path), ""], start=1))
    for number, text in lines:
        stripped = text.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped, next(lines, (0, ""))[1]


@contextlib.contextmanager
def _told(path: Path, line: int, wanted: str) -> Iterator[None]:
    """Turns whatever is wrong with a line into one sentence."""
    try:
        yield
    except (ValueError, IndexError, OverflowError) as error:
        raise CaptureError(
            f"line {line} of {path} is not what COLMAP writes there ({wanted}): correct the file or"
            " run the reconstruction again"
        ) from error
