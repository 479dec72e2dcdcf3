"""One camera, as a newcomer makes one: where it stands, where it looks, how much it sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, half_angles_rad, image_rays
from neural_render.core.errors import SettingError
from neural_render.core.flight.paths import reframed
from neural_render.core.lenses.kinds import Lens
from neural_render.core.transforms import look_at

Number = float | int
Vector = Sequence[Number] | np.ndarray | Tensor
MAX_SIDE = 16384
RIGID_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera in the capture's world: its axes are x right, y down, z forward (OpenCV).

    ``record`` is the set of this one camera that all other modules take.
    """

    record: Cameras
    name: str = ""

    @classmethod
    def looking(
        cls,
        position: Vector,
        at: Vector,
        *,
        up: Vector = (0.0, 0.0, 1.0),
        fov_deg: Number = 45.0,
        size: tuple[int, int] = (800, 800),
    ) -> "Camera":
        """A pinhole camera at ``position`` that looks ``at`` a point.

        ``up`` is what is above in its picture, ``fov_deg`` the angle of view from top to bottom,
        ``size`` the width and height in pixels.
        """
        place, target, upward = _vector(position, "position"), _vector(at, "at"), _vector(up, "up")
        if bool((place == target).all()):
            raise SettingError(
                "a camera cannot look at where it stands: move one of the two points."
            )
        if not bool(upward.any()):
            raise SettingError("up=(0, 0, 0) is no direction: give one, such as up=(0, 0, 1).")
        return cls._pinhole(look_at(place, target, upward), fov_deg, size)

    @classmethod
    def posed(
        cls,
        world_from_camera: Any,
        *,
        fov_deg: Number = 45.0,
        size: tuple[int, int] = (800, 800),
    ) -> "Camera":
        """A pinhole camera of a pose: a matrix [3 4] or [4 4] whose columns are the camera's axes
        (right, down, forward) and its position in the world."""
        matrix = torch.as_tensor(np.asarray(world_from_camera, dtype=np.float64))
        if matrix.shape not in ((3, 4), (4, 4)) or not bool(matrix.isfinite().all()):
            raise SettingError(
                f"world_from_camera has the shape {list(matrix.shape)} or holds numbers that are"
                " not finite: give a matrix [3 4] or [4 4]."
            )
        axes = matrix[:3, :3]
        turned = torch.eye(3, dtype=torch.float64)
        if not torch.allclose(axes @ axes.T, turned, atol=RIGID_TOLERANCE) or torch.det(axes) < 0:
            raise SettingError(
                "world_from_camera is no pose: its first three columns must be a rotation (right,"
                " down, forward)."
            )
        return cls._pinhole(matrix[:3], fov_deg, size)

    @classmethod
    def _pinhole(
        cls, pose: Float[Tensor, "3 4"], fov_deg: Number, size: tuple[int, int]
    ) -> "Camera":
        width, height = checked_size(size)
        if not 0 < fov_deg < 180:
            raise SettingError(f"fov_deg={fov_deg:g} is no angle of view: give 1 to 179 degrees.")
        focal = height / 2 / math.tan(math.radians(fov_deg) / 2)
        return cls(
            record=Cameras(
                world_from_camera=pose[None].float(),
                focal_px=torch.tensor([[focal, focal]]),
                center_px=torch.tensor([[width / 2, height / 2]]),
                distortion=torch.zeros(1, 6),
                lens=torch.tensor([int(Lens.PERSPECTIVE)]),
                width=torch.tensor([width]),
                height=torch.tensor([height]),
            )
        )

    @property
    def position(self) -> Float[np.ndarray, "3"]:
        """Where it stands in the world."""
        return self.world_from_camera[:, 3]

    @property
    def forward(self) -> Float[np.ndarray, "3"]:
        """The unit direction in which it looks."""
        return self.world_from_camera[:, 2]

    @property
    def world_from_camera(self) -> Float[np.ndarray, "3 4"]:
        """Its pose: its axes and its position, in columns."""
        return self.record.world_from_camera[0].numpy(force=True)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.record.width[0]), int(self.record.height[0])

    @property
    def fov_deg(self) -> float:
        """The angle of view from top to bottom, as if nothing was distorted."""
        return math.degrees(2 * float(half_angles_rad(self.record)[0, 1]))

    @property
    def directions(self) -> Float[np.ndarray, "height width 3"]:
        """The unit directions in the world through the centres of its pixels."""
        rays = image_rays(self.record, 0)
        width, height = self.size
        return rays.directions.numpy(force=True).reshape(height, width, 3)

    def resized(self, width: int, height: int) -> "Camera":
        """The same view in another format: the angle of view from top to bottom stays."""
        checked_size((width, height))
        return Camera(record=reframed(self.record, width, height), name=self.name)


def cameras_of(record: Cameras, names: Sequence[str] = ()) -> tuple[Camera, ...]:
    """A set of cameras one by one."""
    given = names or [f"{index:04d}" for index in range(len(record))]
    return tuple(
        Camera(record=record[index : index + 1], name=name) for index, name in enumerate(given)
    )


def checked_size(size: Any) -> tuple[int, int]:
    """``size`` if it is a width and a height; SettingError if not."""
    try:
        width, height = (int(side) for side in size)
    except (TypeError, ValueError):
        width, height = 0, 0
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise SettingError(
            f"size={size!r} is no size: give (width, height) in pixels, each from 1 to {MAX_SIDE}."
        )
    return width, height


def _vector(value: Vector, name: str) -> Float[Tensor, "3"]:
    """Three finite numbers; SettingError for anything else."""
    try:
        found = torch.as_tensor(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        found = torch.zeros(0)
    if found.shape != (3,) or not bool(found.isfinite().all()):
        raise SettingError(f"{name}={value!r} is no place: give three finite numbers (x, y, z).")
    return found
