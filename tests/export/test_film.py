"""Which cameras a film gets from the user's words."""

import json
import math
from pathlib import Path

import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import SettingError
from neural_render.core.transforms import look_at
from neural_render.export.film import (
    RenderSettings,
    film_cameras,
    outputs_of,
    size_of,
    surround,
)
from tests.tiny_capture import camera_poses, write_blender_capture


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """Twelve training and three test cameras all around a sphere, 32x32 pixels."""
    folder = write_blender_capture(tmp_path_factory.mktemp("film") / "tiny", size=32)
    return open_capture(CaptureSettings(path=str(folder)), progress=False, images=False)


def ring(degrees: float, number: int = 12) -> Cameras:
    """Cameras that look at the origin from an arc around it."""
    angle = torch.arange(number) * (math.radians(degrees) / number)
    positions = torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 0.3)], dim=-1)
    poses = look_at(positions, torch.zeros_like(positions), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras(
        world_from_camera=poses,
        focal_px=torch.full((number, 2), 40.0),
        center_px=torch.full((number, 2), 16.0),
        distortion=torch.zeros((number, 6)),
        lens=torch.full((number,), int(Lens.PERSPECTIVE)),
        width=torch.full((number,), 32),
        height=torch.full((number,), 32),
    )


@pytest.mark.parametrize(
    ("degrees", "around"), [(360.0, True), (290.0, True), (240.0, False), (20.0, False)]
)
def test_cameras_surround_what_they_see_from_all_sides(degrees: float, around: bool) -> None:
    assert surround(ring(degrees)) is around


def test_the_automatic_path_of_a_surrounding_capture_is_an_orbit(capture: Capture) -> None:
    name, cameras = film_cameras(RenderSettings(frames=5), capture, max_side=0)
    assert (name, len(cameras)) == ("orbit", 5)
    assert cameras.width.tolist() == [32] * 5


@pytest.mark.parametrize(
    ("settings", "max_side", "size"),
    [
        (RenderSettings(size="20x11"), 0, (20, 11)),
        (RenderSettings(size="640X480"), 8, (640, 480)),
        (RenderSettings(), 400, (32, 32)),
        (RenderSettings(), 21, (20, 20)),
        (RenderSettings(), 1, (2, 2)),
    ],
)
def test_frames_are_as_large_as_stated_or_as_the_photos_within_a_bound(
    capture: Capture, settings: RenderSettings, max_side: int, size: tuple[int, int]
) -> None:
    _, cameras = film_cameras(settings, capture, max_side=max_side)
    assert {*zip(cameras.width.tolist(), cameras.height.tolist(), strict=True)} == {size}


def test_the_test_views_keep_their_cameras(capture: Capture) -> None:
    name, cameras = film_cameras(RenderSettings(path="test"), capture, max_side=0)
    assert name == "test"
    torch.testing.assert_close(cameras.world_from_camera, capture.test.cameras.world_from_camera)
    torch.testing.assert_close(cameras.focal_px, capture.test.cameras.focal_px)


def test_a_file_names_its_film(capture: Capture, tmp_path: Path) -> None:
    frames = [{"transform_matrix": pose.tolist()} for pose in camera_poses(2)]
    (tmp_path / "flight.json").write_text(json.dumps({"keyframes": frames}), encoding="utf-8")
    settings = RenderSettings(path=str(tmp_path / "flight.json"), frames=3)
    name, cameras = film_cameras(settings, capture, max_side=0)
    assert (name, len(cameras)) == ("flight", 3)


def test_an_unknown_path_is_refused(capture: Capture) -> None:
    with pytest.raises(SettingError, match=r"render\.path=orbti is not known: give orbit, spiral"):
        film_cameras(RenderSettings(path="orbti"), capture, max_side=0)


def test_outputs_are_taken_once_each() -> None:
    assert outputs_of(RenderSettings(output="exr, video,exr")) == ("exr", "video")
    assert outputs_of(RenderSettings(output="none")) == ()


@pytest.mark.parametrize("output", ["gif", "", "video,", "none,video"])
def test_unknown_outputs_are_refused(output: str) -> None:
    with pytest.raises(SettingError, match=rf"render\.output={output} is not known: give one"):
        outputs_of(RenderSettings(output=output))


@pytest.mark.parametrize("size", ["800", "x", "0x5", "5x0", "20000x2", "-3x4", "axb"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(SettingError, match=rf"render\.size={size} is not a size: give WIDTHx"):
        size_of(RenderSettings(size=size))
