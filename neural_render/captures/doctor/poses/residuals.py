"""How far matches are from where cameras allow them to be.

A point seen in direction d1 by the first camera can appear in the second on an arc only: from
a = R d1, if it is infinitely far, to e, the place of the first camera itself. The residual is the
angle from d2 to that arc. Unlike an epipolar (Sampson) error it also tells a point behind a camera.

Legend: d1, d2 unit bearings in their cameras' axes; R, t second_from_first; a the point at
infinity, e = t / |t| the epipole; n the normal of the plane through both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from neural_render.captures.doctor.poses.matching import (
    Match,
    bearings,
    focal_at_match_side,
)
from neural_render.core.cameras import Cameras

MAX_PER_PAIR = 80


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All matches in one row of arrays, so that a hypothesis costs few operations.

    ``pair`` counts up from 0, and matches of a pair follow each other.
    """

    photos: Int64[np.ndarray, "pairs 2"]
    pair: Int64[np.ndarray, " matches"]
    first: Float64[np.ndarray, "matches 2"]
    second: Float64[np.ndarray, "matches 2"]


@dataclass(frozen=True, kw_only=True)
class Bearings:
    """The same matches as directions, and what an angle is in pixels."""

    evidence: Evidence
    first: Float64[np.ndarray, "matches 3"]
    second: Float64[np.ndarray, "matches 3"]
    focal_px: Float64[np.ndarray, "matches 2"]  # of both photos, at MATCH_SIDE


def gather(matches: Sequence[Match]) -> Evidence:
    """The matches as evidence, evenly thinned where a pair has very many."""
    chosen = [np.unique(np.linspace(0, len(m) - 1, MAX_PER_PAIR).astype(np.int64)) for m in matches]
    return Evidence(
        photos=np.array([m.photos for m in matches], dtype=np.int64).reshape(-1, 2),
        pair=np.repeat(np.arange(len(matches)), [len(c) for c in chosen]),
        first=np.concatenate([m.first[c] for m, c in zip(matches, chosen, strict=True)]),
        second=np.concatenate([m.second[c] for m, c in zip(matches, chosen, strict=True)]),
    )


def bearings_of(evidence: Evidence, cameras: Cameras) -> Bearings:
    """The directions of all matches under the cameras' intrinsics."""
    photos = evidence.photos[evidence.pair]
    return Bearings(
        evidence=evidence,
        first=bearings(cameras, photos[:, 0], evidence.first),
        second=bearings(cameras, photos[:, 1], evidence.second),
        focal_px=focal_at_match_side(cameras)[photos],
    )


def turned(rays: Bearings, axes: Float64[np.ndarray, "3 3"]) -> Bearings:
    """The directions in other camera axes: ``axes`` maps the present ones to the new."""
    return replace(rays, first=rays.first @ axes.T, second=rays.second @ axes.T)


def residuals_px(
    rays: Bearings, poses: Float64[np.ndarray, "photos 3 4"]
) -> Float64[np.ndarray, " matches"]:
    """The residual of each match, the larger of both directions, in pixels at MATCH_SIDE."""
    photos = rays.evidence.photos
    first, second = poses[photos[:, 0]], poses[photos[:, 1]]
    rotation = second[:, :, :3].transpose(0, 2, 1) @ first[:, :, :3]
    shift = first[:, :, 3] - second[:, :, 3]
    to_second = np.einsum("pij,pi->pj", second[:, :, :3], shift)
    to_first = np.einsum("pij,pi->pj", first[:, :, :3], -shift)
    pair = rays.evidence.pair
    turn = rotation[pair]
    there = _angle_to_arc(np.einsum("mij,mj->mi", turn, rays.first), to_second[pair], rays.second)
    back = _angle_to_arc(np.einsum("mji,mj->mi", turn, rays.second), to_first[pair], rays.first)
    return np.maximum(there * rays.focal_px[:, 1], back * rays.focal_px[:, 0])


def pair_errors_px(
    rays: Bearings, poses: Float64[np.ndarray, "photos 3 4"]
) -> Float64[np.ndarray, " pairs"]:
    """The median residual of each pair."""
    return median_per_pair(residuals_px(rays, poses), rays.evidence.pair)


def median_per_pair(
    values: Float64[np.ndarray, " matches"], pair: Int64[np.ndarray, " matches"]
) -> Float64[np.ndarray, " pairs"]:
    """The upper median of each pair's values; pairs count up from 0 and none is empty."""
    ordered = values[np.lexsort((values, pair))]
    counts = np.bincount(pair)
    return ordered[counts.cumsum() - counts + counts // 2]


def _angle_to_arc(
    infinity: Float64[np.ndarray, "matches 3"],
    epipole: Float64[np.ndarray, "matches 3"],
    seen: Float64[np.ndarray, "matches 3"],
) -> Float64[np.ndarray, " matches"]:
    """The angle from ``seen`` to the arc between two directions (the second of any length)."""
    length = np.linalg.norm(epipole, axis=1, keepdims=True)
    epipole = epipole / np.maximum(length, 1e-30)
    normal = np.cross(infinity, epipole)
    size = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal / np.maximum(size, 1e-30)
    across = np.abs((normal * seen).sum(1))
    after = (np.cross(infinity, seen) * normal).sum(1) >= 0
    before = (np.cross(seen, epipole) * normal).sum(1) >= 0
    on_arc = after & before & (size[:, 0] > 1e-9) & (length[:, 0] > 0)
    to_infinity = _angle(infinity, seen)
    to_end = np.where(length[:, 0] > 0, np.minimum(to_infinity, _angle(epipole, seen)), to_infinity)
    return np.where(on_arc, np.arcsin(np.minimum(across, 1)), to_end)


def _angle(
    first: Float64[np.ndarray, "matches 3"], second: Float64[np.ndarray, "matches 3"]
) -> Float64[np.ndarray, " matches"]:
    """The angle between unit vectors, exact for small ones."""
    chord = np.linalg.norm(first - second, axis=1)
    return 2 * np.arcsin(np.minimum(0.5 * chord, 1))
