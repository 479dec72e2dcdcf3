"""Cameras: poses, intrinsics and lens distortion, both ways (pixel to ray, point to pixel).

Camera axes: x right, y down, z forward (OpenCV). Pixels are continuous: the centre of the first
pixel is (0.5, 0.5).

A lens maps directions to a plane (`lenses.planes`), its distortion bends that plane
(`lenses.distortion`), and ``pixel = u * focal + center`` for the bent point u.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from neural_render.core.lenses.distortion import MAX_RADIUS, bends, distort, undistort
from neural_render.core.lenses.kinds import Lens, maps_angles
from neural_render.core.lenses.planes import from_plane, to_plane
from neural_render.core.rays import Rays
from neural_render.core.transforms import Similarity

# Rays are made in pieces of so many pixels, so that the solver's temporaries stay small.
PIXELS_PER_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """A set of cameras, poses and intrinsics; every ray function is differentiable in its floats.

    ``world_from_camera`` may as well map to the field's frame: rays come out in the frame that it
    maps to. ``distortion`` is (k1, k2, k3, k4, p1, p2), or `ALL_COEFFICIENTS` of `lenses.kinds`.
    """

    world_from_camera: Float[Tensor, "cameras 3 4"]
    focal_px: Float[Tensor, "cameras 2"]
    center_px: Float[Tensor, "cameras 2"]
    distortion: Float[Tensor, "cameras coefficients"]
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

    @classmethod
    def joined(cls, parts: Sequence["Cameras"]) -> "Cameras":
        """The cameras of all parts, with as many coefficients as any of them needs."""
        most = max(part.distortion.shape[1] for part in parts)
        padded = [
            replace(part, distortion=pad(part.distortion, (0, most - part.distortion.shape[1])))
            for part in parts
        ]
        names = [entry.name for entry in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in padded]) for name in names})

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
    distortion: Float[Tensor, "#rays coefficients"],
    lens: Int[Tensor, " #rays"],
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """`directions_in_camera` with one row of intrinsics per ray, or one for all."""
    distorted = (pixels - center) / focal
    kind = one_lens(lens)
    if kind is not None:
        directions, solid_angle, valid = _plane_directions(distorted, kind, distortion)
    else:
        directions = distorted.new_zeros(len(distorted), 3)
        solid_angle, valid = torch.zeros_like(distorted[:, 0]), lens < 0
        for kind, here in _lenses_in(lens):
            found = _plane_directions(distorted[here], kind, distortion[here])
            directions = directions.index_copy(0, here, found[0])
            solid_angle = solid_angle.index_copy(0, here, found[1])
            valid = valid.index_copy(0, here, found[2])
    return directions, (solid_angle / (12 * focal.prod(-1))).sqrt(), valid


def _plane_directions(
    distorted: Float[Tensor, "rays 2"], lens: Lens, distortion: Float[Tensor, "#rays coefficients"]
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Unit directions, solid angle per unit of u's area, and where the inverse exists."""
    if not bends(distortion):
        return from_plane(distorted, lens, distortion)
    plane, determinant, unbent = undistort(
        distorted,
        distortion,
        radial_first=lens == Lens.RADIAL_FIRST_FISHEYE,
        largest=torch.pi if lens in (Lens.FISHEYE, Lens.RADIAL_FIRST_FISHEYE) else MAX_RADIUS,
    )
    directions, solid_angle, valid = from_plane(plane, lens, distortion)
    return directions, solid_angle / determinant.clamp(min=1e-3), valid & unbent


def one_lens(lens: Int[Tensor, " cameras"]) -> Lens | None:
    """The kind that all cameras have; None where they differ."""
    if len(lens) == 0:
        return Lens.PERSPECTIVE
    return Lens(int(lens[0])) if bool((lens == lens[0]).all()) else None


def _lenses_in(lens: Int[Tensor, " rays"]) -> list[tuple[Lens, Int[Tensor, " found"]]]:
    """The kinds that occur, and the rows where they do."""
    return [(Lens(kind), (lens == kind).nonzero()[:, 0]) for kind in lens.unique().tolist()]


def is_before(
    cameras: Cameras, camera_index: Int[Tensor, " points"], depth: Float[Tensor, " points"]
) -> Bool[Tensor, " points"]:
    """Whether a camera can see at `project`'s pixels what lies at that depth.

    A perspective camera sees what lies before it, a panorama or a wide fisheye also what is behind.
    """
    return (depth > 0) | maps_angles(cameras.lens).index_select(0, camera_index)


def project(
    cameras: Cameras,
    camera_index: Int[Tensor, " points"],
    points: Float[Tensor, "points 3"],
    kind: Lens | None = None,
) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
    """The continuous pixels at which cameras see points, and the points' z-depths.

    The points are in the frame that ``world_from_camera`` maps to. Differentiable. A perspective
    pixel means something only where the depth is positive, and strong distortion can fold points
    from far outside the picture into it. ``kind``: that of all lenses, where it is known; else a
    GPU is waited for.
    """
    poses = cameras.world_from_camera.index_select(0, camera_index)
    offset = points - poses[..., 3]
    local = (poses[..., :3] * offset[:, :, None]).sum(-2)
    distortion = cameras.distortion.index_select(0, camera_index)
    kind = kind if kind is not None else one_lens(cameras.lens)
    if kind is not None:
        distorted = _bent_plane(local, kind, distortion)
    else:
        distorted = torch.zeros_like(local[:, :2])
        for kind, here in _lenses_in(cameras.lens.index_select(0, camera_index)):
            found = _bent_plane(local[here], kind, distortion[here])
            distorted = distorted.index_copy(0, here, found)
    focal = cameras.focal_px.index_select(0, camera_index)
    pixels = distorted * focal + cameras.center_px.index_select(0, camera_index)
    return pixels, local[:, 2]


def _bent_plane(
    local: Float[Tensor, "points 3"], lens: Lens, distortion: Float[Tensor, "points coefficients"]
) -> Float[Tensor, "points 2"]:
    """u of points in camera axes."""
    plane = to_plane(local, lens, distortion)
    return distort(plane, distortion, radial_first=lens == Lens.RADIAL_FIRST_FISHEYE).points


def half_angles_rad(cameras: Cameras) -> Float[Tensor, "cameras 2"]:
    """Half the angles of view across and down, as if the axis met the picture's middle and no
    polynomial bent it."""
    half = torch.stack([cameras.width, cameras.height], dim=-1) / (2 * cameras.focal_px)
    angles = []
    for axis in range(2):
        plane = torch.zeros_like(half)
        plane[:, axis] = half[:, axis]
        cosines = torch.ones_like(plane[:, 0])
        for kind, here in _lenses_in(cameras.lens):
            directions, _, _ = from_plane(plane[here], kind, cameras.distortion[here])
            cosines[here] = directions[:, 2]
        angles.append(cosines.clamp(-1, 1).acos())
    return torch.stack(angles, dim=-1)
