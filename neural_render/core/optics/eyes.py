"""The cameras of a film in other formats: pinholes, fisheyes, panoramas; and a pair of eyes.

Legend: e the distance between the eyes, D the depth that both see in the same place, a the azimuth
of a ray.

Two eyes stand side by side and look the same way; what is at depth z is seen ``f e / z`` pixels
further left by the right one, less what both pictures are shifted by, ``f e / D``. A panorama has
no side by side: there each ray starts at the end of a segment of length e that lies across it
("Rendering Omni-directional Stereo Content", Google 2015). Straight up and down there is none:
between the two angles below the eyes come together.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.transforms import look_at

FORMATS = ("own", "pinhole", "fisheye", "panorama")
LAYOUTS = ("none", "side_by_side", "top_bottom")
FISHEYE_RAD = math.pi
MERGING_RAD = (math.radians(60.0), math.radians(75.0))  # from the horizon: as Blender's defaults


@dataclass(frozen=True, kw_only=True)
class Eye:
    """Cameras in the world, one a frame, and how far to the right of them, across each ray, the
    rays start (0 but in stereo panoramas)."""

    cameras: Cameras
    circle: float = 0.0


def pinholes(cameras: Cameras, fov_rad: float) -> Cameras:
    """The same views through pinholes with square pixels; ``fov_rad`` is vertical, 0: as it was."""
    focal = cameras.focal_px[:, 1]
    if fov_rad:
        focal = cameras.height / 2 / math.tan(fov_rad / 2)
    return _centered(cameras, Lens.PERSPECTIVE, focal[:, None].expand(-1, 2))


def fisheyes(cameras: Cameras, fov_rad: float) -> Cameras:
    """Equidistant fisheyes in the same places; ``fov_rad`` (0: pi) is that of the shorter side."""
    shorter = torch.minimum(cameras.width, cameras.height)
    focal = shorter / (fov_rad or FISHEYE_RAD)
    return _centered(cameras, Lens.FISHEYE, focal[:, None].expand(-1, 2))


def widest_angle_rad(cameras: Cameras) -> float:
    """The angle between a fisheye's axis and what its pictures' corners show."""
    half = torch.stack([cameras.width, cameras.height], dim=-1) / 2
    return (half / cameras.focal_px).norm(dim=-1).amax().item()


def panoramas(cameras: Cameras, up: Float[Tensor, "3"]) -> Cameras:
    """All that is around, latitude and longitude evenly: ahead in the middle, up at the top.

    They are level whatever the cameras' own pitch and roll.
    """
    poses = cameras.world_from_camera
    up = up.to(poses)
    level = poses[..., 2] - (poses[..., 2] @ up)[:, None] * up
    # Who looks straight down has the way ahead at the picture's top, who looks up at its bottom.
    spare = poses[..., 1] * torch.sign(poses[..., 2] @ up)[:, None]
    spare = spare - (spare @ up)[:, None] * up
    ahead = torch.where(level.norm(dim=-1, keepdim=True) > 1e-3, level, spare)
    position = poses[..., 3]
    turned = replace(
        cameras, world_from_camera=look_at(position, position + ahead, up.expand_as(position))
    )
    focal = torch.stack([cameras.width / math.tau, cameras.height / math.pi], dim=-1)
    return _centered(turned, Lens.EQUIRECTANGULAR, focal)


def eye_pair(cameras: Cameras, distance: float, convergence: float) -> tuple[Eye, Eye]:
    """The left and the right eye. ``convergence`` is D, 0: what is infinitely far; only pinholes
    can have another one."""
    left, right = (
        Eye(cameras=cameras, circle=side * distance / 2)
        if is_panorama(cameras)
        else Eye(cameras=_beside(cameras, side * distance / 2, convergence))
        for side in (-1, 1)
    )
    return left, right


def is_panorama(cameras: Cameras) -> bool:
    """Whether the pictures show all that is around."""
    return bool((cameras.lens == Lens.EQUIRECTANGULAR).all())


def ray_origins(directions: Float[Tensor, "rays 3"], circle: float) -> Float[Tensor, "rays 3"]:
    """Where rays of an eye start, in camera axes: ``circle`` to the right of each, level."""
    x, y, z = directions.unbind(-1)
    across = torch.stack([z, torch.zeros_like(y), -x], dim=-1)
    level = torch.hypot(x, z)
    low, high = MERGING_RAD
    share = ((torch.atan2(y.abs(), level) - low) / (high - low)).clamp(0, 1)
    apart = (math.pi / 2 * share).cos()
    return across * (circle * apart / level.clamp(min=1e-6))[:, None]


def _beside(cameras: Cameras, right: float, convergence: float) -> Cameras:
    """The same cameras ``right`` of where they are, their pictures shifted so that what lies at
    depth ``convergence`` stays where it was."""
    poses = cameras.world_from_camera
    position = poses[..., 3] + right * poses[..., 0]
    moved = torch.cat([poses[..., :3], position[..., None]], dim=-1)
    center = cameras.center_px.clone()
    if convergence:
        center[:, 0] += cameras.focal_px[:, 0] * right / convergence
    return replace(cameras, world_from_camera=moved, center_px=center)


def _centered(cameras: Cameras, lens: Lens, focal: Float[Tensor, "cameras 2"]) -> Cameras:
    """Undistorted cameras with the axis in the pictures' middle."""
    middle = torch.stack([cameras.width, cameras.height], dim=-1) / 2
    return replace(
        cameras,
        focal_px=focal.to(cameras.focal_px).contiguous(),
        center_px=middle.to(cameras.center_px),
        distortion=torch.zeros_like(cameras.distortion[:, :6]),
        lens=torch.full_like(cameras.lens, int(lens)),
    )
