"""Where visitors begin, which way is up, and in which units the world is shown."""

import math
from dataclasses import replace

import pytest
import torch

from neural_render.core.projection import Projection
from neural_render.core.transforms import look_at
from neural_render.viewer.place import MOST_SIZE, NEAR, REACH, find_place, unit_of
from tests.viewer.balls import FRAME, cameras_around


def test_cameras_all_around_are_joined_on_their_orbit():
    place = find_place(cameras_around(), FRAME)
    assert place.up == pytest.approx((0, 0, 1), abs=1e-5)
    assert place.target == pytest.approx((0, 0, 0), abs=1e-4)
    assert place.distance == pytest.approx(2.5 * math.hypot(1, 0.3), rel=1e-4)
    assert place.first.fov_rad == pytest.approx(2 * math.atan(16 / 60))
    assert sum(place.bounds, ()) == pytest.approx((-1, -1, -1, 1, 1, 1))
    assert place.unit == 1


def test_cameras_that_look_one_way_are_joined_at_the_first():
    places = torch.tensor([[x, 0.0, 0.0] for x in (-0.3, 0.0, 0.3)])
    targets = torch.tensor([[0.0, 4.0, 0.0]]).expand(3, 3)
    poses = look_at(places, targets, torch.tensor([0.0, 0.0, 1.0]))
    place = find_place(replace(cameras_around(3), world_from_camera=poses), FRAME)
    assert place.first.position == pytest.approx((-0.3, 0, 0))
    assert place.target[1] == pytest.approx(4, abs=0.1)


def test_cameras_that_look_out_are_joined_at_the_first():
    around = cameras_around()
    poses = around.world_from_camera.clone()
    poses[:, :, 0] *= -1
    poses[:, :, 2] *= -1
    place = find_place(replace(around, world_from_camera=poses), FRAME)
    assert place.first.position == pytest.approx(tuple(poses[0, :, 3].tolist()), abs=1e-5)
    assert place.distance > 0


def test_more_than_the_cube_of_interest_can_be_cropped_where_there_is_more():
    nested = find_place(cameras_around(), replace(FRAME, cascades=3))
    assert sum(nested.bounds, ()) == pytest.approx((-0.5,) * 3 + (0.5,) * 3)
    tilted = Projection(matrix=(2.0, *Projection().matrix[1:]))
    forward = find_place(cameras_around(), replace(FRAME, projection=tilted))
    assert forward.bounds[1][0] == pytest.approx(2 * forward.distance, rel=1e-3)


@pytest.mark.parametrize("distance", [1e-5, 0.02, 0.6, 4.0, 30.0, 2e6])
def test_worlds_of_any_size_are_shown_at_about_the_same_size(distance):
    place = find_place(cameras_around(distance=distance), FRAME)
    shown = place.distance / place.unit
    assert 0.3 < shown <= 2 * MOST_SIZE
    assert math.log10(place.unit) == pytest.approx(round(math.log10(place.unit)))
    assert place.near < 1 < place.far  # the page's picture is 1 away
    assert place.on_page((place.unit, 0.0, 0.0)) == (1, 0, 0)


def test_a_world_of_a_usual_size_is_shown_as_it_is():
    assert [unit_of(value) for value in (0.5, 2.0, 7.0)] == [1, 1, 1]


def test_who_stands_where_a_camera_stands_does_not_see_its_pyramid():
    """The page gives pyramids of one size volumes alike: how deep they are follows from that."""
    place = find_place(cameras_around(), FRAME)
    for fov, aspect in ((0.5, 1.5), (2.0, 0.7)):
        across = math.tan(fov / 2)
        depth = place.pyramid(fov, aspect) / (across * across * aspect / 3) ** (1 / 3)
        assert depth == pytest.approx(REACH * place.distance)
    assert NEAR > REACH
