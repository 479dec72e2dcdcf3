"""A plan of a run: its cameras from above, the test views among them, and the region of interest.

All places are in units of the drawing, y downwards.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from neural_render.captures.doctor.coverage import CORNERS, region_points
from neural_render.captures.doctor.drawing import thinned_points
from neural_render.captures.records import Capture
from neural_render.core.cameras import Cameras
from neural_render.core.flight.paths import up_of

WIDTH = 400
MARGIN = 14
CAMERA = 13  # the length of a camera
MOST_POINTS, MOST_CAMERAS = 1500, 600
LEVEL_LOOK = 0.3  # cameras that look one way all in all are drawn looking up the page


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A drawing; test views stand with their names."""

    width: int
    height: int
    region: str  # of an SVG path: the edges of the box
    points: str  # of an SVG path
    train: str  # of an SVG path
    test: tuple[tuple[str, str], ...]  # name, SVG path


NO_PLAN = Plan(width=0, height=0, region="", points="", train="", test=())


def plan_of(capture: Capture) -> Plan:
    """The plan of a capture; `NO_PLAN` where nothing can be drawn."""
    train, test = (_frusta(part.cameras) for part in (capture.train, capture.test))
    if not len(train):
        return NO_PLAN
    basis = _basis(capture.train.cameras)
    corners = region_points(capture.frame, torch.tensor(CORNERS, dtype=torch.float64)).numpy()
    ends = np.percentile(np.concatenate([train[:, 0], test[:, 0]]) @ basis.T, [1, 99], axis=0)
    shown = np.concatenate([ends, corners @ basis.T])
    low, high = shown.min(axis=0), shown.max(axis=0)
    scale = (WIDTH - 2 * MARGIN) / max(float((high - low).max()), 1e-12)
    height = round(float((high - low)[1]) * scale) + 2 * MARGIN
    offset = np.array([0.5 * WIDTH, 0.5 * height]) - 0.5 * scale * (low + high) * [1, -1]

    def placed(points: np.ndarray) -> np.ndarray:
        return points @ basis.T * [scale, -scale] + offset

    def drawn(frustum: np.ndarray) -> str:
        apex, *ends = placed(frustum[:1] + (frustum - frustum[:1]) * CAMERA / scale)
        return _path([apex, *ends]) + "Z"

    positions, _ = thinned_points(capture, MOST_POINTS)
    cloud = placed(positions) if len(positions) else np.zeros((0, 2))
    inside = ((cloud >= 0) & (cloud <= [WIDTH, height])).all(axis=1)
    every = -(-len(train) // MOST_CAMERAS)
    return Plan(
        width=WIDTH,
        height=height,
        region=_edges(placed(corners)),
        points="".join(f"M{x:.0f} {y:.0f}h0" for x, y in cloud[inside]),
        train="".join(map(drawn, train[::every])),
        test=tuple(zip(capture.test.names, map(drawn, test), strict=True)),
    )


def _basis(cameras: Cameras) -> Float64[np.ndarray, "2 3"]:
    """Two axes across the cameras' mean up direction: to the right and up the page."""
    up = up_of(cameras).double().cpu().numpy()
    ahead = cameras.world_from_camera[:, :, 2].double().mean(dim=0).cpu().numpy()
    ahead = ahead - up * (ahead @ up)
    if np.linalg.norm(ahead) < LEVEL_LOOK:
        ahead = np.linalg.svd(up[None])[2][1]
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), ahead])


def _frusta(cameras: Cameras) -> Float64[np.ndarray, "cameras 3 3"]:
    """Of each camera its place, and the ends of a frustum of length 1 left and right."""
    poses = cameras.world_from_camera.double().cpu().numpy()
    places, right, ahead = poses[:, :, 3], poses[:, :, 0], poses[:, :, 2]
    return np.stack([places, places + ahead - 0.42 * right, places + ahead + 0.42 * right], axis=1)


def _edges(corners: Float64[np.ndarray, "8 2"]) -> str:
    """The twelve edges of a box whose corners are in binary order."""
    pairs = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]
    return "".join(_path([corners[first], corners[second]]) for first, second in pairs)


def _path(points: list[np.ndarray]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
