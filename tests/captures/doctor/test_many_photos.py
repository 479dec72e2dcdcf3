"""Of thousands of photos, what is compared with what takes no more memory than the photos."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from neural_render.captures.doctor.poses.choosing import (
    claimed_distance,
    nearest_views,
    neighbours,
)
from neural_render.captures.doctor.poses.ordering import assigned, likely_alignments
from neural_render.captures.doctor.poses.strays import suspect_pairs

MEGABYTE = 1e6


def random_poses(count: int) -> np.ndarray:
    """Cameras at random places that look in random directions."""
    random = np.random.default_rng(0)
    turns = np.linalg.qr(random.standard_normal((count, 3, 3)))[0]
    turns[:, :, 2] *= np.linalg.det(turns)[:, None]
    return np.concatenate([turns, random.standard_normal((count, 3, 1))], axis=2)


@contextmanager
def at_most(megabytes: float) -> Iterator[None]:
    """The block takes no more memory than that."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


def test_neighbours_are_the_nearest_by_place_and_direction() -> None:
    poses = random_poses(20)
    place, axis = poses[:, :, 3], poses[:, :, 2]
    distance = claimed_distance(poses, 2.0)
    assert distance.shape == (20, 20) and np.isinf(distance.diagonal()).all()
    expected = np.linalg.norm(place[3] - place[7]) / 2 + np.arccos(axis[3] @ axis[7])
    np.testing.assert_allclose([distance[3, 7], distance[7, 3]], expected)
    near = nearest_views(7, poses, 2.0)
    assert sorted([7, *near]) == list(range(20))
    assert (np.diff(distance[7, near]) >= 0).all()


def test_neighbours_of_thousands_of_photos() -> None:
    """A distance of each from each would take 72 MB, and three coordinates of it thrice that."""
    poses = random_poses(3000)
    with at_most(5):
        pairs = neighbours(poses, 1.0, 10)
        pairs |= suspect_pairs([(5, 70), (8, 9)], np.array([1e3, 0.1]), poses, 1.0)
    assert len(pairs) >= 10 + 2 * 4 and all(first < second for first, second in pairs)
    near = nearest_views(5, poses, 1.0)[0]
    assert {(4, 5), (5, 7), (min(5, near), max(5, near))} <= pairs


def test_the_poses_of_some_photos_are_found_among_thousands() -> None:
    """Every alignment of 60 photos with 700 poses would take 235 MB."""
    claimed, random = random_poses(700)[:, :, :3], np.random.default_rng(1)
    pose = random.choice(700, 60, replace=False)
    seen = claimed[pose[0]].T @ claimed[pose]
    with at_most(5):
        found = next(likely_alignments(claimed, seen))
    assert assigned(found).tolist() == pose.tolist()
