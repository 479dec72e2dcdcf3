"""Real captures: what is found in them, and where known points of their scenes appear."""

import json
from pathlib import Path

import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import project
from neural_render.core.errors import CaptureError
from tests.captures.formats import write_json


def look(folder: Path, **settings: int) -> Capture:
    """The capture without its images."""
    stated = CaptureSettings(path=str(folder), **settings)
    return open_capture(stated, progress=False, images=False)


def seen_at(capture: Capture, name: str, point: list[float]) -> torch.Tensor:
    """The pixel at which the training photo ``name`` shows a point of the world."""
    index = torch.tensor([capture.train.names.index(name)])
    return project(capture.train.cameras, index, torch.tensor([point]))[0][0]


def test_lego(real_data: Path) -> None:
    capture = look(real_data / "nerf_synthetic" / "lego")
    assert (capture.format, len(capture.train), len(capture.test)) == ("blender", 100, 25)
    assert capture.warnings == () and capture.has_opacity
    frame = capture.frame
    assert frame.cascades == 1 and frame.near == 0
    center = frame.world_from_field.apply(torch.full((1, 3), 0.5))[0]
    assert center.tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert frame.world_from_field.scale / 2 == pytest.approx(1.4512, abs=1e-3)


def test_the_lego_cube_holds_every_pixel_of_the_object(real_data: Path, tmp_path: Path) -> None:
    lego = real_data / "nerf_synthetic" / "lego"
    content = json.loads((lego / "transforms_train.json").read_text())
    content["frames"] = content["frames"][::9]
    for frame in content["frames"]:
        frame["file_path"] = str(lego / frame["file_path"])
    write_json(tmp_path / "transforms_train.json", content)
    settings = CaptureSettings(path=str(tmp_path), max_side=100, test_every=0)
    capture = open_capture(settings, progress=False)
    views, half_extent = capture.train, capture.frame.world_from_field.scale / 2
    # Space carving on a grid wider than the cube, by photos that all show the whole object.
    line = torch.linspace(-1.3 * half_extent, 1.3 * half_extent, 41)
    points = torch.cartesian_prod(line, line, line)
    alive = torch.ones(len(points), dtype=torch.bool)
    for view in range(len(views)):
        pixels, depth = project(views.cameras, torch.full((len(points),), view), points)
        inside = (depth > 0) & ((pixels >= 0) & (pixels < 100)).all(-1)
        place = pixels.long().clamp(0, 99)
        alive &= inside & (views.image(view)[place[:, 1], place[:, 0], 3] > 0)
    extent = points[alive].abs().amax(0).tolist()
    assert max(extent) < half_extent
    assert min(extent) > 0.5


def test_fox(real_data: Path) -> None:
    capture = look(real_data / "fox", max_side=960)
    assert (capture.format, len(capture.train), len(capture.test)) == ("transforms", 43, 7)
    (warning,) = capture.warnings
    assert "17 of the 67 photos" in warning and "images/{0005,0016,0017," in warning
    assert capture.test.names[0] == "images/0001.jpg"
    assert capture.train.cameras.width.unique().tolist() == [540]
    frame = capture.frame
    assert frame.cascades == 3
    assert frame.world_from_field.scale == pytest.approx(4 / 0.33)
    assert frame.near == pytest.approx(0.025)


def test_points_of_the_fox_appear_where_they_were_seen(real_data: Path) -> None:
    # Triangulated by hand from two other photos each; read off these photos at 1080x1920.
    capture = look(real_data / "fox", test_every=0)
    picture_corner, plaque_tip = [0.157, -0.726, 2.012], [-0.039, -0.431, -2.270]
    seen = seen_at(capture, "images/0009.jpg", picture_corner)
    assert seen.tolist() == pytest.approx([402, 366], abs=12)
    seen = seen_at(capture, "images/0009.jpg", plaque_tip)
    assert seen.tolist() == pytest.approx([457, 1408], abs=12)


def test_a_capture_of_another_kind_is_told(real_data: Path) -> None:
    with pytest.raises(CaptureError, match=r"nerf_synthetic is in no known .*capture\.path=.*lego"):
        look(real_data / "nerf_synthetic")
