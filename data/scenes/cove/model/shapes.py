"""Triangle meshes from parametric surfaces, and a binary PLY writer.

Lengths are scene units, z points up, angles are radians. Every surface is sampled on a grid of
(u, v) in [0, 1]^2; its front side is the one that d/du x d/dv points to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Vertices `[vertices 3]`, unit normals, texture coordinates and faces `[faces 3]`."""

    points: Array
    normals: Array
    uvs: Array
    faces: Array


def surface(position: Callable[[Array, Array], Array], num_u: int, num_v: int) -> Mesh:
    """A mesh of `num_u x num_v` cells over `position(u, v) -> [..., 3]`, smooth within itself."""
    u, v = np.meshgrid(np.linspace(0, 1, num_u + 1), np.linspace(0, 1, num_v + 1))
    points = position(u, v).reshape(-1, 3)
    index = np.arange(points.shape[0]).reshape(num_v + 1, num_u + 1)
    corner, right, up, across = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.stack([corner, right, across, corner, across, up], axis=-1).reshape(-1, 3)
    edges = points[faces[:, 1:]] - points[faces[:, :1]]
    areas = np.cross(edges[:, 0], edges[:, 1])
    keep = np.linalg.norm(areas, axis=1) > 1e-12
    faces, areas = faces[keep], areas[keep]
    # Coincident vertices (seams, poles) share one normal: sum over the welded vertex.
    _, welded = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    welded = welded.reshape(-1)
    sums = np.zeros((welded.max() + 1, 3))
    for k in range(3):
        np.add.at(sums, welded[faces[:, k]], areas)
    normals = sums[welded]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20
    uvs = np.stack([u.reshape(-1), v.reshape(-1)], axis=1)
    return Mesh(points=points, normals=normals, uvs=uvs, faces=faces)


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of all parts, with no welding between them (so that creases stay sharp)."""
    starts = np.cumsum([0] + [m.points.shape[0] for m in meshes[:-1]])
    return Mesh(
        points=np.concatenate([m.points for m in meshes]),
        normals=np.concatenate([m.normals for m in meshes]),
        uvs=np.concatenate([m.uvs for m in meshes]),
        faces=np.concatenate([m.faces + s for m, s in zip(meshes, starts, strict=True)]),
    )


def revolve(profile: Sequence[tuple[float, float]], num_sides: int = 40) -> Mesh:
    """The surface swept by a profile of (radius, z) about the z axis, smooth along the profile.

    A profile that climbs on the outside has its front outside. v is the profile's arc length.
    """
    corners = np.asarray(profile, dtype=float)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    place = length / length[-1]

    def position(u: Array, v: Array) -> Array:
        rows = place[np.round(v * (len(place) - 1)).astype(int)]
        radius = np.interp(rows, place, corners[:, 0])
        angle = 2 * np.pi * u
        z = np.interp(rows, place, corners[:, 1])
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1)

    mesh = surface(position, num_sides, len(profile) - 1)
    rows = np.round(mesh.uvs[:, 1] * (len(place) - 1)).astype(int)
    uvs = np.stack([mesh.uvs[:, 0], place[rows]], axis=1)
    return Mesh(points=mesh.points, normals=mesh.normals, uvs=uvs, faces=mesh.faces)


def turned(profiles: Sequence[Sequence[tuple[float, float]]], num_sides: int = 40) -> Mesh:
    """Several revolved profiles, with a crease where one ends and the next begins."""
    return merge([revolve(profile, num_sides) for profile in profiles])


def arc(
    centre: tuple[float, float], radius: float, start: float, stop: float, num: int = 8
) -> list[tuple[float, float]]:
    """Profile points on a circle, from angle `start` to `stop` in degrees."""
    angles = np.radians(np.linspace(start, stop, num + 1))
    return [(centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a)) for a in angles]


def ring(radius: float, thickness: float, num_sides: int = 48, num_around: int = 8) -> Mesh:
    """A torus about the z axis."""
    return revolve(arc((radius, 0.0), thickness, -180, 180, num_around), num_sides)


def tube(start: Sequence[float], stop: Sequence[float], radius: float, num_sides: int = 8) -> Mesh:
    """An open-ended round bar between two points."""
    first, last = np.asarray(start, dtype=float), np.asarray(stop, dtype=float)
    along = (last - first) / np.linalg.norm(last - first)
    side = np.cross(along, [0.0, 1.0, 0.0] if abs(along[1]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    other = np.cross(along, side)

    def position(u: Array, v: Array) -> Array:
        angle = 2 * np.pi * u[..., None]
        centre = first + v[..., None] * (last - first)
        return centre + radius * (np.cos(angle) * side + np.sin(angle) * other)

    return surface(position, num_sides, 1)


def sheet(
    corner: Sequence[float], along_u: Sequence[float], along_v: Sequence[float], num: int = 1
) -> Mesh:
    """A parallelogram."""
    start, e_u, e_v = (np.asarray(a, dtype=float) for a in (corner, along_u, along_v))
    return surface(lambda u, v: start + u[..., None] * e_u + v[..., None] * e_v, num, num)


def box(size: Sequence[float]) -> Mesh:
    """A box of the given size, standing centred on the origin's ground; (u, v) spans each face."""
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    return merge(
        [
            sheet((-x, -y, 0), (2 * x, 0, 0), (0, 0, z)),
            sheet((x, -y, 0), (0, 2 * y, 0), (0, 0, z)),
            sheet((x, y, 0), (-2 * x, 0, 0), (0, 0, z)),
            sheet((-x, y, 0), (0, -2 * y, 0), (0, 0, z)),
            sheet((-x, -y, z), (2 * x, 0, 0), (0, 2 * y, 0)),
            sheet((-x, y, 0), (2 * x, 0, 0), (0, -2 * y, 0)),
        ]
    )


def ball(radius: float, bumps: Callable[[Array], Array] | None = None, num: int = 20) -> Mesh:
    """A sphere whose radius is scaled by `1 + bumps(unit direction)`."""

    def position(u: Array, v: Array) -> Array:
        longitude, latitude = 2 * np.pi * u, np.pi * (v - 0.5)
        unit = np.stack(
            [
                np.cos(latitude) * np.cos(longitude) * (np.abs(v - 0.5) < 0.5),
                np.cos(latitude) * np.sin(longitude) * (np.abs(v - 0.5) < 0.5),
                np.sin(latitude),
            ],
            axis=-1,
        )
        unit[u == 1] = unit[u == 0]
        scale = 1.0 if bumps is None else 1.0 + bumps(unit)[..., None]
        return radius * unit * scale

    return surface(position, num, num // 2)


def placed(
    mesh: Mesh,
    at: Sequence[float],
    *,
    turn: float = 0.0,
    tilt: float = 0.0,
    scale: float | Sequence[float] = 1.0,
) -> Mesh:
    """The mesh scaled, tilted about x, turned about z (radians), then moved to `at`."""
    factor = np.broadcast_to(np.asarray(scale, dtype=float), (3,))
    c, s = np.cos(tilt), np.sin(tilt)
    tilting = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ tilting
    normals = (mesh.normals / factor) @ rotation.T
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-20
    points = (mesh.points * factor) @ rotation.T + np.asarray(at, dtype=float)
    return Mesh(points=points, normals=normals, uvs=mesh.uvs, faces=mesh.faces)


def write_ply(path: Path, mesh: Mesh) -> None:
    """Writes binary little-endian PLY with float32 positions, normals and texture coordinates.

    Mitsuba puts v = 0 of a PLY at an image's first row; here v climbs, so it is turned round.
    """
    names = ["x", "y", "z", "nx", "ny", "nz", "u", "v"]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(mesh.points)}"]
    header += [f"property float {name}" for name in names]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    uvs = np.stack([mesh.uvs[:, 0], 1 - mesh.uvs[:, 1]], axis=1)
    vertices = np.concatenate([mesh.points, mesh.normals, uvs], axis=1).astype("<f4")
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("index", "<i4", (3,))])
    faces["count"], faces["index"] = 3, mesh.faces
    text = "\n".join([*header, "end_header", ""]).encode("ascii")
    path.write_bytes(text + vertices.tobytes() + faces.tobytes())
