"""A surface made a manifold: two faces at each edge, one fan of faces at each vertex.

Where decimation lets two sheets touch, four faces share an edge. Around it solid and air take
turns; two faces belong together that bound the same solid. So the sheets come apart there: each
gets vertices of its own, drawn to its own side by a hair, so that no program that merges equal
vertices joins them again.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from neural_render.export.geometry.surfaces.blocks import Surface

HAIR = 0.02  # of the way from a vertex to the middle of its faces
MOST_ROUNDS = 8

Pairs = Int64[np.ndarray, "pairs 2"]


@dataclass(frozen=True, kw_only=True)
class Edges:
    """How many edges have one face (holes), and more than two."""

    open: int
    crowded: int

    @property
    def closed(self) -> bool:
        """Whether each edge has two faces."""
        return not (self.open or self.crowded)


def edges_of(surface: Surface) -> Edges:
    """What there is to know of a surface's edges."""
    _, count = np.unique(_half_edges(surface)[1], return_counts=True)
    return Edges(open=int((count == 1).sum()), crowded=int((count > 2).sum()))


def manifold(surface: Surface) -> Surface:
    """The same surface, as a manifold; holes stay."""
    surface = without_flaps(surface)
    for _ in range(MOST_ROUNDS):
        pairs, crowded = _paired(surface)
        surface = _apart(surface, pairs)
        # A sheet may touch itself so that an edge has the same two ends on both sides.
        pairs, crowded = _paired(surface)
        if not crowded.any():
            return surface
        surface = _halved(surface, pairs[crowded])
    return surface


def without_flaps(surface: Surface) -> Surface:
    """Without triangles that have lost a corner, and without pairs that lie back to back."""
    faces = surface.faces[(surface.faces != np.roll(surface.faces, 1, axis=1)).all(1)]
    _, group = np.unique(np.sort(faces, 1), axis=0, return_inverse=True)
    group = group.ravel()
    first = np.take_along_axis(
        faces, (faces.argmin(1)[:, None] + np.arange(3)) % 3, axis=1
    )  # turned so that the smallest corner comes first
    sign = np.where(first[:, 1] < first[:, 2], 1, -1)
    balance = np.bincount(group, weights=sign).astype(np.int64)
    # Of faces with the same corners, as many stay as no reverse cancels: edges stay even.
    order = np.lexsort((sign, group))
    _, begin, count = np.unique(
        2 * group[order] + (sign[order] > 0), return_index=True, return_counts=True
    )
    rank = np.empty(len(faces), dtype=np.int64)
    rank[order] = np.arange(len(faces)) - np.repeat(begin, count)
    kept = (sign == np.sign(balance)[group]) & (rank < np.abs(balance)[group])
    return surface.with_faces(faces[kept])


def _half_edges(surface: Surface) -> tuple[Int64[np.ndarray, "halves 2"], Int64[np.ndarray, " h"]]:
    """The ends of each face's three sides as it goes round, and a number for each edge."""
    ends = np.stack([surface.faces, np.roll(surface.faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    return ends, ends.min(1) * len(surface.vertices) + ends.max(1)


def _paired(surface: Surface) -> tuple[Pairs, Bool[np.ndarray, " pairs"]]:
    """Sides of faces that belong together, one up and one down an edge; which edges have more."""
    ends, keys = _half_edges(surface)
    order = np.argsort(keys, kind="stable")
    _, begin, count = np.unique(keys[order], return_index=True, return_counts=True)
    upward = ends[:, 0] < ends[:, 1]
    two = begin[count == 2]
    plain = np.stack([order[two], order[two + 1]], axis=-1)
    plain = plain[upward[plain[:, 0]] != upward[plain[:, 1]]]
    many = [
        pair
        for start, size in zip(begin[count > 2], count[count > 2], strict=True)
        for pair in _around(surface, order[start : start + size], upward)
    ]
    crowded = np.array(many, dtype=np.int64).reshape(-1, 2)
    flags = np.repeat([False, True], [len(plain), len(crowded)])
    return np.concatenate([plain, crowded]), flags


def _around(
    surface: Surface, sides: Int64[np.ndarray, " sides"], upward: Bool[np.ndarray, " halves"]
) -> list[tuple[int, int]]:
    """Pairs among the sides of one edge: the two faces on both sides of the same solid.

    Of a face that goes up the edge the solid lies where the angle around it falls, of one that goes
    down where it rises.
    """
    faces = surface.faces[sides // 3]
    corner = sides % 3
    rows = np.arange(len(sides))
    one, other = faces[rows, corner], faces[rows, (corner + 1) % 3]
    low, high = np.minimum(one, other)[0], np.maximum(one, other)[0]
    origin = surface.vertices[low]
    axis = surface.vertices[high] - origin
    axis = axis / max(float(np.linalg.norm(axis)), 1e-30)
    away = surface.vertices[faces[rows, (corner + 2) % 3]] - origin
    away = away - (away @ axis)[:, None] * axis
    across = np.cross(axis, away[0])
    angle = np.arctan2(away @ across, (away @ away[0]) * max(float(np.linalg.norm(axis)), 1e-30))
    turn = sides[np.argsort(angle, kind="stable")].tolist()
    pairs, left = [], turn
    for side in turn:
        if upward[side] or side not in left:
            continue
        place = left.index(side)
        after = left[place + 1 :] + left[:place]
        match = next((found for found in after if upward[found]), None)
        if match is not None:
            pairs.append((side, match))
            left = [found for found in left if found not in (side, match)]
    return pairs


def _apart(surface: Surface, pairs: Pairs) -> Surface:
    """Each fan of faces that hang together by ``pairs`` with a vertex of its own."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends, _ = _half_edges(surface)
    after = np.arange(len(ends)).reshape(-1, 3)
    after = np.roll(after, -1, axis=1).ravel()  # the corner at the other end of a side
    one, other = pairs[:, 0], pairs[:, 1]  # one goes up where the other goes down
    rows = np.concatenate([one, after[one]])
    columns = np.concatenate([after[other], other])
    size = len(ends)
    links = coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(size, size))
    count, fan = connected_components(links, directed=False)
    owner = np.empty(count, dtype=np.int64)
    owner[fan] = surface.faces.ravel()
    vertices = surface.vertices[owner]
    shared = np.bincount(owner, minlength=len(surface.vertices))[owner] > 1
    middles = surface.vertices[surface.faces].mean(1).repeat(3, axis=0)
    faces_of = np.bincount(fan, minlength=count)[:, None]
    middle = np.stack([np.bincount(fan, middles[:, i], count) for i in range(3)], -1) / faces_of
    vertices[shared] += HAIR * (middle - vertices)[shared]
    return Surface(vertices=vertices, faces=fan.reshape(-1, 3).astype(np.int64))


def _halved(surface: Surface, pairs: Pairs) -> Surface:
    """Both faces of each pair cut at a middle of their side that is theirs alone."""
    touched = np.zeros(len(surface.faces), dtype=bool)
    vertices, faces, cut = list(surface.vertices), surface.faces, []
    replaced = []
    for pair in pairs:
        if touched[pair // 3].any():
            continue  # in the next round
        touched[pair // 3] = True
        corners = [np.roll(faces[side // 3], -(side % 3)) for side in pair]  # the side comes first
        a, b = corners[0][:2]
        middle = (surface.vertices[a] + surface.vertices[b]) / 2
        aim = surface.vertices[[corners[0][2], corners[1][2]]].mean(0)
        vertices.append(middle + HAIR * (aim - middle))
        new = len(vertices) - 1
        for start, end, tip in corners:
            cut += [(start, new, tip), (new, end, tip)]
        replaced += (pair // 3).tolist()
    kept = np.delete(faces, replaced, axis=0)
    halves = np.array(cut, dtype=np.int64).reshape(-1, 3)
    return Surface(vertices=np.array(vertices), faces=np.concatenate([kept, halves]))
