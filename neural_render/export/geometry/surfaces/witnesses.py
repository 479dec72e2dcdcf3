"""Cameras as witnesses: how far each of them sees, so what lies open to them and what is hidden."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.lenses.distortion import bends, distort
from neural_render.core.lenses.kinds import Lens, maps_angles
from neural_render.core.lenses.planes import to_plane
from neural_render.core.transforms import look_at
from neural_render.export.geometry.subject import Subject
from neural_render.rendering.emptiness.visibility import widest_angles
from neural_render.rendering.images import TILE, tiled_order

MOST_CAMERAS = 128  # more see hardly more
LARGEST_SIDE = 400  # of their pictures of distances
AROUND = 64  # cameras on a sphere around a bounded scene, and the size of their pictures
AROUND_SIDE = 320
AROUND_DISTANCE = 2.5  # of the sphere, in radii of the scene
OPAQUE = 0.5
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True, kw_only=True)
class Witnesses:
    """Cameras (field frame) and how far away each pixel sees something opaque; infinite: nowhere.

    ``widest`` is the greatest angle between the axis and a ray of each picture.
    """

    cameras: Cameras
    distance: tuple[Float[Tensor, "height width"], ...]
    widest: Float[Tensor, " cameras"]

    def __len__(self) -> int:
        """The number of cameras."""
        return len(self.distance)

    def pictured(
        self, index: int, points: Float[Tensor, "points 3"]
    ) -> tuple[Int[Tensor, " inside"], Float[Tensor, " inside"], Float[Tensor, " inside"]]:
        """Which points (field frame) lie in a camera's picture, how far they are from it, and how
        far it sees there."""
        cameras = self.cameras
        pose, lens = cameras.world_from_camera[index], Lens(int(cameras.lens[index]))
        local = (points - pose[:, 3]) @ pose[:, :3]
        distortion = cameras.distortion[index : index + 1]
        plane = to_plane(local, lens, distortion.expand(len(points), -1))
        bent = bends(distortion)
        if bent:  # whose polynomial may fold what is outside into the picture
            radial_first = lens == Lens.RADIAL_FIRST_FISHEYE
            plane = distort(plane, distortion, radial_first=radial_first).points
        pixels = plane * cameras.focal_px[index] + cameras.center_px[index]
        height, width = self.distance[index].shape
        inside = ((pixels >= 0) & (pixels < pixels.new_tensor([width, height]))).all(-1)
        if not bool(maps_angles(cameras.lens[index : index + 1])):
            inside &= local[:, 2] > 0
        found = inside.nonzero()[:, 0]
        away = local[found].norm(dim=-1)
        if bent:
            narrow = local[found, 2] >= away * (self.widest[index] + 1e-3).clamp(max=torch.pi).cos()
            found, away = found[narrow], away[narrow]
        column, row = pixels[found].long().unbind(-1)
        return found, away, self.distance[index][row, column]

    def sees(
        self, index: int, points: Float[Tensor, "points 3"], slack: Float[Tensor, " points"]
    ) -> Bool[Tensor, " points"]:
        """Whether a camera has a free view of points, but for surfaces up to ``slack`` before."""
        seen = torch.zeros(len(points), dtype=torch.bool)
        found, away, reach = self.pictured(index, points)
        seen[found] = away <= reach + slack[found]
        return seen


def witnesses(
    subject: Subject, cameras: Cameras, largest_side: int, *, progress: bool, name: str
) -> Witnesses:
    """The cameras, their pictures made smaller, with what they see of the subject."""
    smaller = [_smaller(cameras[i : i + 1], largest_side) for i in range(len(cameras))]
    distance = []
    for camera in tqdm(smaller, desc=name, unit="view", disable=not progress):
        width, height = int(camera.width), int(camera.height)
        order, place = tiled_order(width, height, TILE)
        seen = subject.look(image_rays(camera, 0)[order])
        reach = seen.distance.where(seen.opacity > OPAQUE, torch.inf)
        distance.append(reach[place].view(height, width))
    joined = Cameras.joined(smaller)
    return Witnesses(cameras=joined, distance=tuple(distance), widest=widest_angles(joined))


def own_cameras(subject: Subject) -> Cameras:
    """The cameras that the subject was learnt from, or as many of them as are worth asking."""
    count = len(subject.cameras)
    if count <= MOST_CAMERAS:
        return subject.cameras
    return subject.cameras[torch.linspace(0, count - 1, MOST_CAMERAS).round().long()]


def cameras_around(low: Float[Tensor, "3"], high: Float[Tensor, "3"]) -> Cameras:
    """Cameras on a sphere around a box (all in one frame), that see it whole from all sides."""
    center, radius = (low + high) / 2, float((high - low).norm()) / 2
    turns = torch.arange(AROUND) * GOLDEN_ANGLE
    z = 1 - (2 * torch.arange(AROUND) + 1) / AROUND
    ring = (1 - z * z).sqrt()
    outwards = torch.stack([ring * turns.cos(), ring * turns.sin(), z], dim=-1)
    places = center + AROUND_DISTANCE * radius * outwards
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(places)
    tangent = 1 / math.sqrt(AROUND_DISTANCE**2 - 1)  # of half the angle of the sphere
    size = torch.full((AROUND,), AROUND_SIDE)
    return Cameras(
        world_from_camera=look_at(places, center.expand_as(places), up),
        focal_px=torch.full((AROUND, 2), 0.5 * AROUND_SIDE / tangent),
        center_px=torch.full((AROUND, 2), 0.5 * AROUND_SIDE),
        distortion=torch.zeros(AROUND, 6),
        lens=torch.full((AROUND,), int(Lens.PERSPECTIVE)),
        width=size,
        height=size,
    )


def _smaller(camera: Cameras, largest_side: int) -> Cameras:
    """One camera with a smaller picture of the same view, if it was larger."""
    width, height = int(camera.width), int(camera.height)
    share = min(1.0, largest_side / max(width, height))
    return camera.resized(max(1, round(share * width)), max(1, round(share * height)))
