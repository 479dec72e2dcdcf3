"""A COLMAP model as its files state it, before it becomes a listing.

Format: COLMAP's documentation, "Output Format". Poses are ``cam_from_world`` in OpenCV's axes; the
first pixel's centre is (0.5, 0.5). ``rigs`` and ``frames`` (COLMAP 3.12 and later) repeat what the
images say, so they are not read.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from neural_render.core.errors import CaptureError

NO_POINT = -1  # the number of the point of an observation that belongs to none


@dataclass(frozen=True, kw_only=True)
class ModelCamera:
    """One row of ``cameras``: the name of its camera model and that model's parameters."""

    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]
    where: str  # "camera 3 of .../cameras.bin"


@dataclass(frozen=True, kw_only=True)
class ModelImage:
    """One entry of ``images``: a pose, a camera's number, and what was seen where."""

    name: str
    camera: int
    quat_wxyz: Float64[np.ndarray, "4"]
    translation: Float64[np.ndarray, "3"]
    pixels: Float64[np.ndarray, "observations 2"]
    points: Int64[np.ndarray, " observations"]  # numbers of points, `NO_POINT` for none
    where: str


@dataclass(frozen=True, kw_only=True)
class ModelPoints:
    """The rows of ``points3D``; what is seen in which image the images say."""

    numbers: Int64[np.ndarray, " points"]
    positions: Float64[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A whole reconstruction."""

    cameras: dict[int, ModelCamera]
    images: tuple[ModelImage, ...]
    points: ModelPoints
    file: Path  # where the images are listed


def read_bytes(path: Path) -> bytes:
    """A file's content; CaptureError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaptureError(
            f"{path} cannot be read ({error.strerror}): make it a readable file, or run the"
            " reconstruction again"
        ) from error
