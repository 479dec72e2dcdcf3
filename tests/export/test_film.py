"""Which cameras a film gets from the user's words."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import SettingError
from neural_render.core.flight.paths import up_of
from neural_render.core.transforms import look_at
from neural_render.export.film import film_cameras, film_eyes, frames_per_second, surround
from neural_render.export.settings import LensSettings, RenderSettings, StereoSettings
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


def test_a_panorama_is_level_and_twice_as_wide(capture: Capture) -> None:
    settings = RenderSettings(camera="panorama", frames=3)
    name, cameras = film_cameras(settings, capture, max_side=0)
    assert name == "orbit_panorama"
    assert (cameras.width.tolist(), cameras.height.tolist()) == ([64] * 3, [32] * 3)
    assert cameras.lens.tolist() == [int(Lens.EQUIRECTANGULAR)] * 3
    up = up_of(capture.train.cameras).float()
    torch.testing.assert_close(cameras.world_from_camera[..., 1], -up.expand(3, 3))
    _, small = film_cameras(settings, capture, max_side=20)
    assert (small.width.tolist(), small.height.tolist()) == ([20] * 3, [10] * 3)


def test_a_fisheye_is_square_and_has_to_fill_its_picture(capture: Capture) -> None:
    name, cameras = film_cameras(RenderSettings(camera="fisheye", frames=2), capture, max_side=0)
    assert name == "orbit_fisheye" and cameras.width.tolist() == cameras.height.tolist() == [32, 32]
    with pytest.raises(SettingError, match=r"render\.fov=300 does not fill pictures of 32x32"):
        film_cameras(RenderSettings(camera="fisheye", fov=300.0), capture, max_side=0)


def test_two_eyes_see_what_one_would(capture: Capture) -> None:
    settings = RenderSettings(path="test")
    _, cameras = film_cameras(settings, capture, max_side=0)
    (alone,) = film_eyes(settings, cameras)
    assert alone.cameras is cameras
    settings = RenderSettings(path="test", stereo=StereoSettings(layout="top_bottom", eyes=0.5))
    left, right = film_eyes(settings, cameras)
    apart = right.cameras.world_from_camera[..., 3] - left.cameras.world_from_camera[..., 3]
    torch.testing.assert_close(apart, 0.5 * cameras.world_from_camera[..., 0])


@pytest.mark.parametrize("group", ["lens", "stereo"])
def test_photos_with_wide_lenses_have_no_aperture_and_no_convergence(
    capture: Capture, group: str
) -> None:
    settings = RenderSettings(path="test", lens=LensSettings(aperture=0.1))
    if group == "stereo":
        stereo = StereoSettings(layout="top_bottom", eyes=1.0, convergence=2.0)
        settings = RenderSettings(path="test", stereo=stereo)
    _, cameras = film_cameras(settings, capture, max_side=0)
    wide = replace(cameras, lens=torch.full_like(cameras.lens, int(Lens.FISHEYE)))
    with pytest.raises(SettingError, match=rf"render\.{group}\..* add render\.camera=pinhole"):
        film_eyes(settings, wide)


def test_a_video_is_as_fast_as_its_path_says(
    capture: Capture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keyframe = {"transform_matrix": torch.eye(4).tolist()}
    path = tmp_path / "flight.json"
    path.write_text(json.dumps({"keyframes": [keyframe] * 2, "seconds": 2, "fps": 60}))
    caplog.set_level(logging.INFO)
    rates = {"auto": (30, 24), str(path): (60, 24)}
    for name, (own, asked) in rates.items():
        assert frames_per_second(RenderSettings(path=name)) == own
        assert frames_per_second(RenderSettings(path=name, fps=24.0)) == asked
    film_cameras(RenderSettings(path=str(path)), capture, max_side=0)
    assert caplog.text == ""
    film_cameras(RenderSettings(path=str(path), fps=24.0), capture, max_side=0)
    assert caplog.text.count("flight.json states 60: render.fps=0 takes that") == 1
