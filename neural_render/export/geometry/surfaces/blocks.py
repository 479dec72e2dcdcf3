"""Marching cubes in blocks, where a field is occupied: bounded memory, and no cracks between them.

Legend: L the level, v = log(density / L) within +-`CLAMP`, the value whose zero is the surface.

Density is the exponential of what networks give, so that v is nearly straight between two points of
the lattice where density itself is not. A block has its neighbours' points on its faces: both put
the same vertices there, which are told by the lattice's edge they lie on and become one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from tqdm import tqdm

from neural_render.core.errors import SettingError
from neural_render.export.geometry.space import Space
from neural_render.export.geometry.subject import Subject, looked_up, nothing_to_export
from neural_render.export.geometry.surfaces.interior import Interior
from neural_render.kernels.cells import NUM_CELLS, inner_cells, unpack_bits, with_neighbours
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.specs import MORTON_RESOLUTION

BLOCK = 64  # cells along a side
CLAMP = 4.0
NOT_ZERO = 1e-3  # of v: no vertex lies on a point of the lattice, where edges could not be told
FAINT = 1 / 8  # of the level: cells that hold no more are not looked into
MOST_FACES = 24_000_000
PAD = 2  # empty cells around what is found


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Triangles, counterclockwise from outside; where vertices are, the user of it says."""

    vertices: Float64[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]

    def with_faces(self, faces: Int64[np.ndarray, "some 3"]) -> "Surface":
        """The surface of these faces alone, without the vertices that none of them needs."""
        used, index = np.unique(faces, return_inverse=True)
        return Surface(vertices=self.vertices[used], faces=index.reshape(-1, 3).astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class Content:
    """Where in the field's cube density may reach the level, and the box of it on the lattice."""

    cells: Bool[Tensor, "cascades cells_and_none"]
    low: Float[Tensor, "3"]
    high: Float[Tensor, "3"]


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Points ``low + step * (i, j, k)`` in the lattice's cube, ``counts`` cells along each axis."""

    low: Float64[np.ndarray, "3"]
    step: float
    counts: tuple[int, int, int]

    def places(self, indices: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 3"]:
        """Where (fractions of) cells are."""
        return self.low + self.step * indices


def content(subject: Subject, space: Space, level: float, form: str) -> Content:
    """What there is to look into; OutputError where there is nothing to make ``form`` of."""
    occupancy = subject.renderer.occupancy
    step, cone = subject.renderer.march.step, subject.renderer.march.cone_angle
    occupied = unpack_bits(occupancy.bits).cpu()
    values = occupancy.values.cpu()
    found, corners = [], []
    for cascade in range(1 if space.inner else occupancy.cascades):
        allowed = occupied[cascade].clone()
        if cascade:
            allowed[inner_cells(allowed.device)] = False
        side = occupancy.side(cascade)
        dense = values[cascade] >= FAINT * level * occupancy.step_length(cascade, step, cone)
        dense |= _sampled(subject, allowed, side) >= FAINT * level
        near = with_neighbours((dense & allowed)[None])[0] & occupied[cascade]
        found.append(near)
        cells = morton_decode((near & allowed).nonzero()[:, 0])
        for corner in (0, 1):
            cube = ((cells + corner) / MORTON_RESOLUTION - 0.5) * side + 0.5
            corners.append(space.places(cube))
    places = torch.cat(corners)
    if not len(places):
        raise nothing_to_export(form)
    low, high = space.limits
    cells = torch.zeros(occupancy.cascades, NUM_CELLS + 1, dtype=torch.bool)
    cells[: len(found), :-1] = torch.stack(found)
    return Content(
        cells=cells,
        low=torch.maximum(places.amin(0), low),
        high=torch.minimum(places.amax(0), high),
    )


def lattice_over(low: Float[Tensor, "3"], high: Float[Tensor, "3"], step: float) -> Lattice:
    """The points around a box, so that all of its surfaces can be closed."""
    counts = ((high - low).double() / step).ceil().long() + 2 * PAD
    x, y, z = counts.tolist()
    start = low.double().numpy() - PAD * step
    return Lattice(low=start, step=step, counts=(x, y, z))


def marched(
    subject: Subject,
    space: Space,
    inside: Content,
    lattice: Lattice,
    level: float,
    *,
    filled: Interior,
    progress: bool,
) -> Surface:
    """The surface of the level, in the lattice's cube; what is ``filled`` is solid anyway.

    SettingError where there would be more of it than a program can take.
    """
    from skimage.measure import marching_cubes

    vertices, keys, faces, count, num_faces = [], [], [], 0, 0
    for first in tqdm(
        _blocks(space, inside, lattice), desc="surface", unit="block", disable=not progress
    ):
        values = _values(subject, space, inside, lattice, level, first, filled)
        if values is None:
            continue
        found, triangles, _, _ = marching_cubes(values, 0.0)
        local = found.astype(np.float64)
        vertices.append(lattice.places(local + first))
        keys.append(_edges(local, first, lattice.counts))
        faces.append(triangles.astype(np.int64) + count)
        count += len(found)
        num_faces += len(triangles)
        if num_faces > MOST_FACES:
            raise SettingError(
                f"a mesh found in {'x'.join(map(str, lattice.counts))} cells has more than"
                f" {MOST_FACES // 10**6} million triangles: give a smaller export.mesh.resolution."
            )
    if not vertices:
        raise nothing_to_export("a mesh")
    return _welded(np.concatenate(vertices), np.concatenate(keys), np.concatenate(faces))


def _sampled(
    subject: Subject, cells: Bool[Tensor, " cells"], side: float
) -> Float[Tensor, " cells"]:
    """The greatest density at eight points of each of the cells; 0 in all others."""
    chosen = cells.nonzero()[:, 0]
    corners = morton_decode(torch.arange(8)) * 0.5 + 0.25
    greatest = torch.zeros(len(cells))
    found = torch.zeros(len(chosen))
    for corner in corners:
        cube = ((morton_decode(chosen) + corner) / MORTON_RESOLUTION - 0.5) * side + 0.5
        found = torch.maximum(found, subject.density(cube))
    greatest[chosen] = found
    return greatest


def _blocks(space: Space, inside: Content, lattice: Lattice) -> list[Int64[np.ndarray, "3"]]:
    """The first points of all blocks in which, or beside which, there may be anything."""
    shape = tuple(-(-count // BLOCK) for count in lattice.counts)
    wanted = np.zeros(shape, dtype=bool)
    cascades = len(inside.cells)
    for cascade in range(cascades):
        side = 2.0 ** (cascade - cascades + 1)
        cells = morton_decode(inside.cells[cascade, :-1].nonzero()[:, 0])
        for corner in morton_decode(torch.arange(8)):
            cube = ((cells + corner) / MORTON_RESOLUTION - 0.5) * side + 0.5
            places = space.places(cube).double().numpy()
            index = np.floor((places - lattice.low) / lattice.step).astype(np.int64)
            # The cell of the lattice on the other side of a point that both share too.
            for shift in (-1, 1):
                block = np.clip((index + shift) // BLOCK, 0, np.array(shape) - 1)
                wanted[tuple(block.T)] = True
    return [BLOCK * index for index in np.argwhere(wanted)]


def _values(
    subject: Subject,
    space: Space,
    inside: Content,
    lattice: Lattice,
    level: float,
    first: Int64[np.ndarray, "3"],
    filled: Interior,
) -> np.ndarray | None:
    """v at the points of a block, faces included; None where there is no surface in it."""
    axes = [
        np.arange(start, min(start + BLOCK, count) + 1)
        for start, count in zip(first, lattice.counts, strict=True)
    ]
    shape = [len(axis) for axis in axes]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places = torch.from_numpy(lattice.places(grid.astype(np.float64))).float()
    low, high = space.limits
    cube = space.cube(places)
    allowed = ((places >= low) & (places <= high)).all(-1)
    wanted = (looked_up(inside.cells, cube) & allowed).nonzero()[:, 0]
    values = torch.full((len(places),), -CLAMP)
    if len(wanted):
        density = subject.density(cube[wanted])
        values[wanted] = (density.clamp(min=1e-30) / level).log().clamp(-CLAMP, CLAMP)
    solid = filled.holds(places) & allowed
    values[solid] = CLAMP
    small = values.abs() < NOT_ZERO
    values[small] = NOT_ZERO
    if bool((values > 0).all()) or bool((values < 0).all()):
        return None
    return values.view(*shape).numpy()


def _edges(
    vertices: Float64[np.ndarray, "vertices 3"],
    first: Int64[np.ndarray, "3"],
    counts: tuple[int, int, int],
) -> Int64[np.ndarray, " vertices"]:
    """The number of the lattice's edge, or cell, that each vertex of a block lies on."""
    whole = np.round(vertices)
    between = np.abs(vertices - whole) > 1e-5
    on_edge = between.sum(1) == 1
    axis = np.where(on_edge, between.argmax(1), 3)
    index = np.where(between, np.floor(vertices), whole).astype(np.int64) + first
    _, ny, nz = (count + 1 for count in counts)
    return ((index[:, 0] * ny + index[:, 1]) * nz + index[:, 2]) * 4 + axis


def _welded(
    vertices: Float64[np.ndarray, "vertices 3"],
    keys: Int64[np.ndarray, " vertices"],
    faces: Int64[np.ndarray, "faces 3"],
) -> Surface:
    """The surface with vertices of the same key made one; it faces outwards."""
    _, first, same = np.unique(keys, return_index=True, return_inverse=True)
    faces = same[faces][:, ::-1]
    apart = (faces != np.roll(faces, 1, axis=1)).all(1)
    return Surface(vertices=vertices[first], faces=np.ascontiguousarray(faces[apart]))
