"""The connected pieces of a surface, and which of them are worth keeping.

What floats in the air without any photo behind it, specks, and the walls of hollows that no camera
looks into are no part of what was photographed.
"""

import logging

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from neural_render.export.geometry.subject import nothing_to_export
from neural_render.export.geometry.surfaces.blocks import Surface
from neural_render.export.geometry.surfaces.witnesses import Witnesses

LEAST_EXTENT = 8.0  # lattice steps: what is smaller is a speck
LARGE = 0.1  # of the largest piece: such a piece stays though no camera sees it
LEAST_CAMERAS = 2  # that see a piece
ASKED = 24  # vertices of a piece that cameras are asked about, on average

_log = logging.getLogger("neural_render")


def without_strays(
    surface: Surface,
    points: Float[Tensor, "vertices 3"],
    slack: Float[Tensor, " vertices"],
    step: float,
    own: Witnesses,
) -> Surface:
    """The surface without pieces that are specks, or seen by hardly any camera and not large.

    ``points`` are the vertices in the field's frame, ``slack`` how exactly they lie there, ``step``
    the lattice's. Hollows that are seen stay, others do not, however large they are. OutputError
    where nothing is left.
    """
    if not len(surface.faces):
        raise nothing_to_export("a mesh")
    labels, count = pieces(surface)
    extent = _extents(surface.vertices, labels, count)
    volume = signed_volumes(surface, labels, count)
    looked = _watched(labels, count, points, slack, own)
    stays = (looked >= LEAST_CAMERAS) | ((volume > 0) & (extent >= LARGE * extent.max()))
    stays &= extent >= LEAST_EXTENT * step
    if not stays.any():
        raise nothing_to_export("a mesh")
    _log.info("surface: %d of %d pieces are kept", int(stays.sum()), count)
    return surface.with_faces(surface.faces[stays[labels[surface.faces[:, 0]]]])


def pieces(surface: Surface) -> tuple[Int64[np.ndarray, " vertices"], int]:
    """The number of the piece that each vertex belongs to, and how many there are."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    faces, size = surface.faces, len(surface.vertices)
    rows = np.concatenate([faces[:, 0], faces[:, 1]])
    columns = np.concatenate([faces[:, 1], faces[:, 2]])
    links = coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(size, size))
    count, labels = connected_components(links, directed=False)
    return labels.astype(np.int64), int(count)


def signed_volumes(
    surface: Surface, labels: Int64[np.ndarray, " vertices"], count: int
) -> Float64[np.ndarray, " pieces"]:
    """What each closed piece holds; below 0 for the wall of a hollow."""
    middle = surface.vertices.mean(0)
    a, b, c = (surface.vertices[surface.faces[:, corner]] - middle for corner in range(3))
    six = np.einsum("fi,fi->f", a, np.cross(b, c))
    return np.bincount(labels[surface.faces[:, 0]], weights=six / 6, minlength=count)


def _extents(
    vertices: Float64[np.ndarray, "vertices 3"], labels: Int64[np.ndarray, " vertices"], count: int
) -> Float64[np.ndarray, " pieces"]:
    """The longest side of each piece's box, in the unit of the vertices."""
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, labels, vertices)
    np.maximum.at(high, labels, vertices)
    return (high - low).max(1)


def _watched(
    labels: Int64[np.ndarray, " vertices"],
    count: int,
    points: Float[Tensor, "vertices 3"],
    slack: Float[Tensor, " vertices"],
    own: Witnesses,
) -> Int64[np.ndarray, " pieces"]:
    """How many cameras see something of each piece."""
    order = np.argsort(labels, kind="stable")
    size = np.bincount(labels, minlength=count)
    begin = np.cumsum(size) - size
    rank = np.arange(len(labels)) - np.repeat(begin, size)
    every = np.maximum(1, size // ASKED)
    asked = order[rank % np.repeat(every, size) == 0]
    found = np.zeros(count, dtype=np.int64)
    of = torch.from_numpy(asked)
    for index in range(len(own)):
        seen = own.sees(index, points[of], slack[of]).numpy()
        found[np.unique(labels[asked[seen]])] += 1
    return found
