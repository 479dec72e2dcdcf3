"""Tracks through pairs of photos, and the points where their rays meet."""

import numpy as np
import pytest
import torch

from neural_render.captures.doctor.poses.matching import Match
from neural_render.captures.surveying.triangulation import (
    Sightings,
    connected,
    tracked,
    triangulated,
)
from neural_render.core.cameras import Cameras, Lens, project
from neural_render.core.transforms import look_at

SIDE = 640


def around(count: int) -> Cameras:
    """Cameras on an arc around the origin, of a lens with some distortion."""
    angles = torch.linspace(0.0, 1.2, count)
    places = torch.stack([4 * angles.cos(), 4 * angles.sin(), 1 + 0.3 * (7 * angles).sin()], 1)
    poses = torch.stack(
        [look_at(place, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])) for place in places]
    )
    return Cameras(
        world_from_camera=poses[:, :3],
        focal_px=torch.full((count, 2), 600.0),
        center_px=torch.full((count, 2), SIDE / 2),
        distortion=torch.tensor([[0.05, -0.01, 0.001, 0.0, 0.0, 0.0]]).repeat(count, 1),
        lens=torch.full((count,), int(Lens.PERSPECTIVE)),
        width=torch.full((count,), SIDE),
        height=torch.full((count,), SIDE),
    )


def seen(cameras: Cameras, points: np.ndarray, photo: np.ndarray, point: np.ndarray) -> Sightings:
    places = torch.from_numpy(points[point]).float()
    pixel, _ = project(cameras, torch.from_numpy(photo), places)
    return Sightings(point=point, photo=photo, pixel=pixel.double().numpy())


def test_points_are_where_their_rays_meet_and_wrong_sightings_are_left_out() -> None:
    numbers, cameras = np.random.default_rng(0), around(8)
    points = numbers.uniform(-1, 1, (50, 3))
    point, photo = (x.reshape(-1) for x in np.meshgrid(np.arange(50), np.arange(8)))
    given = seen(cameras, points, photo, point)
    wrong = (point < 20) & (photo == point % 8)
    pixel = given.pixel + np.where(
        wrong[:, None], [[60.0, -40.0]], numbers.normal(0, 0.3, (400, 2))
    )
    found, kept = triangulated(Sightings(point=point, photo=photo, pixel=pixel), cameras)
    assert found == pytest.approx(points, abs=0.01)
    assert len(kept) == 400 - wrong.sum()
    assert not {(p, f) for p, f in zip(point[wrong], photo[wrong], strict=True)} & {
        (p, f) for p, f in zip(kept.point, kept.photo, strict=True)
    }


def test_what_two_photos_show_or_cameras_side_by_side_is_no_point() -> None:
    cameras = around(40)
    points = np.array([[0.1, 0.2, 0.0], [0.0, 0.0, 0.3], [0.3, 0.0, 0.1]])
    photo, point = np.array([0, 20, 0, 0, 15, 30, 4, 4]), np.array([0, 0, 1, 2, 2, 2, 1, 1])
    photo[6:], points[1] = [1, 2], [0.0, 0.0, 0.3]
    far = cameras.world_from_camera[..., 3].numpy()
    assert np.linalg.norm(far[0] - far[2]) < 0.4
    points[1] = -20 * far[1] / np.linalg.norm(far[1])  # so far away that three see no angle
    found, kept = triangulated(seen(cameras, points, photo, point), cameras)
    assert found == pytest.approx(points[2:], abs=1e-3)
    assert kept.point.tolist() == [0, 0, 0] and kept.photo.tolist() == [0, 15, 30]


def test_cameras_that_are_not_where_they_claim_agree_on_little() -> None:
    numbers, cameras = np.random.default_rng(1), around(8)
    points = numbers.uniform(-1, 1, (50, 3))
    point, photo = (x.reshape(-1) for x in np.meshgrid(np.arange(50), np.arange(8)))
    given = seen(cameras, points, photo, point)
    flipped = cameras.world_from_camera.clone()
    flipped[:, :, 1:3] *= -1
    found, _ = triangulated(given, Cameras(**{**vars(cameras), "world_from_camera": flipped}))
    assert len(found) < 5


def test_tracks_go_through_any_chain_of_matches_and_show_nothing_twice() -> None:
    a, b, c = np.array([[1.0, 2.0], [5.0, 5.0]]), np.array([[3.0, 4.0]]), np.array([[6.0, 7.0]])
    matches = [
        Match(photos=(0, 1), first=a[:1], second=b),
        Match(photos=(1, 2), first=b, second=c),
        Match(photos=(3, 4), first=a[:1], second=b),
        Match(photos=(3, 4), first=a[1:], second=b),  # two places in photo 3 for one in photo 4
    ]
    found = tracked(matches)
    assert found.photo.tolist() == [0, 1, 2] and found.point.tolist() == [0, 0, 0]
    assert found.pixel.tolist() == [[1, 2], [3, 4], [6, 7]]
    assert len(tracked([])) == 0 and triangulated(tracked([]), around(3))[0].shape == (0, 3)


def test_long_chains_are_connected() -> None:
    order = np.random.default_rng(2).permutation(1000)
    label = connected(1001, order[:-1], order[1:])
    assert (label[:1000] == 0).all() and label[1000] == 1000
