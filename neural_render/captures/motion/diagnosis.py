"""What a reconstruction came to, and why it failed: one sentence with how to capture again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float

MIN_PHOTOS = 3
# A photo with fewer features shows too little; a pair with fewer verified matches proves nothing.
MIN_FEATURES = 150
# Degrees: below this angle between the rays to a point its distance is a guess.
MIN_ANGLE_DEG = 1.0
# Below this share of photos with a pose the capture is worth repeating.
FEW = 0.8
# Of the distance to what is seen: pairs taken from places less far apart show one picture.
MIN_PARALLAX = 0.012
_FOCALS = np.geomspace(0.4, 4, 60)  # longer sides of the image, tried for turning cameras
_SHOWN = 8
_WALK = (
    "take 20 or more photos while walking around the subject, each from another place and sharing"
    " at least two thirds of its picture with the one before"
)
_ROTATION = (
    "the camera turned but hardly moved, and from one place no depth can be seen: take every photo"
    " from another place, a step further each time, instead of turning on the spot"
)
_TEXTURELESS = (
    "show little that can be recognised: add objects with texture, such as a printed cloth or"
    " newspapers, to bare, shiny or transparent ones, light the scene well, and avoid blur"
)
# COLMAP's names for pairs that one homography explains: a plane, or a camera that only turned.
_FLAT_KINDS = ("PLANAR", "PANORAMIC", "PLANAR_OR_PANORAMIC")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two photos that verifiably show the same."""

    photos: tuple[str, str]
    kind: str
    angle_deg: float  # NaN where it was not asked for or cannot be told
    homography: tuple[tuple[float, ...], ...]  # see the worker; empty for most kinds


@dataclass(frozen=True, kw_only=True)
class Model:
    """Photos and points that were placed together."""

    photos: tuple[str, ...]
    num_points: int
    error_px: float  # mean reprojection error
    angle_deg: float  # median over points
    focal_px: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that COLMAP found; the largest model comes first."""

    features: dict[str, int]  # of every photo that could be read
    pairs: tuple[Pair, ...]
    models: tuple[Model, ...]

    @property
    def only_turned(self) -> bool:
        """Whether all pictures fit upon each other as those of a camera that stayed in its place.

        COLMAP, that knows no focal length, may take them for pictures of a plane from elsewhere.
        """
        maps = [np.array(pair.homography) for pair in self.pairs if pair.homography]
        flat = sum(pair.kind in _FLAT_KINDS for pair in self.pairs)
        return (
            bool(maps) and 2 * flat > len(self.pairs) and _parallax(np.array(maps)) < MIN_PARALLAX
        )

    @property
    def is_usable(self) -> bool:
        """Whether the largest model has photos enough, and sees depth."""
        largest = self.models[0] if self.models else None
        return (
            largest is not None
            and len(largest.photos) >= MIN_PHOTOS
            and largest.angle_deg >= MIN_ANGLE_DEG
            and not self.only_turned
        )


def read_outcome(answer: dict[str, Any]) -> Outcome:
    """The worker's answer as records."""
    nan = float("nan")
    pairs = [
        Pair(
            photos=(pair["photos"][0], pair["photos"][1]),
            kind=pair["kind"],
            angle_deg=nan if pair["angle_deg"] is None else pair["angle_deg"],
            homography=tuple(tuple(row) for row in pair["homography"]),
        )
        for pair in answer["pairs"]
    ]
    models = [
        Model(
            photos=tuple(model["photos"]),
            num_points=model["points"],
            error_px=model["error_px"],
            angle_deg=model["angle_deg"],
            focal_px=tuple(model["focal_px"]),
        )
        for model in answer["models"]
    ]
    return Outcome(features=answer["features"], pairs=tuple(pairs), models=tuple(models))


def failure(outcome: Outcome, folder: Path, names: Sequence[str]) -> str:
    """Why no usable model came out of these photos, and how to capture again."""
    start = f"it could not be found where the {len(names)} photos of {folder} were taken"
    unread = [name for name in names if name not in outcome.features]
    if len(names) - len(unread) < MIN_PHOTOS:
        return (
            f"{start}: {len(unread)} of them cannot be decoded, such as {unread[0]}: copy them"
            " again from the camera, or convert them to JPEG"
        )
    counts = sorted(outcome.features.values())
    if median(counts) < MIN_FEATURES:
        return (
            f"{start}: half of them have at most {median(counts):.0f} features, so they"
            f" {_TEXTURELESS}"
        )
    connected = {name for pair in outcome.pairs for name in pair.photos}
    angles = [pair.angle_deg for pair in outcome.pairs if pair.angle_deg == pair.angle_deg]
    flat = [pair for pair in outcome.pairs if pair.kind in _FLAT_KINDS]
    if outcome.only_turned:
        return (
            f"{start}: {len(flat)} of {len(outcome.pairs)} pairs of photos fit upon each other"
            f" without any parallax, so {_ROTATION}"
        )
    if outcome.models and outcome.models[0].angle_deg < MIN_ANGLE_DEG:
        angle = outcome.models[0].angle_deg
        return f"{start}: points are seen at angles of {angle:.2g} degrees, as if {_ROTATION}"
    if angles and median(angles) < MIN_ANGLE_DEG:
        return (
            f"{start}: most pairs see points at angles of {median(angles):.2g} degrees, as if"
            f" {_ROTATION}"
        )
    return (
        f"{start}: too few pairs match, {len(outcome.pairs)}, and {len(names) - len(connected)}"
        f" photos match no other: {_WALK}"
    )


def left_out(outcome: Outcome, names: Sequence[str]) -> str:
    """How many photos the largest model lacks, which, and what to do; nothing if it has all."""
    placed = outcome.models[0].photos
    missing = sorted(set(names) - set(placed))
    if not missing:
        return ""
    shown = ", ".join(missing[:_SHOWN]) + (
        f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    )
    unread = [name for name in missing if name not in outcome.features]
    others = [len(model.photos) for model in outcome.models[1:]]
    why = f" ({len(unread)} cannot be decoded)" if unread else ""
    if others:
        why += f" (other models, which do not connect to it, have {', '.join(map(str, others))})"
    advice = ""
    if len(placed) < FEW * len(names):
        advice = f"; to connect them, {_WALK}"
    return (
        f"{len(missing)} of {len(names)} photos fell out of the largest model{why}: {shown}{advice}"
    )


def _parallax(maps: Float[np.ndarray, "pairs 3 3"]) -> float:
    """How far the places of most pairs lie apart, of the distance to what they see: 0 if turned.

    With the right focal length the map between pictures of a turned camera is a rotation, whose
    singular values are equal; the map by way of a plane stretches by about that share.
    """
    least = np.inf
    for focal in _FOCALS:
        axes = np.array([1 / focal, 1 / focal, 1.0])
        singular = np.linalg.svd(maps * axes[:, None] / axes, compute_uv=False)
        stretch = singular[:, 0] / np.maximum(singular[:, 2], 1e-12) - 1
        least = min(least, float(np.percentile(stretch, 75)))
    return least
