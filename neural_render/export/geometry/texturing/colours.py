"""Colours of points on surfaces: what the cameras that see a point see there, blended.

A field's radiance depends on the direction it is seen from, a file's does not. The best single
colour is the mean over the cameras that observe the point, each counted as much as the point takes
up of its picture. They look along whole rays, so what they see is what pictures show, and a ray
that ends elsewhere is told by its distance.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from neural_render.core.rays import Rays
from neural_render.export.geometry.subject import Subject
from neural_render.export.geometry.surfaces.witnesses import OPAQUE, Witnesses

RAYS_AT_ONCE = 1 << 20
GRAZING = 0.1  # cosine between normal and view below which a camera is not asked
NOT_ASKED = -1


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The cameras that are asked about each place, best first, and how much each counts."""

    camera: Int[Tensor, "places cameras"]  # `NOT_ASKED`: none
    weight: Float[Tensor, "places cameras"]


def best_cameras(
    own: Witnesses,
    points: Float[Tensor, "places 3"],
    normals: Float[Tensor, "places 3"],
    slack: Float[Tensor, " places"],
    most: int,
) -> Asked:
    """The cameras with a free view of places (field frame) that show most of them."""
    most = min(most, len(own))
    weight = torch.zeros(len(points), most)
    camera = torch.full((len(points), most), NOT_ASKED)
    for index in range(len(own)):
        way = own.cameras.world_from_camera[index, :, 3] - points
        away = way.norm(dim=-1)
        facing = (way * normals).sum(-1) / away.clamp(min=1e-12)
        possible = (facing > GRAZING).nonzero()[:, 0]
        possible = possible[own.sees(index, points[possible], slack[possible])]
        # A pixel's share of the surface, times the cosine: grazing views are blurred.
        focal = float(own.cameras.focal_px[index].mean())
        shown = (focal / away[possible]).square() * facing[possible].square()
        last, place = weight[possible].min(1)
        better = shown > last
        rows = possible[better]
        weight[rows, place[better]] = shown[better]
        camera[rows, place[better]] = index
    order = weight.argsort(1, descending=True)
    return Asked(camera=camera.gather(1, order), weight=weight.gather(1, order))


def blended(
    subject: Subject,
    own: Witnesses,
    asked: Asked,
    place: Int[Tensor, " points"],
    surface: tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"], Float[Tensor, " points"]],
    *,
    progress: bool,
) -> Float[Tensor, "points 3"]:
    """The display-referred colours of points: their places in the field's frame, their normals,
    and how exactly they lie there. ``place`` is the row of ``asked`` that counts for each."""
    points, normals, slack = surface
    total, sum_of_weights = torch.zeros_like(points), torch.zeros(len(points))
    of_camera = asked.camera[place]
    with tqdm(total=len(own) + 1, desc="colours", unit="view", disable=not progress) as bar:
        for index in range(len(own)):
            row, column = (of_camera == index).nonzero(as_tuple=True)
            origin = own.cameras.world_from_camera[index, :, 3]
            width = 1 / (math.sqrt(12) * float(own.cameras.focal_px[index].mean()))
            for part in torch.arange(len(row)).split(RAYS_AT_ONCE):
                which = row[part]
                way = points[which] - origin
                away = way.norm(dim=-1)
                seen = subject.look(_rays(origin.expand_as(way), way / away[:, None], width))
                agrees = (seen.distance - away).abs() <= slack[which]
                agrees &= seen.opacity > OPAQUE
                counted = asked.weight[place[which], column[part]] * agrees
                total[which] += counted[:, None] * seen.color
                sum_of_weights[which] += counted
            bar.update()
        alone = (sum_of_weights == 0).nonzero()[:, 0]
        total[alone] = _from_outside(subject, points[alone], normals[alone], slack[alone])
        sum_of_weights[alone] = 1.0
        bar.update()
    return total / sum_of_weights[:, None]


def _from_outside(
    subject: Subject,
    points: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    slack: Float[Tensor, " points"],
) -> Float[Tensor, "points 3"]:
    """What is seen of points that no camera sees, from just before them."""
    before = subject.renderer.march.near + slack[:, None]
    return subject.look(_rays(points + before * normals, -normals, 0.0)).color


def _rays(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"], footprint: float
) -> Rays:
    return Rays(
        origins=origins.contiguous(),
        directions=directions.contiguous(),
        footprint=torch.full((len(origins),), footprint),
    )
