"""Cameras: poses, intrinsics and lens distortion, both ways (pixel to ray, point to pixel).

Camera axes: x right, y down, z forward (OpenCV). Pixels are continuous: the centre of the first
pixel is (0.5, 0.5).

Legend: (x, y) point on the plane z = 1, r its distance from the axis, theta the angle to the axis,
u = (pixel - center) / focal the distorted point, L the radial factor, J the Jacobian du/d(x, y).

Sources: OpenCV, "Camera Calibration and 3D Reconstruction" (k1 k2 p1 p2, and its fisheye model);
k3 and k4 multiply r^6 and r^8, as in instant-ngp's and nerfstudio's files.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.core.transforms import Similarity

# Newton doubles the digits at each step; wide lenses need about six, hopeless pixels all of them.
MAX_NEWTON_STEPS = 20
# Rays are made in pieces of so many pixels, so that the solver's temporaries stay small.
PIXELS_PER_PIECE = 1 << 16


class Lens(IntEnum):
    """How a camera maps the angle to its axis to the image."""

    PERSPECTIVE = 0
    FISHEYE = 1


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """A set of cameras, poses and intrinsics; every ray function is differentiable in its floats.

    ``world_from_camera`` may as well map to the field's frame: rays come out in the frame that it
    maps to. ``distortion`` is (k1, k2, k3, k4, p1, p2); a fisheye lens ignores p1 and p2.
    """

    world_from_camera: Float[Tensor, "cameras 3 4"]
    focal_px: Float[Tensor, "cameras 2"]
    center_px: Float[Tensor, "cameras 2"]
    distortion: Float[Tensor, "cameras 6"]
    lens: Int[Tensor, " cameras"]
    width: Int[Tensor, " cameras"]
    height: Int[Tensor, " cameras"]

    def __len__(self) -> int:
        """The number of cameras."""
        return self.lens.shape[0]

    def __getitem__(self, index: slice | Tensor) -> "Cameras":
        """The cameras at ``index`` (a slice, or an integer or boolean tensor)."""
        return Cameras(
            world_from_camera=self.world_from_camera[index],
            focal_px=self.focal_px[index],
            center_px=self.center_px[index],
            distortion=self.distortion[index],
            lens=self.lens[index],
            width=self.width[index],
            height=self.height[index],
        )

    def to(self, device: torch.device) -> "Cameras":
        """The same cameras on another device."""
        return Cameras(
            world_from_camera=self.world_from_camera.to(device),
            focal_px=self.focal_px.to(device),
            center_px=self.center_px.to(device),
            distortion=self.distortion.to(device),
            lens=self.lens.to(device),
            width=self.width.to(device),
            height=self.height.to(device),
        )

    def in_frame(self, similarity: Similarity) -> "Cameras":
        """The same cameras in the frame that ``similarity`` maps the present one to.

        Field cameras of a capture: ``cameras.in_frame(frame.world_from_field.inverse())``.
        """
        return replace(self, world_from_camera=similarity.apply_to_poses(self.world_from_camera))

    def resized(self, width: int, height: int) -> "Cameras":
        """The same cameras with images of another size that show the same view."""
        size = torch.tensor([width, height], device=self.width.device)
        ratio = size / torch.stack([self.width, self.height], dim=-1)
        ratio = ratio.to(self.focal_px.dtype)
        return replace(
            self,
            focal_px=self.focal_px * ratio,
            center_px=self.center_px * ratio,
            width=torch.full_like(self.width, width),
            height=torch.full_like(self.height, height),
        )


def rays_through_pixels(
    cameras: Cameras, camera_index: Int[Tensor, " rays"], pixels: Float[Tensor, "rays 2"]
) -> Rays:
    """Rays through continuous pixels, in the frame that ``world_from_camera`` maps to.

    Differentiable in all camera tensors and in the pixels. Pixels that the lens model cannot
    produce (`directions_in_camera`) get some finite ray.
    """
    directions, footprint, _ = directions_in_camera(cameras, camera_index, pixels)
    poses = cameras.world_from_camera.index_select(0, camera_index)
    return Rays(
        origins=poses[..., 3].contiguous(),
        directions=(poses[..., :3] * directions[:, None, :]).sum(-1),
        footprint=footprint,
    )


def image_rays(cameras: Cameras, index: int) -> Rays:
    """The rays through all pixel centres of one camera, row by row; differentiable."""
    directions, footprint = image_directions(cameras, index)
    return rays_from_pose(cameras.world_from_camera[index], directions, footprint)


def rays_from_pose(
    pose: Float[Tensor, "3 4"],
    directions: Float[Tensor, "rays 3"],
    footprint: Float[Tensor, " rays"],
) -> Rays:
    """Rays of directions in camera axes; row by row the same, however many there are."""
    # A matrix product would round differently where its blocks end.
    x, y, z = pose[:, :3].unbind(1)
    turned = (directions[:, :1] * x).addcmul_(directions[:, 1:2], y)
    turned = turned.addcmul_(directions[:, 2:], z)
    origins = pose[:, 3].expand_as(turned).contiguous()
    return Rays(origins=origins, directions=turned, footprint=footprint)


def image_directions(
    cameras: Cameras, index: int
) -> tuple[Float[Tensor, "pixels 3"], Float[Tensor, " pixels"]]:
    """Unit directions in camera axes through all pixel centres of one camera, row by row, and their
    footprints; differentiable."""
    camera = cameras[index : index + 1]
    pieces = [
        _lens_directions(pixels, camera.focal_px, camera.center_px, camera.distortion, camera.lens)
        for pixels in pixel_centers(cameras, index).split(PIXELS_PER_PIECE)
    ]
    return torch.cat([piece[0] for piece in pieces]), torch.cat([piece[1] for piece in pieces])


def pixel_centers(cameras: Cameras, index: int) -> Float[Tensor, "pixels 2"]:
    """The centres (x, y) of all pixels of one camera, row by row."""
    width, height = int(cameras.width[index]), int(cameras.height[index])
    grid = cameras.focal_px.new_empty(height, width, 2)
    grid[..., 0] = torch.arange(width, device=grid.device) + 0.5
    grid[..., 1] = torch.arange(height, device=grid.device)[:, None] + 0.5
    return grid.view(-1, 2)


def directions_in_camera(
    cameras: Cameras, camera_index: Int[Tensor, " rays"], pixels: Float[Tensor, "rays 2"]
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Unit directions in camera axes, footprints, and which pixels the lens model can produce.

    The footprint is the square root of a twelfth of the pixel's solid angle: the standard
    deviation of a box of one pixel, per unit of distance (on the axis ``1 / (sqrt(12) focal)``).
    Where the distortion polynomial folds back, the inverse does not exist: there the last value is
    False and the direction merely finite.
    """
    return _lens_directions(
        pixels,
        cameras.focal_px.index_select(0, camera_index),
        cameras.center_px.index_select(0, camera_index),
        cameras.distortion.index_select(0, camera_index),
        cameras.lens.index_select(0, camera_index),
    )


def _lens_directions(
    pixels: Float[Tensor, "rays 2"],
    focal: Float[Tensor, "#rays 2"],
    center: Float[Tensor, "#rays 2"],
    distortion: Float[Tensor, "#rays 6"],
    lens: Int[Tensor, " #rays"],
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """`directions_in_camera` with one row of intrinsics per ray, or one for all."""
    distorted = (pixels - center) / focal
    fisheye = lens == Lens.FISHEYE
    if bool(fisheye.all()):
        directions, solid_angle, valid = _fisheye_directions(distorted, distortion)
    else:
        plain = distortion.masked_fill(fisheye[:, None], 0)
        directions, solid_angle, valid = _perspective_directions(distorted, plain)
        if bool(fisheye.any()):
            other = _fisheye_directions(distorted, distortion)
            directions = torch.where(fisheye[:, None], other[0], directions)
            solid_angle = torch.where(fisheye, other[1], solid_angle)
            valid = torch.where(fisheye, other[2], valid)
    return directions, (solid_angle / (12 * focal.prod(-1))).sqrt(), valid


def project(
    cameras: Cameras, camera_index: Int[Tensor, " points"], points: Float[Tensor, "points 3"]
) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
    """The continuous pixels at which cameras see points, and the points' z-depths.

    The points are in the frame that ``world_from_camera`` maps to. Differentiable. A perspective
    pixel means something only where the depth is positive, and strong distortion can fold points
    from far outside the picture into it.
    """
    poses = cameras.world_from_camera.index_select(0, camera_index)
    offset = points - poses[..., 3]
    local = (poses[..., :3] * offset[:, :, None]).sum(-2)
    depth = local[:, 2]
    distortion = cameras.distortion.index_select(0, camera_index)
    tiny = torch.finfo(depth.dtype).tiny
    safe_depth = torch.where(depth.abs() > tiny, depth, torch.full_like(depth, tiny))
    distorted, _, _, _ = _distort(local[:, :2] / safe_depth[:, None], distortion)
    if bool((cameras.lens == Lens.FISHEYE).any()):
        fisheye = cameras.lens.index_select(0, camera_index) == Lens.FISHEYE
        distorted = torch.where(fisheye[:, None], _fisheye_plane(local, distortion), distorted)
    focal = cameras.focal_px.index_select(0, camera_index)
    return distorted * focal + cameras.center_px.index_select(0, camera_index), depth


def _distort(
    plane: Float[Tensor, "points 2"], distortion: Float[Tensor, "#points 6"]
) -> tuple[
    Float[Tensor, "points 2"],
    Float[Tensor, " points"],
    Float[Tensor, " points"],
    Float[Tensor, " points"],
]:
    """u of (x, y), and the entries xx, xy = yx, yy of J."""
    k1, k2, k3, k4, p1, p2 = distortion.unbind(-1)
    x, y = plane.unbind(-1)
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
    slope = 2 * (k1 + square * (2 * k2 + square * (3 * k3 + square * 4 * k4)))
    distorted = torch.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        ],
        dim=-1,
    )
    xx = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
    xy = slope * x * y + 2 * p1 * x + 2 * p2 * y
    yy = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
    return distorted, xx, xy, yy


def _newton_step(
    plane: Float[Tensor, "points 2"],
    distorted: Float[Tensor, "points 2"],
    distortion: Float[Tensor, "#points 6"],
) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
    """What to subtract from ``plane``, and det J; differentiable with J taken as constant.

    At the solution this gives the exact derivative of the inverse (implicit function theorem).
    """
    reached, xx, xy, yy = _distort(plane, distortion)
    xx, xy, yy = xx.detach(), xy.detach(), yy.detach()
    determinant = xx * yy - xy * xy
    # Beyond a fold J may turn by half a turn: two negative eigenvalues are no solution either.
    determinant = torch.where(xx + yy > 0, determinant, -determinant.abs())
    error_x, error_y = (reached - distorted).unbind(-1)
    step = torch.stack([yy * error_x - xy * error_y, xx * error_y - xy * error_x], dim=-1)
    return step / determinant.clamp(min=1e-3)[:, None], determinant


def _perspective_directions(
    distorted: Float[Tensor, "rays 2"], distortion: Float[Tensor, "#rays 6"]
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Unit directions, solid angle per unit of u's area, and where the inverse exists."""
    plane = distorted
    determinant = torch.ones_like(distorted[:, 0])
    valid = torch.ones_like(determinant, dtype=torch.bool)
    if distortion.requires_grad or bool(distortion.any()):
        tolerance = 8 * torch.finfo(distorted.dtype).eps
        with torch.no_grad():
            for _ in range(MAX_NEWTON_STEPS):
                step, _ = _newton_step(plane, distorted, distortion)
                # A step is never longer than the point is far from the axis, so none can jump off.
                reach = 0.5 + plane.norm(dim=-1, keepdim=True)
                step = step * (reach / step.norm(dim=-1, keepdim=True).clamp(min=reach))
                plane = plane - step
                if bool((step.abs() <= tolerance * reach).all()):
                    break
        step, determinant = _newton_step(plane, distorted, distortion)
        valid = (determinant > 1e-3) & (step.detach().norm(dim=-1) < 1e-4 * (1 + reach[:, 0]))
        plane = plane - torch.where(valid[:, None], step, torch.zeros_like(step))
    cosine = (1 + (plane * plane).sum(-1)).rsqrt()
    directions = torch.cat([plane, torch.ones_like(cosine)[:, None]], dim=-1) * cosine[:, None]
    return directions, cosine**3 / determinant.clamp(min=1e-3), valid


def _fisheye_angle(
    theta: Float[Tensor, " rays"], distortion: Float[Tensor, "#rays 6"]
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """The distorted angle ``theta (1 + k1 theta^2 + ...)`` and its derivative."""
    k1, k2, k3, k4 = distortion[:, :4].unbind(-1)
    square = theta * theta
    angle = theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
    slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
    return angle, slope


def _fisheye_directions(
    distorted: Float[Tensor, "rays 2"], distortion: Float[Tensor, "#rays 6"]
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Unit directions, solid angle per unit of u's area, and where the inverse exists."""
    square = (distorted * distorted).sum(-1)
    central = square < 1e-12  # there the norm has no derivative; sin(theta) / |u| is 1
    radius = torch.where(central, torch.ones_like(square), square).sqrt()
    target = torch.where(central, torch.zeros_like(radius), radius)
    tolerance = 8 * torch.finfo(distorted.dtype).eps
    with torch.no_grad():
        theta = target.clamp(max=torch.pi)
        for _ in range(MAX_NEWTON_STEPS):
            angle, slope = _fisheye_angle(theta, distortion)
            step = (angle - target) / slope.clamp(min=1e-3)
            theta = (theta - step).clamp(0, torch.pi)
            if bool((step.abs() <= tolerance).all()):
                break
    angle, slope = _fisheye_angle(theta, distortion)
    slope = slope.detach()
    step = (angle - target) / slope.clamp(min=1e-3)
    valid = (slope > 1e-3) & (step.detach().abs() < 1e-4)
    theta = theta - torch.where(valid, step, torch.zeros_like(step))
    sine_ratio = torch.where(central, torch.ones_like(theta), theta.sin() / radius)
    plane = distorted * sine_ratio[:, None]
    directions = torch.cat([plane, theta.cos()[:, None]], dim=-1)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    return directions, sine_ratio.abs() / slope.clamp(min=1e-3), valid


def _fisheye_plane(
    local: Float[Tensor, "points 3"], distortion: Float[Tensor, "#points 6"]
) -> Float[Tensor, "points 2"]:
    """u of points in camera axes under a fisheye lens."""
    square = (local[:, :2] * local[:, :2]).sum(-1)
    central = square < 1e-12 * local[:, 2] ** 2
    radius = torch.where(central, torch.ones_like(square), square).sqrt()
    depth = local[:, 2]
    angle, _ = _fisheye_angle(torch.atan2(radius, depth), distortion)
    safe_depth = torch.where(central & (depth > 0), depth, torch.ones_like(depth))
    ratio = torch.where(central, 1 / safe_depth, angle / radius)
    return local[:, :2] * ratio[:, None]
