"""What a reader finds in a capture's files, before any image is opened."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from neural_render.core.cameras import Lens


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Intrinsics as a file states them: NaN where it is silent, size (0, 0) for the image's own.

    A focal length outranks an angle of view; a missing second one means square pixels; a missing
    centre is the image's middle. ``distortion`` is (k1, k2, k3, k4, p1, p2), or
    `ALL_COEFFICIENTS` of `core.lenses.kinds` where a photo of the capture needs more. An
    equirectangular image has no focal length: it shows the whole sphere.
    """

    lens: Lens = Lens.PERSPECTIVE
    size: tuple[int, int] = (0, 0)
    focal_px: tuple[float, float] = (math.nan, math.nan)
    fov_rad: tuple[float, float] = (math.nan, math.nan)
    center_px: tuple[float, float] = (math.nan, math.nan)
    distortion: tuple[float, ...] = (0.0,) * 6


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo of a capture: its files, its pose (camera axes as in `core.cameras`), its lens."""

    name: str  # unique in the capture, as the capture lists it
    where: str  # "frame 3 of .../transforms.json", for messages
    image: Path
    mask: Path | None
    world_from_camera: Float64[np.ndarray, "3 4"]
    calibration: Calibration
    # The nearest and the farthest depth that it shows, in world units; NaN where nothing says so.
    bounds: tuple[float, float] = (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The cube of interest as a file states it, in world units: NaN or 0 where it is silent."""

    center: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    half_extent: float = math.nan
    aabb_scale: int = 0


@dataclass(frozen=True, kw_only=True)
class SparsePoints:
    """Points that structure from motion found, in the capture's world, and where photos show them.

    A row of ``point``, ``photo`` and ``place`` is one observation: the index of its point, that of
    its photo in ``names``, and where in the photo it is seen, in shares of width and height (the
    corners are (0, 0) and (1, 1), however large the photo is).
    """

    positions: Float64[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]
    names: tuple[str, ...]  # as in `Photo.name`
    point: Int64[np.ndarray, " observations"]
    photo: Int64[np.ndarray, " observations"]
    place: Float64[np.ndarray, "observations 2"]
    found: bool = False  # here, with the cameras that are stated, and not along with them

    def __len__(self) -> int:
        """The number of points."""
        return len(self.positions)


def no_points() -> SparsePoints:
    """What a format without structure from motion has."""
    return SparsePoints(
        positions=np.zeros((0, 3)),
        colors=np.zeros((0, 3), dtype=np.uint8),
        names=(),
        point=np.zeros(0, dtype=np.int64),
        photo=np.zeros(0, dtype=np.int64),
        place=np.zeros((0, 2)),
    )


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A capture's photos; with ``split`` empty all are in ``train``: the default split applies."""

    train: tuple[Photo, ...]
    test: tuple[Photo, ...] = ()
    split: str = ""
    placement: Placement = field(default_factory=Placement)
    points: SparsePoints = field(default_factory=no_points)
    warnings: tuple[str, ...] = ()
