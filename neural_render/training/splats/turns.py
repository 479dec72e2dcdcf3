"""Where pinholes look so that together they see what a camera with a wider lens does."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens, half_angles_rad
from neural_render.core.flight.paths import WIDEST_PINHOLE_RAD
from neural_render.core.transforms import rotation_from_vector

LEAST_RAD = math.radians(5.0)  # beyond a pinhole's edge that are worth another one
_QUARTER = math.pi / 2
_AROUND = ((0.0, 0.0), (_QUARTER, 0.0), (math.pi, 0.0), (-_QUARTER, 0.0))
_UP_AND_DOWN = ((0.0, _QUARTER), (0.0, -_QUARTER))


def pinhole_poses(cameras: Cameras) -> Float[Tensor, "poses 3 4"]:
    """Poses of square pinholes of `WIDEST_PINHOLE_RAD`, one or more for each of the cameras.

    Six see all that a panorama does; of a fisheye up to five see all but its corners, and hardly
    anything beyond its edges, which no photo shows. A perspective camera has one.
    """
    angles = half_angles_rad(cameras).tolist()
    found = []
    for index, lens in enumerate(cameras.lens.tolist()):
        pose = cameras.world_from_camera[index]
        for yaw, pitch in _turns(lens, *angles[index]):
            turn = rotation_from_vector(pose.new_tensor([pitch, yaw, 0.0]))
            found.append(torch.cat([pose[:, :3] @ turn, pose[:, 3:]], dim=1))
    return torch.stack(found)


def _turns(lens: int, across: float, down: float) -> tuple[tuple[float, float], ...]:
    """Turns about the camera's y axis and about its x axis, of which one is 0."""
    if lens == Lens.EQUIRECTANGULAR:
        return _AROUND + _UP_AND_DOWN
    yaw, pitch = across - WIDEST_PINHOLE_RAD / 2, down - WIDEST_PINHOLE_RAD / 2
    turns = [(0.0, 0.0)]
    if lens != Lens.PERSPECTIVE:
        turns += [(yaw, 0.0), (-yaw, 0.0)] if yaw > LEAST_RAD else []
        turns += [(0.0, pitch), (0.0, -pitch)] if pitch > LEAST_RAD else []
    return tuple(turns)
