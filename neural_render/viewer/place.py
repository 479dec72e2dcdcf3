"""How the capture's world is shown: which way is up, where visitors begin, in which units.

The page keeps depths with five decimals up to 167 units, and its camera moves in steps of about a
unit: worlds that are much larger or smaller are shown scaled by a power of ten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.flight.paths import (
    distance_scale,
    fit_orbit,
    is_forward_facing,
    path_cameras,
)
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import look_at
from neural_render.viewer.requests import LEAST_FOV, MOST_FOV, Box, Vector, View, clamped, pose_view

LEAST_SIZE, MOST_SIZE = 0.5, 7.0  # typical distances that are shown as they are, in world units
# Of the pyramids that are drawn for cameras, and before which nothing is drawn, in such distances:
# who looks from where one stands sees nothing of it. The page's own picture is a unit away.
REACH, NEAR, FAR = 0.07, 0.08, 1e3


@dataclass(frozen=True, kw_only=True)
class Place:
    """The first view and the scene's size, in the world; ``unit``: of the page in world units."""

    first: View
    up: tuple[float, float, float]
    distance: float  # a typical one from camera to subject
    bounds: Box  # of what can be cropped
    unit: float

    @property
    def target(self) -> tuple[float, float, float]:
        """What the first view looks at, and visitors turn around."""
        ahead = self.first.pose[:, 3] + self.distance * self.first.pose[:, 2]
        x, y, z = ahead.tolist()
        return x, y, z

    @property
    def near(self) -> float:
        """The depth before which nothing is drawn into the scene, in the page's units."""
        return NEAR * self.distance / self.unit

    @property
    def far(self) -> float:
        """The depth beyond which nothing is drawn into the scene, in the page's units."""
        return FAR * self.distance / self.unit

    def pyramid(self, fov_rad: float, aspect: float) -> float:
        """The page's measure of how large a camera's pyramid is: all reach as far."""
        across = math.tan(min(fov_rad, MOST_FOV) / 2)
        return REACH * self.distance / self.unit * (across * across * aspect / 3) ** (1 / 3)

    def on_page(self, point: Sequence[float]) -> Vector:
        """A point of the world in the page's units."""
        x, y, z = (value / self.unit for value in point)
        return x, y, z


def find_place(cameras: Cameras, frame: SceneFrame) -> Place:
    """Where the cameras of a capture (in the world) suggest to begin.

    On the orbit that they lie on, looking at its middle; where they look out, or all one way, at
    the first of them.
    """
    orbit = fit_orbit(cameras)
    usual = path_cameras(cameras.world_from_camera[:1], cameras)
    fov = 2 * math.atan((usual.height[0] / (2 * usual.focal_px[0, 1])).item())
    poses = cameras.world_from_camera.detach().double().cpu()
    pose, distance = poses[0], orbit.radius
    if orbit.facing > 0 and not is_forward_facing(cameras):
        lift = orbit.elevation_rad
        at = orbit.center + orbit.radius * (
            math.cos(lift) * orbit.start + math.sin(lift) * orbit.up
        )
        pose = look_at(at, orbit.center, orbit.up)
    elif orbit.facing > 0:
        distance = max(((orbit.center - pose[:, 3]) @ pose[:, 2]).item(), 1e-3 * orbit.radius)
    else:
        distance = distance_scale(poses)
    x, y, z = orbit.up.tolist()
    return Place(
        first=pose_view(pose, clamped(fov, LEAST_FOV, MOST_FOV)),
        up=(x, y, z),
        distance=distance,
        bounds=_bounds(frame, pose[:, 3] + distance * pose[:, 2], distance),
        unit=unit_of(distance),
    )


def unit_of(distance: float) -> float:
    """World units for each unit of the page: 1, or a power of ten that suits a typical distance."""
    if LEAST_SIZE <= distance <= MOST_SIZE:
        return 1.0
    return 10.0 ** round(math.log10(distance / 4.0))


def _bounds(frame: SceneFrame, middle: Float[Tensor, "3"], distance: float) -> Box:
    """The cube of interest; nested cubes and disparity have more around it."""
    half = frame.world_from_field.scale * 2.0 ** (1 - frame.cascades) / 2
    if not frame.projection.is_identity:
        half = 2 * distance
    elif frame.cascades > 1:
        middle, half = frame.world_from_field.apply(torch.full((3,), 0.5).double()), 2 * half
    else:
        middle = frame.world_from_field.apply(torch.full((3,), 0.5).double())
    low, high = (middle - half).tolist(), (middle + half).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
