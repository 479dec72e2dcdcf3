"""Single photos whose poses disagree with the photos around them, among others that agree."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from neural_render.captures.doctor.findings import Finding, Severity, few_names
from neural_render.captures.doctor.poses.choosing import nearest_views
from neural_render.captures.doctor.poses.residuals import Bearings, pair_errors_px
from neural_render.captures.doctor.poses.scoring import GOOD_PX

LEAST_PAIRS = 2  # that a photo must have failed in
MOST_EXCHANGED = 8  # strays among which exchanged poses are looked for
REACH = 2  # photos before and after a suspect, by name, that it is compared with too


def fits_of(
    photos: Sequence[tuple[int, int]], errors_px: Float64[np.ndarray, " pairs"]
) -> dict[int, list[bool]]:
    """For each compared photo, whether it fits each of the photos that it was compared with."""
    fits: dict[int, list[bool]] = {}
    for pair, error in zip(photos, errors_px.tolist(), strict=True):
        for photo in pair:
            fits.setdefault(photo, []).append(error < GOOD_PX)
    return fits


def suspect_pairs(
    photos: Sequence[tuple[int, int]],
    errors_px: Float64[np.ndarray, " pairs"],
    poses: Float64[np.ndarray, "photos 3 4"],
    world_size: float,
) -> set[tuple[int, int]]:
    """Further pairs of photos that fitted nothing so far: neighbours by name and by pose."""
    pairs: set[tuple[int, int]] = set()
    for photo, fits in fits_of(photos, errors_px).items():
        if any(fits):
            continue
        by_name = [photo + step for step in range(-REACH, REACH + 1) if step]
        by_pose = nearest_views(photo, poses, world_size)[:REACH]
        for other in (*by_name, *by_pose):
            if 0 <= other < len(poses) and other != photo:
                pairs.add((min(photo, other), max(photo, other)))
    return pairs


def stray_findings(
    rays: Bearings,
    poses: Float64[np.ndarray, "photos 3 4"],
    errors_px: Float64[np.ndarray, " pairs"],
    names: Sequence[str],
) -> list[Finding]:
    """Photos that fit none of the others, by name; two whose poses were exchanged, as such."""
    fits = fits_of(pairs_of(rays), errors_px)
    lost = sorted(p for p, wells in fits.items() if len(wells) >= LEAST_PAIRS and not any(wells))
    if not lost:
        return []
    for first, second in itertools.combinations(lost[:MOST_EXCHANGED], 2):
        if _exchanged(rays, poses, first, second):
            return [
                Finding(
                    name="shuffled names",
                    severity=Severity.WARNING,
                    sentence=f"{names[first]} and {names[second]} have each other's poses",
                    mend="exchange their names or their poses",
                )
            ]
    return [
        Finding(
            name="single poses",
            severity=Severity.WARNING,
            sentence="the poses of these photos disagree with all photos around them:"
            f" {few_names([names[photo] for photo in lost])}",
            mend="remove these photos or correct their poses",
        )
    ]


def pairs_of(rays: Bearings) -> list[tuple[int, int]]:
    """The pairs of photos that were compared."""
    return [(first, second) for first, second in rays.evidence.photos.tolist()]


def _exchanged(
    rays: Bearings, poses: Float64[np.ndarray, "photos 3 4"], first: int, second: int
) -> bool:
    """Whether most pairs of both photos fit once they have each other's poses."""
    changed = poses.copy()
    changed[[first, second]] = poses[[second, first]]
    fits = fits_of(pairs_of(rays), pair_errors_px(rays, changed))
    return all(sum(fits[photo]) * 2 > len(fits[photo]) for photo in (first, second))
