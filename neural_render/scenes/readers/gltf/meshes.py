"""Primitives of a glTF file as meshes in world units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_render.scenes.readers.building import Floats, MeshData, check_mesh
from neural_render.scenes.readers.gltf.document import Document, Values

BACK_DISTANCE = 1e-4  # of a mesh's size, between a face that shines to both sides and its back
_TRIANGLES, _STRIP, _FAN = 4, 5, 6


def mesh_of(
    document: Document, primitive: Values, name: str, world_from_node: NDArray[np.float64], uv: int
) -> MeshData | None:
    """The triangles of a primitive with the texture coordinates ``uv``; None if it has none."""
    attributes = primitive["attributes"]
    mode = primitive.get("mode", _TRIANGLES)
    if mode not in (_TRIANGLES, _STRIP, _FAN):
        document.lose(f"points or lines of {name}")
        return None
    if "POSITION" not in attributes:
        document.lose(f"a mesh without positions, {name}")
        return None
    if primitive.get("targets"):
        document.lose(f"morph targets of {name}")
    positions = document.array(attributes["POSITION"]).astype(np.float64)
    faces = _faces(document, primitive, mode, len(positions))
    if not len(faces):
        return None
    linear = world_from_node[:3, :3]
    if np.linalg.det(linear) < 0:
        faces = faces[:, ::-1]
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number is refused below
        positions = (positions @ linear.T + world_from_node[:3, 3]).astype(np.float32)
    mesh = MeshData(
        positions=positions,
        faces=np.ascontiguousarray(faces, np.uint32),
        normals=_normals(document, attributes, linear),
        texcoords=_columns(document, attributes, f"TEXCOORD_{uv}", 2),
        colors=_columns(document, attributes, "COLOR_0", 3),
    )
    _lose_alpha(document, attributes, name)
    check_mesh(document.path, name, mesh)
    return mesh


def _faces(document: Document, primitive: Values, mode: int, num_vertices: int) -> NDArray[Any]:
    """Corners ``[faces 3]`` of all modes that have triangles."""
    if "indices" in primitive:
        corners = document.array(primitive["indices"])[:, 0].astype(np.int64)
    else:
        corners = np.arange(num_vertices)
    if mode == _TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    count = max(len(corners) - 2, 0)
    index = np.arange(count)
    if mode == _FAN:
        return np.stack([corners[index + 1], corners[index + 2], corners[index * 0]], axis=1)
    odd = index % 2
    return np.stack([corners[index], corners[index + 1 + odd], corners[index + 2 - odd]], axis=1)


def _normals(document: Document, attributes: Values, linear: NDArray[np.float64]) -> Floats:
    normals = _columns(document, attributes, "NORMAL", 3)
    if not len(normals) or abs(np.linalg.det(linear)) < 1e-30:
        return normals[:0]
    return (normals @ np.linalg.inv(linear)).astype(np.float32)


def _lose_alpha(document: Document, attributes: Values, name: str) -> None:
    """Says where vertices are not all there, as no material of Mitsuba's can be by vertex."""
    if "COLOR_0" in attributes:
        colors = document.array(attributes["COLOR_0"])
        if colors.shape[1] == 4 and colors[:, 3].min(initial=1.0) < 1:
            document.lose(f"the opacity of vertices of {name}")


def _columns(document: Document, attributes: Values, key: str, width: int) -> Floats:
    if key not in attributes:
        return np.zeros((0, width), np.float32)
    return document.array(attributes[key])[:, :width].astype(np.float32)


def mirrored_faces(mesh: MeshData) -> NDArray[np.bool_]:
    """Which faces show their texture mirrored, so that a normal map's second axis turns round."""
    corners = mesh.texcoords[mesh.faces.astype(np.int64)]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] > 0


def with_backs(mesh: MeshData) -> MeshData:
    """A mesh that is open, and its own back a hair behind it: Mitsuba's faces shine to the front.

    A closed mesh, whose inside nobody sees, is given back as it is.
    """
    _, points = np.unique(mesh.positions, axis=0, return_inverse=True)
    corners = points.reshape(-1)[mesh.faces.astype(np.int64)]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    numbers = edges[:, 0] * len(mesh.positions) + edges[:, 1]
    if np.isin(edges[:, 1] * len(mesh.positions) + edges[:, 0], numbers).all():
        return mesh
    placed = mesh.positions[mesh.faces.astype(np.int64)].astype(np.float64)
    across = np.cross(placed[:, 1] - placed[:, 0], placed[:, 2] - placed[:, 0])
    outward = np.zeros(mesh.positions.shape)
    for corner in range(3):
        np.add.at(outward, mesh.faces[:, corner].astype(np.int64), across)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-30)
    extent = float(np.ptp(mesh.positions, axis=0).max())
    behind = (mesh.positions - BACK_DISTANCE * extent * outward).astype(np.float32)
    return MeshData(
        positions=np.concatenate([mesh.positions, behind]),
        faces=np.concatenate([mesh.faces, mesh.faces[:, ::-1] + len(behind)]).astype(np.uint32),
        normals=np.concatenate([mesh.normals, -mesh.normals]),
        texcoords=np.tile(mesh.texcoords, (2, 1)),
        colors=np.tile(mesh.colors, (2, 1)),
    )


def lit_faces(
    mesh: MeshData, pixels: Floats, to_uv: NDArray[np.float64], wrap: str
) -> NDArray[np.bool_]:
    """Which faces have a texel that is not black inside the box around their coordinates.

    Only they are made lights: to pick points of the whole mesh would mostly pick dark ones. Beyond
    the picture is what ``wrap`` says: ``repeat``, ``mirror`` or ``clamp``.
    """
    if wrap == "mirror":  # which repeats after two
        pixels = np.concatenate([pixels, pixels[::-1]])
        pixels = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
        to_uv = np.diag([0.5, 0.5, 1.0]) @ to_uv
    rows, columns = pixels.shape
    bright = np.pad(pixels > 0, 1, mode="edge" if wrap == "clamp" else "wrap")
    grown = np.zeros((rows, columns), np.int64)
    for down in range(3):  # neighbours too: between texels it is interpolated
        for right in range(3):
            grown |= bright[down : down + rows, right : right + columns]
    table = np.zeros((2 * rows + 1, 2 * columns + 1), np.int64)
    table[1:, 1:] = np.tile(grown, (2, 2)).cumsum(0).cumsum(1)
    coordinates = mesh.texcoords @ to_uv[:2, :2].T + to_uv[:2, 2]
    corners = coordinates[mesh.faces.astype(np.int64)] * [columns, rows]
    if wrap == "clamp":
        corners = np.clip(corners, 0, [columns - 1, rows - 1])
    low = np.floor(corners.min(axis=1)).astype(np.int64)
    size = np.floor(corners.max(axis=1)).astype(np.int64) - low + 1
    size = np.clip(size, 1, [columns, rows])
    low %= [columns, rows]
    left, top = low[:, 0], low[:, 1]
    right, bottom = left + size[:, 0], top + size[:, 1]
    number = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return number > 0
