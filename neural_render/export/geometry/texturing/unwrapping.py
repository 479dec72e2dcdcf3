"""A surface laid out in a picture (by xatlas), and which of its points each texel shows.

Legend: (u, v) in [0, 1] from the picture's left and bottom, as OBJ and trimesh have them.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from neural_render.export.geometry.surfaces.blocks import Surface

# xatlas takes minutes for a hundred thousand faces together, and seconds for as many in parts.
PART = 1000
PADDING = 2  # texels between charts
FILLED = 0.7  # of the picture, as charts lie in it at first
TEXELS_AT_ONCE = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The faces again, with vertices that are split where charts end."""

    vertex: Int64[np.ndarray, " corners"]  # the surface's vertex that each one is
    faces: Int64[np.ndarray, "faces 3"]
    uv: Float64[np.ndarray, "corners 2"]
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Texels:
    """The texels whose middle shows a face, and where in it."""

    index: Int64[np.ndarray, " texels"]  # row * width + column, rows from the top
    face: Int64[np.ndarray, " texels"]
    weights: Float32[np.ndarray, "texels 3"]  # of the face's corners


def laid_out(surface: Surface, size: int) -> Layout:
    """The surface's charts in a picture whose longer side is ``size`` texels."""
    import xatlas

    atlas = xatlas.Atlas()
    order = _parts(surface)
    own = []
    for part in order:
        vertices, index = np.unique(surface.faces[part], return_inverse=True)
        own.append(vertices)
        atlas.add_mesh(_scaled(surface)[vertices], index.reshape(-1, 3).astype(np.uint32))
    options = xatlas.PackOptions()
    options.padding = PADDING
    options.texels_per_unit = size * np.sqrt(FILLED / max(_area(surface), 1e-30))
    atlas.generate(xatlas.ChartOptions(), options)
    vertex, faces, uv, count = [], np.empty_like(surface.faces), [], 0
    for number, (part, vertices) in enumerate(zip(order, own, strict=True)):
        split, index, places = atlas[number]
        vertex.append(vertices[split.astype(np.int64)])
        faces[part] = index.astype(np.int64) + count
        uv.append(places.astype(np.float64))
        count += len(split)
    longer = max(atlas.width, atlas.height)
    return Layout(
        vertex=np.concatenate(vertex),
        faces=faces,
        uv=np.concatenate(uv).clip(0, 1),
        width=max(1, round(size * atlas.width / longer)),
        height=max(1, round(size * atlas.height / longer)),
    )


def texels_of(layout: Layout) -> Texels:
    """All texels whose middle lies in a chart."""
    size = np.array([layout.width, layout.height])
    corners = (layout.uv * [1, -1] + [0, 1])[layout.faces] * size  # columns and rows
    low = np.maximum(np.ceil(corners.min(1) - 0.5), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(1) - 0.5), size - 1).astype(np.int64)
    extent = (high - low + 1).clip(min=0)
    counts = extent.prod(1)
    index, face, weights = [], [], []
    for start, end in _chunks(counts):
        found = _inside(corners[start:end], low[start:end], extent[start:end])
        index.append(found[1][:, 1] * layout.width + found[1][:, 0])
        face.append(found[0] + start)
        weights.append(found[2])
    joined = np.concatenate(index)
    # Along the edge of two faces a middle may lie in both.
    first = np.unique(joined, return_index=True)[1]
    return Texels(
        index=joined[first],
        face=np.concatenate(face)[first],
        weights=np.concatenate(weights)[first],
    )


def spread_out(
    colors: Float32[np.ndarray, "texels 3"], index: Int64[np.ndarray, " texels"], layout: Layout
) -> Float32[np.ndarray, "height width 3"]:
    """The picture: texels of no chart have the colour of the nearest that is of one."""
    from scipy.ndimage import distance_transform_edt

    empty = np.ones(layout.height * layout.width, dtype=bool)
    picture = np.zeros((len(empty), 3), dtype=np.float32)
    empty[index], picture[index] = False, colors
    shape = (layout.height, layout.width)
    if empty.all():
        return picture.reshape(*shape, 3)
    nearest: Any = distance_transform_edt(empty.reshape(shape), return_indices=True)
    row, column = nearest[1]
    return picture.reshape(*shape, 3)[row, column]


def _scaled(surface: Surface) -> Float32[np.ndarray, "vertices 3"]:
    """The vertices around 0, where single precision tells them best."""
    return (surface.vertices - surface.vertices.mean(0)).astype(np.float32)


def _area(surface: Surface) -> float:
    a, b, c = (surface.vertices[surface.faces[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _parts(surface: Surface) -> list[Int64[np.ndarray, " part"]]:
    """The faces in neighbourhoods of up to `PART`, halved across their longest side."""
    middles = surface.vertices[surface.faces].mean(1)
    waiting, done = [np.arange(len(middles))], []
    while waiting:
        part = waiting.pop()
        if len(part) <= PART:
            done.append(part)
            continue
        axis = np.ptp(middles[part], axis=0).argmax()
        half = len(part) // 2
        order = np.argpartition(middles[part, axis], half)
        waiting += [part[order[:half]], part[order[half:]]]
    return done


def _chunks(counts: Int64[np.ndarray, " faces"]) -> list[tuple[int, int]]:
    """Ranges of faces that have about `TEXELS_AT_ONCE` texels in their boxes together."""
    total = np.cumsum(counts)
    ends = np.searchsorted(total, np.arange(TEXELS_AT_ONCE, total[-1], TEXELS_AT_ONCE)) + 1
    places = [0, *np.unique(ends).tolist(), len(counts)]
    return [(a, b) for a, b in pairwise(places) if b > a]


def _inside(
    corners: Float64[np.ndarray, "faces 3 2"],
    low: Int64[np.ndarray, "faces 2"],
    extent: Int64[np.ndarray, "faces 2"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face, column and row, and weights of the middles in the boxes that their faces cover."""
    counts = extent.prod(1)
    face = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = np.stack([rank % extent[face, 0], rank // extent[face, 0]], axis=-1) + low[face]
    a, b, c = (corners[face, corner] for corner in range(3))
    middle = place + 0.5

    def doubled(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])

    whole = doubled(a, b, c)
    whole = np.where(np.abs(whole) > 1e-12, whole, np.inf)
    weights = np.stack([doubled(b, c, middle), doubled(c, a, middle), doubled(a, b, middle)], -1)
    weights = weights / whole[:, None]
    kept = (weights >= -1e-6).all(1) & np.isfinite(whole)
    return face[kept], place[kept], weights[kept].clip(min=0).astype(np.float32)
