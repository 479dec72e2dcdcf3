"""A mesh of what a field shows, with its colours, as a file."""

import logging
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from neural_render.core.errors import OutputError, with_extra
from neural_render.export.formats import MeshSettings
from neural_render.export.geometry.files import MeshFile, check_beside, write_mesh
from neural_render.export.geometry.space import Space
from neural_render.export.geometry.subject import Subject
from neural_render.export.geometry.surfaces.finding import Placed, drops_hidden, find_surface
from neural_render.export.geometry.surfaces.manifold import edges_of
from neural_render.export.geometry.surfaces.pieces import pieces
from neural_render.export.geometry.surfaces.witnesses import (
    LARGEST_SIDE,
    Witnesses,
    own_cameras,
    witnesses,
)
from neural_render.export.geometry.texturing.colours import best_cameras, blended
from neural_render.export.geometry.texturing.unwrapping import laid_out, spread_out, texels_of

SLACK_STEPS = 4.0  # how exactly a simplified surface lies where it is, in steps of the lattice
NEEDED = {
    "skimage": "scikit-image",
    "fast_simplification": "fast-simplification",
    "xatlas": "xatlas",
    "trimesh": "trimesh",
}

_log = logging.getLogger("neural_render")


def export_mesh(
    subject: Subject, space: Space, settings: MeshSettings, path: Path, *, progress: bool
) -> tuple[Path, ...]:
    """The files of a mesh in the capture's coordinates, written: ``path`` and what it refers to.

    OutputError where there is nothing to see, a library is missing, or what an OBJ refers to would
    replace other files.
    """
    check_libraries()
    check_beside(path)
    own = witnesses(
        subject, own_cameras(subject), LARGEST_SIDE, progress=progress, name="distances"
    )
    placed = find_surface(subject, space, settings, own, progress=progress)
    _report(placed, open_because=_why_open(subject, settings))
    if settings.file == "ply":
        file = _with_vertex_colors(subject, own, settings, placed, progress=progress)
    else:
        file = _textured(subject, own, settings, placed, progress=progress)
    return write_mesh(path, file, up=settings.up)


def check_libraries() -> None:
    """OutputError, one sentence, where one of the libraries is not there."""
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise OutputError(
            f"export.format=mesh needs {', '.join(missing)}, which this Python lacks:"
            f" {with_extra('export')}."
        )


def _report(placed: Placed, *, open_because: str) -> None:
    """Logs how large the mesh is, and whether it is closed."""
    surface = placed.surface
    edges = edges_of(surface)
    closed = "closed" if edges.closed else f"{edges.open} edges have one face: {open_because}"
    if edges.crowded:
        closed += f"; {edges.crowded} edges have more than two faces, where sheets touch"
    _log.info(
        "mesh: %d triangles, %d vertices, %d pieces, %s",
        len(surface.faces),
        len(surface.vertices),
        pieces(surface)[1],
        closed,
    )


def _why_open(subject: Subject, settings: MeshSettings) -> str:
    if drops_hidden(subject, settings):
        return "what no camera sees was cut away (export.mesh.hidden=keep keeps it)"
    return "decimation tore the surface there"


def _with_vertex_colors(
    subject: Subject, own: Witnesses, settings: MeshSettings, placed: Placed, *, progress: bool
) -> MeshFile:
    slack = SLACK_STEPS * placed.step
    asked = best_cameras(own, placed.points, placed.normals, slack, settings.views)
    every = torch.arange(len(placed.points))
    surface = placed.points, placed.normals, slack
    colors = blended(subject, own, asked, every, surface, progress=progress)
    return MeshFile(
        vertices=subject.to_world(placed.points.double()).numpy(),
        faces=placed.surface.faces,
        normals=placed.normals.numpy(),
        colors=colors.numpy(),
    )


def _textured(
    subject: Subject, own: Witnesses, settings: MeshSettings, placed: Placed, *, progress: bool
) -> MeshFile:
    """The mesh laid out in a picture that holds its colours."""
    layout = laid_out(placed.surface, settings.texture)
    texels = texels_of(layout)
    corners = torch.from_numpy(placed.surface.faces)
    a, b, c = placed.points[corners].unbind(1)
    facing = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    slack = SLACK_STEPS * placed.step[corners].amax(1)
    asked = best_cameras(own, (a + b + c) / 3, facing, slack, settings.views)
    face, weights = torch.from_numpy(texels.face), torch.from_numpy(texels.weights)[..., None]
    surface = (
        (placed.points[corners[face]] * weights).sum(1),
        torch.nn.functional.normalize((placed.normals[corners[face]] * weights).sum(1), dim=1),
        slack[face],
    )
    colors = blended(subject, own, asked, face, surface, progress=progress)
    picture = spread_out(colors.numpy(), texels.index, layout)
    vertices = subject.to_world(placed.points.double()).numpy()
    return MeshFile(
        vertices=vertices[layout.vertex],
        faces=layout.faces,
        normals=placed.normals.numpy()[layout.vertex],
        uv=layout.uv,
        texture=np.rint(255 * picture.clip(0, 1)).astype(np.uint8),
    )
