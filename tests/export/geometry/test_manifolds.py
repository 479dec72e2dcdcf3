"""Surfaces whose sheets touch, made manifolds: every edge has two faces, nothing moves away."""

import numpy as np
import pytest
import trimesh

from neural_render.export.geometry.surfaces.blocks import Surface
from neural_render.export.geometry.surfaces.manifold import (
    HAIR,
    edges_of,
    manifold,
    without_flaps,
)

Cells = set[tuple[int, int, int]]


def boxes(cells: Cells) -> Surface:
    """The boundary of unit cells, with a vertex for each corner of the grid."""
    corners: dict[tuple[int, ...], int] = {}
    faces = []
    for cell in sorted(cells):
        for axis in range(3):
            for up in (0, 1):
                beyond = np.array(cell)
                beyond[axis] += 2 * up - 1
                if tuple(beyond.tolist()) in cells:
                    continue
                quad = []
                for one, other in ((0, 0), (1, 0), (1, 1), (0, 1)):
                    corner = np.array(cell)
                    corner[axis] += up
                    corner[(axis + 1) % 3] += one
                    corner[(axis + 2) % 3] += other
                    quad.append(corners.setdefault(tuple(corner.tolist()), len(corners)))
                a, b, c, d = quad if up else quad[::-1]
                faces += [(a, b, c), (a, c, d)]
    return Surface(
        vertices=np.array(list(corners), dtype=np.float64), faces=np.array(faces, dtype=np.int64)
    )


def bodies(surface: Surface) -> list[trimesh.Trimesh]:
    """The parts that hang together, after merging what is equal as other programs do."""
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    mesh.merge_vertices()
    return list(mesh.split(only_watertight=False))


def test_two_boxes_that_share_an_edge_come_apart() -> None:
    touching = boxes({(0, 0, 0), (1, 1, 0)})
    assert edges_of(touching).crowded == 1
    apart = manifold(touching)
    assert edges_of(apart).closed
    parts = bodies(apart)
    assert len(parts) == 2
    for part in parts:
        assert part.is_watertight and part.is_winding_consistent
        assert part.volume == pytest.approx(1, rel=2 * HAIR)


def test_two_boxes_that_share_a_corner_come_apart() -> None:
    """Each edge has two faces already; the vertex has two fans."""
    touching = boxes({(0, 0, 0), (1, 1, 1)})
    assert edges_of(touching).closed
    apart = manifold(touching)
    assert len(apart.vertices) == len(touching.vertices) + 1
    assert [part.is_watertight for part in bodies(apart)] == [True, True]


def test_a_ring_that_touches_itself_is_opened_along_the_edge() -> None:
    """Both sheets at the edge are one surface, so that its ends alone cannot tell them apart."""
    ring = {(0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (1, 1, 0)}
    touching = boxes(ring)
    assert edges_of(touching).crowded == 1
    apart = manifold(touching)
    assert edges_of(apart).closed
    (body,) = bodies(apart)
    assert body.is_watertight and body.is_winding_consistent
    assert body.volume == pytest.approx(len(ring), rel=HAIR)
    assert np.abs(body.bounds - [[0, 0, 0], [2, 2, 2]]).max() < HAIR


@pytest.mark.parametrize("seed", range(20))
def test_cells_at_random_become_manifolds(seed: int) -> None:
    """Half of all cells touch at edges and corners in every way there is."""
    rng = np.random.default_rng(seed)
    filled = np.argwhere(rng.random((5, 5, 5)) < 0.5)
    cells = {(int(x), int(y), int(z)) for x, y, z in filled}
    touching = boxes(cells)
    assert edges_of(touching).crowded > 5
    apart = manifold(touching)
    assert edges_of(apart).closed
    mesh = trimesh.Trimesh(apart.vertices, apart.faces, process=False)
    mesh.merge_vertices()
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(len(cells), rel=2 * HAIR)


def test_flaps_go_and_as_many_faces_stay_as_no_reverse_cancels() -> None:
    """Three corners that go up twice and down once are one face; lost corners are none."""
    vertices = np.eye(4, 3)
    faces = [(0, 1, 2), (1, 2, 0), (2, 1, 0), (0, 2, 3), (3, 2, 0), (1, 1, 3)]
    left = without_flaps(Surface(vertices=vertices, faces=np.array(faces, dtype=np.int64)))
    assert len(left.faces) == 1 and len(left.vertices) == 3
    turned = np.roll(left.faces[0], -int(left.faces[0].argmin())).tolist()
    assert turned == [0, 1, 2]


def test_holes_stay() -> None:
    box = boxes({(0, 0, 0)})
    opened = Surface(vertices=box.vertices, faces=box.faces[1:])
    assert edges_of(manifold(opened)).open == 3
