"""What browsers ask for becomes something that can be drawn, or nothing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_render.core.cameras import image_rays
from neural_render.core.errors import UserError
from neural_render.core.lights import LightGroup
from neural_render.core.transforms import look_at
from neural_render.viewer.requests import (
    LEAST_FOV,
    MOST_FOV,
    NORMALS,
    Look,
    checked_box,
    checked_color,
    checked_mode,
    checked_name,
    checked_point,
    checked_view,
    clamped,
    dialled,
    pose_view,
)

UPRIGHT = (1.0, 0.0, 0.0, 0.0)
GIVEN = {"position": (1, 2, 3), "quat_wxyz": UPRIGHT, "fov_rad": 0.7, "size": (800, 600)}
ANYTHING = (
    st.none()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.floats() | st.integers() | st.none(), max_size=5)
)


def view_of(**changes):
    return checked_view(**(GIVEN | changes), unit=1.0, max_side=2048)


def test_a_camera_is_taken_as_it_is():
    view = view_of()
    assert (view.position, view.quat_wxyz, view.fov_rad) == ((1, 2, 3), UPRIGHT, 0.7)
    assert (view.width, view.height) == (800, 600)
    assert view.pose.tolist() == [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3]]


def test_positions_are_in_the_pages_units():
    assert checked_view(**GIVEN, unit=10.0, max_side=99).position == (10, 20, 30)


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": (1, 2, math.nan)},
        {"position": (1, 2, math.inf)},
        {"position": (1, 2, 1e9)},
        {"position": (1, 2)},
        {"position": "abc"},
        {"position": None},
        {"quat_wxyz": (0, 0, 0, 0)},
        {"quat_wxyz": (math.nan, 0, 0, 0)},
        {"quat_wxyz": (1e300, 1e300, 0, 0)},
        {"fov_rad": math.nan},
        {"fov_rad": -1.0},
        {"fov_rad": "wide"},
        {"size": (0, 600)},
        {"size": (-5, 600)},
        {"size": (10**9, 600)},
        {"size": (math.nan, 600)},
    ],
    ids=str,
)
def test_numbers_that_mean_nothing_are_no_view(wrong):
    assert view_of(**wrong) is None


def test_windows_are_no_larger_than_pictures_may_be():
    view = view_of(size=(8000, 4000))
    assert (view.width, view.height) == (2048, 1024)
    view = view_of(size=(100000, 1))
    assert (view.width, view.height) == (2048, 1)


def test_angles_are_kept_within_what_a_plane_can_show():
    assert view_of(fov_rad=3.1).fov_rad == MOST_FOV
    assert view_of(fov_rad=1e-9).fov_rad == LEAST_FOV


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_whatever_comes_is_a_view_or_none(position, quat, fov, size):
    view = checked_view(position, quat, fov, size, unit=1.0, max_side=64)
    if view is not None:
        assert image_rays(view.camera(8.0), 0).directions.isfinite().all()


@given(ANYTHING)
def test_whatever_comes_as_a_control_is_something(value):
    assert checked_mode(value) == "Colour"
    assert all(0 <= part <= 1 for part in checked_color(value))
    assert 0 <= clamped(value, 0.0, 1.0) <= 1
    assert len(checked_point(value, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))) in (0, 3)
    assert len(checked_box([value, value, value])) in (0, 1)


def test_a_view_and_its_pose_are_one():
    pose = look_at(
        torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 0.5, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    ).double()
    assert (pose_view(pose, 0.7).pose - pose).abs().amax() < 1e-6


def test_a_coarser_picture_shows_the_same():
    """The rays at the corners stay within half a coarse pixel, though sizes are rounded."""
    view = view_of(size=(403, 301))
    fine, coarse = view.camera(1.0), view.camera(4.0)
    assert (int(coarse.width[0]), int(coarse.height[0])) == (101, 75)
    for camera in (fine, coarse):
        half = torch.stack([camera.width, camera.height], 1) / 2 / camera.focal_px
        assert half[0, 1].item() == pytest.approx(math.tan(0.35), rel=1e-6)
        assert half[0, 0].item() == pytest.approx(math.tan(0.35) * 403 / 301, rel=1e-6)


def test_only_some_changes_need_new_rays():
    look = Look()
    assert look.of_rays == Look(mode="Depth", stops=2.0, emission=((1.0, 1.0, 1.0),)).of_rays
    assert look.of_rays != Look(mode=NORMALS).of_rays
    assert look.of_rays != Look(crop=(((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),)).of_rays


def test_a_box_has_its_corners_in_order():
    assert checked_box([(1, 0), (0, 2), (3, 3)]) == (((0, 0, 3), (1, 2, 3)),)
    assert checked_box([(1, 0), (0, math.nan), (3, 3)]) == ()


@pytest.mark.parametrize("name", ["flight", "my path 2", "A-b_c"])
def test_a_name_is_a_name(name):
    assert checked_name(f" {name} ") == name


@pytest.mark.parametrize(
    "name", ["", "../up", "a/b", "a\\b", ".hidden", "x" * 65, "nul\0", "é", None, 5, "a\nb", "con:"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(UserError, match="is no name for a path: give letters, digits"):
        checked_name(name)


def test_a_light_that_nobody_touched_is_the_files():
    group = LightGroup(name="key", color=(4.0, 2.0, 0.1))
    assert dialled(group, 1.0, (0.9, 0.9, 0.9), True) == group.color
    assert dialled(group, 0.5, (0.9, 0.9, 0.9), True) == (2.0, 1.0, 0.05)
    assert dialled(group, 0.5, (1.0, 0.5, 0.0), False) == (2.0, 1.0, 0.0)
    assert dialled(group, math.nan, (1.0, 1.0, 1.0), True) == (0, 0, 0)
