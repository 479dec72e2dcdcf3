"""The viewer and its visitors, who speak the page's language without being browsers."""

import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neural_render.core.errors import CaptureError
from neural_render.viewer.page import helm
from neural_render.viewer.page.cameras import MOST_CAMERAS, chosen_cameras
from neural_render.viewer.pictures import visitors
from neural_render.viewer.settings import ViewerSettings
from neural_render.viewer.stage import Report
from neural_render.viewer.viewer import Viewer
from tests.viewer.balls import LIGHTS, RED, BallStage, surroundings
from tests.viewer.raw_browser import RawBrowser

PORT = 28200
RED_8BIT = [round(255 * value) for value in RED]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures get finer, and browsers are believed, almost at once."""
    monkeypatch.setattr(visitors, "STILL", 0.02)
    monkeypatch.setattr(helm, "ARRIVAL", 0.0)


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    """A viewer of the ball, which trains."""
    with opened(BallStage(), tmp_path, trains=True) as opened_viewer:
        yield opened_viewer


def opened(stage: BallStage, folder: Path, *, trains: bool = False) -> Viewer:
    return Viewer(stage, surroundings(folder), ViewerSettings(port=PORT), trains=trains)


@pytest.fixture
def visit(viewer: Viewer) -> Iterator[Callable[..., RawBrowser]]:
    """Lets somebody visit the viewer and look at the ball."""
    visitors: list[RawBrowser] = []

    def join(**camera: object) -> RawBrowser:
        visitors.append(RawBrowser(viewer))
        visitors[-1].look_from(**camera)
        return visitors[-1]

    yield join
    for visitor in visitors:
        visitor.close()


def is_ball(picture: np.ndarray) -> bool:
    """Whether the ball is in the middle, and nothing in the corner."""
    middle, corner = picture[16, 24].astype(int), picture[1, 1].astype(int)
    return np.abs(middle - RED_8BIT).max() < 12 and corner.max() < 12


def test_a_visitor_sees_the_ball_at_full_size(visit):
    visitor = visit()
    picture = visitor.picture()
    assert picture.shape == (32, 48, 3)
    assert is_ball(picture)
    assert all(message["depth_data"] is None for message in visitor.pictures())


def test_each_visitor_has_a_camera_a_window_and_a_look_of_their_own(viewer, visit):
    first, second = visit(), visit(image_width=30, image_height=60)
    first.set("Show", "Opacity")
    assert first.picture()[16, 24].min() > 250
    second.settle()
    assert second.picture().shape == (60, 30, 3)
    assert second.picture()[30, 15].min() < 100


def test_who_leaves_is_forgotten(viewer, visit):
    first, second = visit(), visit()
    assert is_ball(first.picture())
    first.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.look_from(position=(2.4, 0.0, 0.0))
        assert is_ball(second.picture())
    assert not viewer.is_wanted()


@pytest.mark.parametrize("rebound", [False, True])
def test_pages_of_other_sites_see_nothing_and_steer_nothing(viewer, caplog, rebound):
    """Any site that is open in a browser could connect to this computer, some by their own name."""
    name = f"elsewhere.example:{viewer.port}" if rebound else None
    foreign = RawBrowser(viewer, origin=f"http://{name or 'elsewhere.example'}", host=name)
    foreign.look_from()
    foreign.serve(lambda: "tried to look in" in caplog.text)
    foreign.settle()
    assert foreign.pictures() == []
    assert not any(m["type"].startswith("GuiFolder") for m in foreign.messages)
    foreign.close()
    for name in ("127.0.0.1", "localhost"):
        own = RawBrowser(
            viewer, origin=f"http://{name}:{viewer.port}", host=f"{name}:{viewer.port}"
        )
        own.look_from()
        assert is_ball(own.picture())
        own.close()


def test_a_page_that_breaks_ends_no_other(viewer, visit, caplog, monkeypatch):
    first, second = visit(), visit()
    first.picture()
    second.picture()
    broken = next(iter(viewer._pages.values()))
    monkeypatch.setattr(broken.helm, "steer", None, raising=False)
    monkeypatch.setattr(broken, "visitor", None)
    second.look_from(position=(2.4, 0.0, 0.0))
    assert is_ball(second.picture())
    assert "is shown no more" in caplog.text and len(viewer._pages) == 1


NONSENSE = (
    {"position": (math.nan, 0.0, 0.0)},
    {"position": (math.inf, 0.0, 0.0)},
    {"wxyz": (0.0, 0.0, 0.0, 0.0)},
    {"fov": math.nan},
    {"image_width": -3},
    {"image_width": 0, "image_height": 0},
)


def test_cameras_that_make_no_sense_change_nothing(visit):
    visitor = visit()
    visitor.picture()
    count = len(visitor.pictures())
    for nonsense in NONSENSE:
        visitor.look_from(**nonsense)
    visitor.settle()
    assert len(visitor.pictures()) == count
    visitor.look_from(position=(2.4, 0.0, 0.0))
    assert is_ball(visitor.picture())
    assert len(visitor.pictures()) > count


@pytest.mark.parametrize(
    "message", [{"type": "ViewerCameraMessage", "position": "abc"}, {"type": "NoSuchMessage"}]
)
def test_what_is_no_message_ends_that_visit_alone(message, visit, caplog):
    first, second = visit(), visit()
    first.picture()
    first.send(**message)
    second.look_from(position=(2.4, 0.0, 0.0))
    assert is_ball(second.picture())
    assert [r for r in caplog.records if r.name.startswith("websockets")] == []


def test_a_huge_window_gets_a_picture_that_is_not(viewer, visit):
    viewer.max_side = 64
    visitor = visit(image_width=100_000, image_height=50_000)
    assert visitor.picture().shape == (32, 64, 3)


def test_controls_take_any_value(viewer, visit, caplog):
    """What the page itself would never send: the picture stays, and nothing is logged."""
    visitor = visit()
    visitor.picture()
    with caplog.at_level(logging.WARNING, logger="neural_render"):
        visitor.set("Show", "No such mode")
        visitor.set("Field of view", math.nan)
        visitor.set("Seconds", math.inf)
        visitor.set("Its field of view", -1e308)
        visitor.set("Keyframe", "../../etc")
        visitor.set("Crop", True)
        visitor.set("X", [math.nan, 1.0])
        visitor.settle()
    visitor.look_from(position=(2.4, 0.0, 0.0))
    assert visitor.picture().shape == (32, 48, 3)
    assert viewer.hangar.flight.seconds == 0.1
    assert [r for r in caplog.records if r.name == "neural_render"] == []


def test_a_crop_shows_what_is_in_the_box_and_sends_depths(viewer, visit):
    visitor = visit()
    visitor.picture()
    visitor.set("Crop", True)
    visitor.set("X", [-1.0, -0.5])  # behind the ball
    assert visitor.picture().max() < 12
    assert visitor.pictures()[-1]["depth_data"] is not None
    assert any(m["type"] == "BoxMessage" for m in visitor.messages)
    visitor.set("Crop", False)
    assert is_ball(visitor.picture())
    assert visitor.pictures()[-1]["depth_data"] is None


def test_cameras_are_drawn_into_the_scene_with_their_photos_and_taken_away(visit):
    visitor = visit()
    visitor.picture()
    visitor.set("Cameras", True)
    visitor.serve(lambda: len(photos_in(visitor)) == 8)
    drawn = [m for m in visitor.messages if m["type"] == "CameraFrustumMessage"]
    assert len({m["name"] for m in drawn}) == 8
    assert visitor.pictures()[-1]["depth_data"] is not None
    visitor.set("Photos", False)
    visitor.settle()
    gone = [m for m in updates_of(visitor) if m["updates"].get("_image_data", b"") is None]
    assert len(gone) == 8
    visitor.set("Cameras", False)
    visitor.settle()
    assert visitor.pictures()[-1]["depth_data"] is None


def updates_of(visitor: RawBrowser) -> list[dict]:
    return [m for m in visitor.messages if m["type"] == "SceneNodeUpdateMessage"]


def photos_in(visitor: RawBrowser) -> set[str]:
    """The cameras that have a photo."""
    return {m["name"] for m in updates_of(visitor) if m["updates"].get("_image_data")}


def test_photos_that_cannot_be_read_are_told_and_left_out(viewer, visit, monkeypatch, caplog):
    def broken(chosen, side):
        raise CaptureError("the photos are gone.")

    monkeypatch.setattr(viewer.shelf, "_surroundings", replace(viewer.surroundings, photos=broken))
    visitor = visit()
    visitor.picture()
    visitor.set("Cameras", True)
    visitor.serve(lambda: "the photos cannot be shown: the photos are gone." in caplog.text)
    visitor.settle()
    assert photos_in(visitor) == set()


def test_of_many_cameras_some_are_drawn():
    assert chosen_cameras(3) == [0, 1, 2]
    assert len(chosen_cameras(1001)) <= MOST_CAMERAS
    assert chosen_cameras(1001)[:2] == [0, 6]


def test_a_path_is_made_by_all_and_kept_in_the_runs_folder(viewer, visit, tmp_path):
    first, second = visit(), visit()
    first.picture()
    first.set("Add this view", True)
    first.settle()
    second.look_from(position=(0.0, 0.0, 2.5), wxyz=(0.0, 1.0, 0.0, 0.0))
    second.settle()
    second.set("Add this view", True)
    second.set("Name", "two views")
    second.set("File", "Save")
    second.settle()
    saved = tmp_path / "paths" / "two views.json"
    assert second.heard(f"render.py run='{tmp_path}/my ball.nrpack' path='{saved}'`")
    record = json.loads(saved.read_text())
    places = [np.array(k["transform_matrix"])[:3, 3].tolist() for k in record["keyframes"]]
    assert places == [[2.5, 0, 0], [0, 0, 2.5]]
    second.set("Chosen", "Delete")
    second.settle()
    assert len(viewer.hangar.flight) == 1
    first.set("Name", "two views")
    first.set("File", "Load")
    first.settle()
    assert len(viewer.hangar.flight) == 2


def test_no_name_leads_out_of_the_runs_folder(viewer, visit, tmp_path):
    visitor = visit()
    visitor.picture()
    for _ in range(2):
        visitor.set("Add this view", True)
    for number, name in enumerate(("../outside", "/etc/x", "a\0b", ""), start=1):
        visitor.set("Name", name)
        visitor.set("File", "Save")
        visitor.serve(lambda number=number: len(visitor.notes()) == number)
    assert list(tmp_path.iterdir()) == []
    assert all("is no name for a path" in sentence for sentence in visitor.notes())


def test_a_preview_flies_along_the_path_and_ends(viewer, visit):
    visitor = visit()
    visitor.picture()
    for x in (2.5, 1.5):
        visitor.look_from(position=(x, 0.0, 0.0))
        visitor.settle()
        visitor.set("Add this view", True)
    visitor.set("Seconds", 0.2)
    visitor.settle()
    begun = len(visitor.messages)
    visitor.set("Fly along it", True)
    visitor.settle()
    later = visitor.messages[begun:]
    places = [m["position"][0] for m in later if m["type"] == "SetCameraPositionMessage"]
    assert max(places) > 1.6
    assert places[-1] == pytest.approx(1.5)
    labels = [m["updates"]["label"] for m in later if "label" in m.get("updates", {})]
    assert labels == ["Stop", "Fly along it"]
    hidden = [m["visible"] for m in later if m["type"] == "SetSceneNodeVisibilityMessage"]
    assert hidden[0] is False and hidden[-1] is True


def test_a_flight_needs_two_keyframes(visit):
    visitor = visit()
    visitor.picture()
    visitor.set("Fly along it", True)
    visitor.settle()
    (said,) = visitor.notes()
    assert said == "a flight needs two keyframes, and the path has 0."


def test_lights_are_dials_and_exposure_is_one(tmp_path):
    with opened(BallStage(lighting=LIGHTS), tmp_path) as viewer:
        visitor = RawBrowser(viewer)
        visitor.look_from()
        lit = visitor.picture()[16, 24].astype(int)
        made = visitor.pictures()[-1]
        visitor.set("Exposure", -2.0)
        darker = visitor.picture()[16, 24].astype(int)
        assert (darker < lit - 20).all()
        visitor.set("Exposure", 0.0)
        visitor.set("Colour", [255, 0, 0])  # of the light that comes last, the sky
        red_sky = visitor.picture()[16, 24].astype(int)
        assert red_sky[2] < lit[2] - 20
        visitor.close()
        assert made is not visitor.pictures()[-1]


def report(step: int, psnr: float = 20.0) -> Report:
    return Report(
        step=step, fraction=0.3, seconds=step / 10, loss=0.1, psnr=psnr, seconds_left=75.0
    )


def test_training_is_told_and_can_be_paused(viewer, visit):
    visitor = visit()
    visitor.picture()
    viewer.told(report(1000))
    viewer.told(report(2000, 21.5))
    visitor.settle()
    assert visitor.heard("Step **2,000**, 1:15 left")
    assert visitor.heard("21.50 dB")
    assert any(m["type"] == "GuiUplotMessage" for m in visitor.messages)
    visitor.set("Pause", True)
    visitor.settle()
    assert viewer.paused
    second = visit()
    second.picture()
    assert second.heard("Step **2,000**")
    visitor.set("Pause", True)
    visitor.settle()
    assert not viewer.paused
    viewer.end("Over.")
    visitor.settle()
    assert visitor.heard("Over.")


def test_noisy_training_shows_its_loss(viewer, visit):
    visitor = visit()
    visitor.picture()
    for step in (1, 2, 3):
        viewer.told(report(step, math.nan))
    visitor.settle()
    (curve,) = [m for m in visitor.messages if m["type"] == "GuiUplotMessage"]
    assert curve["props"]["title"] == "Loss"
    assert not visitor.heard("dB")


def test_a_long_curve_is_thinned(viewer):
    for step in range(1500):
        viewer.told(report(step))
    curve = viewer._curve()
    assert 100 <= len(curve) <= 400
    assert curve[-1] == (149.9, 20.0)


def test_a_field_that_changes_is_drawn_anew(viewer, visit, monkeypatch):
    monkeypatch.setattr(visitors, "RENEWED", 0.0)
    visitor = visit()
    visitor.picture()
    assert not viewer.is_wanted(version=0)
    assert viewer.is_wanted(version=1)
    count = len(visitor.pictures())
    viewer.attend(version=1)
    visitor.serve(lambda: len(visitor.pictures()) > count)


def test_a_bug_behind_a_control_does_not_end_what_runs(viewer, caplog):
    def broken() -> None:
        raise ZeroDivisionError

    viewer.post(broken)
    viewer.attend()
    assert "a browser's wish could not be met" in caplog.text
