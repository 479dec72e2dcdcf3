"""A camera path is edited, kept in a file that render.py takes, and read again."""

import json
import math

import pytest
import torch

from neural_render.core.errors import OutputError, UserError
from neural_render.core.flight.keyframes import keyframe_path
from neural_render.viewer import flight as flights
from neural_render.viewer.flight import Flight, load_flight
from neural_render.viewer.requests import MOST_FOV, pose_view
from tests.viewer.balls import cameras_around

LIKE = cameras_around()
VIEWS = [pose_view(pose.double(), 0.5 + 0.1 * i) for i, pose in enumerate(LIKE.world_from_camera)]


def flight_of(count: int) -> Flight:
    flight = Flight()
    for view in VIEWS[:count]:
        flight.add(view)
    return flight


def order_of(flight: Flight) -> list[int]:
    return [VIEWS.index(stop.view) for stop in flight.stops]


def test_keyframes_are_put_behind_the_chosen_one():
    flight = flight_of(3)
    assert (order_of(flight), flight.chosen) == ([0, 1, 2], 2)
    flight.choose(0)
    flight.add(VIEWS[3])
    assert (order_of(flight), flight.chosen) == ([0, 3, 1, 2], 1)


def test_keyframes_are_moved_reordered_and_deleted():
    flight = flight_of(3)
    flight.choose(1)
    flight.shift(1)
    assert (order_of(flight), flight.chosen) == ([0, 2, 1], 2)
    flight.shift(1)
    assert order_of(flight) == [0, 2, 1]
    flight.shift(-1)
    flight.update(VIEWS[5])
    assert (order_of(flight), flight.chosen) == ([0, 5, 2], 1)
    flight.delete()
    assert (order_of(flight), flight.chosen) == ([0, 2], 1)
    flight.delete()
    flight.delete()
    assert (len(flight), flight.chosen) == (0, 0)


def test_an_empty_path_takes_every_press_of_a_button():
    flight = Flight()
    flight.delete()
    flight.update(VIEWS[0])
    flight.shift(1)
    flight.set_fov(30)
    flight.choose(7)
    assert (len(flight), flight.chosen) == (0, 0)


def test_fields_of_view_and_lengths_are_kept_in_range():
    flight = flight_of(2)
    flight.set_fov(60)
    assert flight.stops[1].view.fov_rad == pytest.approx(math.radians(60))
    flight.set_fov(500)
    assert flight.stops[1].view.fov_rad == pytest.approx(MOST_FOV)
    flight.set_length(math.nan, 1e9)
    assert (flight.seconds, flight.fps) == (0.1, 240)
    flight.choose(99)
    assert flight.chosen == 1
    flight.choose(-3)
    assert flight.chosen == 0


def test_a_path_is_rendered_as_it_was_previewed(tmp_path):
    flight = flight_of(4)
    flight.set_length(2.0, 5.0)
    flight.save(tmp_path / "paths" / "a.json")
    cameras = keyframe_path(tmp_path / "paths" / "a.json", LIKE, 99)
    assert len(cameras) == 10
    for frame in (0, 4, 9):
        seen = flight.view_at(2.0 * frame / 9)
        assert (cameras.world_from_camera[frame] - seen.pose).abs().amax() < 1e-5
        fov = 2 * math.atan(int(cameras.height[frame]) / 2 / cameras.focal_px[frame, 1].item())
        assert fov == pytest.approx(seen.fov_rad, rel=1e-5)


def test_a_loop_comes_back_to_its_beginning(tmp_path):
    flight = flight_of(4)
    flight.loop = True
    first, last = flight.way(100)[[0, -1]]
    assert torch.equal(first, last)
    assert flight.view_at(flight.seconds) == flight.view_at(0.0)
    flight.save(tmp_path / "loop.json")
    cameras = keyframe_path(tmp_path / "loop.json", LIKE, 99)
    step = (cameras.world_from_camera[0] - cameras.world_from_camera[-1]).norm()
    assert 0 < step < 0.2
    assert load_flight(tmp_path / "loop.json", LIKE).loop


def test_a_path_that_does_not_loop_waits_at_its_end():
    flight = flight_of(2)
    assert flight.view_at(1e9) == flight.view_at(flight.seconds)


def test_what_was_saved_is_read_again(tmp_path):
    flight = flight_of(3)
    flight.set_length(4.0, 25.0)
    flight.save(tmp_path / "a.json")
    read = load_flight(tmp_path / "a.json", LIKE)
    assert (read.seconds, read.fps, read.loop) == (4, 25, False)
    for mine, theirs in zip(flight.stops, read.stops, strict=True):
        assert (mine.view.pose - theirs.view.pose).abs().amax() < 1e-6
        assert mine.view.fov_rad == pytest.approx(theirs.view.fov_rad)


def test_times_that_a_file_states_survive_being_edited(tmp_path):
    record = flight_of(3).record()
    for entry, time in zip(record["keyframes"], (0.0, 1.0, 4.0), strict=True):
        entry["time"] = time
    (tmp_path / "a.json").write_text(json.dumps(record | {"frames": 60}))
    flight = load_flight(tmp_path / "a.json", LIKE)
    assert [stop.lasts for stop in flight.stops[:2]] == [1, 3]
    assert flight.seconds == pytest.approx(2)
    assert [entry["time"] for entry in flight.record()["keyframes"]] == [0, 1, 4]
    flight.save(tmp_path / "b.json")
    assert len(keyframe_path(tmp_path / "b.json", LIKE, 1)) == 60


def test_a_path_of_one_keyframe_is_not_saved(tmp_path):
    with pytest.raises(UserError, match="two keyframes or more, and this one has 1"):
        flight_of(1).save(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_path_with_too_many_frames_is_not_saved(tmp_path):
    flight = flight_of(2)
    flight.set_length(3600, 240)
    with pytest.raises(UserError, match=r"3600 seconds of 240 frames are more than 100000.*less"):
        flight.save(tmp_path / "a.json")


def test_a_path_without_a_frame_is_not_saved(tmp_path):
    flight = flight_of(2)
    flight.set_length(0.1, 1)
    with pytest.raises(UserError, match=r"0.1 seconds of 1 frames are no frame: make one .* more"):
        flight.save(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
    flight.set_length(0.1, 6)
    flight.save(tmp_path / "a.json")
    assert len(keyframe_path(tmp_path / "a.json", LIKE, 99)) == 1


def test_a_path_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "paths").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        flight_of(2).save(tmp_path / "paths" / "a.json")


def test_a_path_has_an_end_of_keyframes(monkeypatch, tmp_path):
    flight = flight_of(3)
    flight.save(tmp_path / "a.json")
    monkeypatch.setattr(flights, "MOST_KEYFRAMES", 2)
    with pytest.raises(UserError, match="at most 2 keyframes: delete some"):
        flight.add(VIEWS[0])
    with pytest.raises(UserError, match="more than 2 keyframes"):
        load_flight(tmp_path / "a.json", LIKE)


def test_finished_frames_are_no_keyframes(tmp_path):
    (tmp_path / "a.json").write_text('{"camera_path": []}')
    with pytest.raises(UserError, match="holds finished frames: give an object with keyframes"):
        load_flight(tmp_path / "a.json", LIKE)
