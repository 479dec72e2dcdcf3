"""The surface of a field from end to end: level, lattice, interior, marching, cleaning."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from neural_render.export.formats import MeshSettings
from neural_render.export.geometry.space import Space
from neural_render.export.geometry.subject import Subject, nothing_to_export
from neural_render.export.geometry.surfaces.blocks import (
    Content,
    Surface,
    content,
    lattice_over,
    marched,
)
from neural_render.export.geometry.surfaces.interior import Interior, find_interior, no_interior
from neural_render.export.geometry.surfaces.level import random_rays, surface_level
from neural_render.export.geometry.surfaces.pieces import without_strays
from neural_render.export.geometry.surfaces.simpler import simplified
from neural_render.export.geometry.surfaces.witnesses import (
    AROUND_SIDE,
    OPAQUE,
    Witnesses,
    cameras_around,
    witnesses,
)
from neural_render.rendering.normals import surface_normals

FINEST, COARSEST = 640, 32  # automatic resolutions
ASKED_RAYS = 1 << 14
SLACK_STEPS = 2.0  # how exactly a surface lies where it is, in steps of the lattice
FACING = -0.2  # cosine from which on a camera sees a vertex: its normal is not exact

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A surface in the field's frame: its vertices, their normals, a step of the lattice there."""

    surface: Surface  # in the lattice's cube
    points: Float[Tensor, "vertices 3"]
    normals: Float[Tensor, "vertices 3"]
    step: Float[Tensor, " vertices"]


def find_surface(
    subject: Subject, space: Space, settings: MeshSettings, own: Witnesses, *, progress: bool
) -> Placed:
    """The surface as ``settings`` ask for it; OutputError where there is none."""
    level = settings.level * subject.scale or surface_level(subject)
    inside = content(subject, space, level, "a mesh")
    longest = float((inside.high - inside.low).amax())
    step = longest / (settings.resolution or _resolution(subject, space, longest))
    lattice = lattice_over(inside.low, inside.high, step)
    _log.info(
        "surface: density %.3g, %s cells of %.3g world units",
        level / subject.scale,
        "x".join(map(str, lattice.counts)),
        _typical_step(subject, space, inside, step),
    )
    filled = _interior(subject, space, inside, step, own, progress=progress)
    surface = marched(subject, space, inside, lattice, level, filled=filled, progress=progress)
    placed = _placed(space, surface, step)
    if drops_hidden(subject, settings):
        surface = surface.with_faces(surface.faces[_seen_faces(placed, own)])
        placed = _placed(space, surface, step)
    surface = without_strays(surface, placed.points, SLACK_STEPS * placed.step, step, own)
    surface = simplified(surface, settings.faces or len(surface.faces))
    return with_field_normals(subject, _placed(space, surface, step))


def drops_hidden(subject: Subject, settings: MeshSettings) -> bool:
    """Whether what no camera sees is cut away."""
    if settings.hidden == "auto":
        return not is_bounded(subject)
    return settings.hidden == "drop"


def is_bounded(subject: Subject) -> bool:
    """Whether the scene stands free, so that there are places from where all of it can be seen."""
    return subject.frame.cascades == 1 and subject.frame.projection.is_identity


def _resolution(subject: Subject, space: Space, longest: float) -> int:
    """Cells along ``longest`` that are as large as the photos' pixels there, in the middle."""
    rays = random_rays(subject, ASKED_RAYS, torch.Generator().manual_seed(0))
    seen = subject.look(rays)
    hit = seen.opacity > OPAQUE
    if not hit.any():
        raise nothing_to_export("a mesh")
    rays, away = rays[hit], seen.distance[hit][:, None]
    points = rays.origins + away * rays.directions
    across = torch.nn.functional.normalize(
        torch.linalg.cross(rays.directions, rays.directions.roll(1, dims=1)), dim=1
    )
    pixel = 12**0.5 * rays.footprint[:, None] * away
    size = (space.of_field(points + pixel * across) - space.of_field(points)).norm(dim=-1)
    return round(min(max(longest / float(size.nanmedian()), COARSEST), FINEST))


def _typical_step(subject: Subject, space: Space, inside: Content, step: float) -> float:
    """A lattice step in world units, in the middle of what there is."""
    middle = space.field((inside.low + inside.high)[None] / 2)
    return float(space.reach(middle, step)) * subject.scale


def _interior(
    subject: Subject, space: Space, inside: Content, step: float, own: Witnesses, *, progress: bool
) -> Interior:
    """What nobody can see of a scene that stands free; of others nothing."""
    if not is_bounded(subject):
        return no_interior()
    around = witnesses(
        subject,
        cameras_around(*space.field(torch.stack([inside.low, inside.high])).unbind(0)),
        AROUND_SIDE,
        progress=progress,
        name="distances around",
    )
    return find_interior(space, inside.low, inside.high, step, (around, own))


def _placed(space: Space, surface: Surface, step: float) -> Placed:
    """The surface in the field's frame, with the normals of its faces."""
    points = space.field(torch.from_numpy(surface.vertices)).float()
    return Placed(
        surface=surface,
        points=points,
        normals=torch.from_numpy(vertex_normals(points.double().numpy(), surface)).float(),
        step=space.reach(points, step),
    )


def vertex_normals(
    points: Float64[np.ndarray, "vertices 3"], surface: Surface
) -> Float64[np.ndarray, "vertices 3"]:
    """Unit means of the normals of each vertex's faces, by their areas; zero where they cancel."""
    a, b, c = (points[surface.faces[:, corner]] for corner in range(3))
    doubled = np.cross(b - a, c - a)
    corners, count = surface.faces.ravel(), len(points)
    total = np.stack(
        [np.bincount(corners, doubled[:, axis].repeat(3), count) for axis in range(3)], axis=-1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-30)


def with_field_normals(subject: Subject, placed: Placed) -> Placed:
    """The same with the field's normals where they face the same way as the faces do."""
    device = subject.device
    found = surface_normals(
        subject.field, placed.points.to(device), placed.step.to(device), subject.frame.projection
    ).cpu()
    agrees = (found * placed.normals).sum(-1, keepdim=True) > 0
    return Placed(
        surface=placed.surface,
        points=placed.points,
        normals=found.where(agrees, placed.normals),
        step=placed.step,
    )


def _seen_faces(placed: Placed, own: Witnesses) -> Bool[np.ndarray, " faces"]:
    """Which faces have a corner that some camera sees."""
    seen = torch.zeros(len(placed.points), dtype=torch.bool)
    for index in range(len(own)):
        rest = (~seen).nonzero()[:, 0]
        way = own.cameras.world_from_camera[index, :, 3] - placed.points[rest]
        facing = (way * placed.normals[rest]).sum(-1) > FACING * way.norm(dim=-1)
        rest = rest[facing]
        seen[rest] = own.sees(index, placed.points[rest], SLACK_STEPS * placed.step[rest])
    return np.asarray(seen.numpy()[placed.surface.faces].any(1))
