"""What points and bounds say of a capture's depth."""

import numpy as np
import pytest
import torch

from neural_render.captures.placement.seen_space import seen_space
from neural_render.captures.readers.listing import SparsePoints, no_points
from neural_render.core.cameras import Cameras, Lens, project

UNKNOWN = np.full((2, 2), np.nan)


def two_cameras() -> Cameras:
    """At the origin and one to the right, both looking along z."""
    poses = torch.eye(4)[None, :3].repeat(2, 1, 1)
    poses[1, 0, 3] = 1.0
    return Cameras(
        world_from_camera=poses,
        focal_px=torch.full((2, 2), 50.0),
        center_px=torch.tensor([[20.0, 15.0], [20.0, 15.0]]),
        distortion=torch.zeros(2, 6),
        lens=torch.full((2,), int(Lens.PERSPECTIVE)),
        width=torch.full((2,), 40),
        height=torch.full((2,), 30),
    )


def points(*, observed: bool) -> SparsePoints:
    """Three points: in the middle of the first picture, in that of the second one, behind both."""
    empty = np.zeros(0, dtype=np.int64)
    return SparsePoints(
        positions=np.array([[0.0, 0, 4], [1.0, 0, 2], [0.0, 0, -3]]),
        colors=np.zeros((3, 3), dtype=np.uint8),
        names=("b", "unused", "a"),
        point=np.array([0, 1, 1, 0]) if observed else empty,
        photo=np.array([2, 0, 1, 0]) if observed else empty,
        place=np.zeros((4 if observed else 0, 2)),
    )


def test_observations_belong_to_the_cameras_of_their_names() -> None:
    seen = seen_space(two_cameras(), ("a", "b"), points(observed=True), UNKNOWN)
    assert seen.view.tolist() == [0, 1, 1]  # none of the photo that is not there
    assert seen.places.tolist() == [[0, 0, 4], [1, 0, 2], [0, 0, 4]]
    assert seen.distances(two_cameras()).tolist() == pytest.approx([4, 2, 17**0.5])
    assert seen.nearest(two_cameras()) == pytest.approx(2, abs=0.1)


def test_points_without_observations_count_where_they_are_in_the_picture() -> None:
    seen = seen_space(two_cameras(), ("a", "b"), points(observed=False), UNKNOWN)
    assert seen.view.tolist() == [0, 1, 1]  # the second point is beside the first picture
    assert seen.places.tolist() == [[0, 0, 4], [0, 0, 4], [1, 0, 2]]


def test_bounds_fill_the_pictures_between_them() -> None:
    cameras = two_cameras()
    seen = seen_space(cameras, ("a", "b"), no_points(), np.array([[2.0, 8.0], [np.nan, 5.0]]))
    assert seen.is_known and seen.view.unique().tolist() == [0]
    pixels, depth = project(cameras, seen.view, seen.places.float())
    assert (pixels > 0).all() and (pixels < torch.tensor([40, 30])).all()
    assert (float(depth.min()), float(depth.max())) == pytest.approx((2, 8))
    assert float(depth.median()) < 4  # even in disparity


def test_nothing_is_known_of_nothing() -> None:
    seen = seen_space(two_cameras(), ("a", "b"), no_points(), UNKNOWN)
    assert len(seen) == 0 and not seen.is_known


def test_points_that_are_not_finite_do_not_count() -> None:
    bad = points(observed=True)
    bad.positions[1] = np.inf
    assert len(seen_space(two_cameras(), ("a", "b"), bad, UNKNOWN)) == 2
