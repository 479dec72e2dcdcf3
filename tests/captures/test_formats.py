"""All formats of one scene give the same photos and the same rays."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.readers.registry import READERS
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import image_rays
from tests.captures.formats import (
    FOCAL_PX,
    FORMATS,
    HEIGHT,
    INTRINSICS,
    NAMES,
    POSES,
    WIDTH,
    make_frames,
    noise_image,
    write_transforms,
)

FORMAT_NAMES = {reader.name for reader in READERS}


def open_folder(folder: Path, **settings: object) -> Capture:
    return open_capture(CaptureSettings(path=str(folder), **settings), progress=False)


@pytest.mark.parametrize("name", FORMATS)
def test_photos_and_rays_are_those_of_the_scene(name: str, tmp_path: Path) -> None:
    capture = open_folder(FORMATS[name](tmp_path / "scene"), test_every=0)
    assert capture.name == "scene"
    kind = re.split("[ ,]", name)[0]
    assert capture.format == (kind if kind in FORMAT_NAMES else "transforms")
    assert len(capture.train) == len(NAMES) and len(capture.test) == 0
    if "other names" not in name:
        assert [Path(at).stem for at in capture.train.names] == [Path(at).stem for at in NAMES]
    column, row = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    for index, pose in enumerate(POSES):
        assert np.array_equal(capture.train.image(index).numpy(), noise_image(index))
        x, y = (column - WIDTH / 2) / FOCAL_PX, (row - HEIGHT / 2) / FOCAL_PX
        # Blender's camera axes: x right, y up, z backward.
        local = np.stack([x, -y, -np.ones_like(x)], axis=-1).reshape(-1, 3)
        local /= np.linalg.norm(local, axis=-1, keepdims=True)
        rays = image_rays(capture.train.cameras, index)
        assert np.allclose(rays.directions.numpy(), local @ pose[:3, :3].T, atol=1e-6)
        assert np.allclose(rays.origins.numpy(), pose[:3, 3], atol=1e-5)


def test_distortion_and_lens_reach_the_cameras(tmp_path: Path) -> None:
    frames = make_frames()
    frames[1] |= {"camera_model": "OPENCV_FISHEYE", "k1": 0.3}
    frames[3] |= {"camera_model": "EQUIRECTANGULAR", "k1": 0.0, "fl_x": 6.0, "cx": 6.0}
    frames[2] |= {"is_fisheye": True, "fl_y": 21.0, "cx": 7.0, "cy": 5.0}
    coefficients = {"k1": 0.1, "k2": 0.2, "k3": 0.01, "k4": 0.02, "p1": 0.03, "p2": 0.04}
    write_transforms(tmp_path, frames, **INTRINSICS, **coefficients)
    cameras = open_folder(tmp_path, test_every=0).train.cameras
    assert cameras.lens.tolist() == [0, 1, 1, 5, 0]
    expected = torch.tensor([0.1, 0.2, 0.01, 0.02, 0.03, 0.04])
    assert torch.allclose(cameras.distortion[0], expected)
    # OpenCV's fisheye has no tangential terms.
    assert cameras.distortion[1].tolist() == pytest.approx([0.3, 0.2, 0.01, 0.02, 0, 0])
    assert cameras.focal_px[2].tolist() == [20.0, 21.0]
    assert cameras.center_px[2].tolist() == [7.0, 5.0]
    # The whole sphere, whatever is stated.
    assert cameras.focal_px[3].tolist() == pytest.approx([16 / (2 * np.pi), 12 / np.pi])
    assert cameras.center_px[3].tolist() == [8.0, 6.0]
    assert cameras.distortion[3].tolist() == [0.0] * 6


def test_instant_ngps_latlong_is_the_whole_sphere(tmp_path: Path) -> None:
    cameras = open_folder(write_transforms(tmp_path, latlong=True), test_every=0).train.cameras
    middle = (HEIGHT // 2) * WIDTH + WIDTH // 2
    u, v = (WIDTH // 2 + 0.5) / WIDTH - 0.5, (HEIGHT // 2 + 0.5) / HEIGHT - 0.5
    theta, phi = v * np.pi, u * 2 * np.pi
    # instant-ngp, common_device.cuh, latlong_to_dir: x right, y down, z forward.
    local = [np.sin(phi) * np.cos(theta), np.sin(theta), np.cos(phi) * np.cos(theta)]
    expected = POSES[0][:3, :3] @ (np.array(local) * [1, -1, -1])
    assert image_rays(cameras, 0).directions[middle].tolist() == pytest.approx(expected, abs=1e-6)


def test_two_angles_give_two_focal_lengths(tmp_path: Path) -> None:
    write_transforms(tmp_path, camera_angle_x=1.0, camera_angle_y=1.0)
    focal = open_folder(tmp_path).train.cameras.focal_px[0]
    assert focal.tolist() == pytest.approx([8 / np.tan(0.5), 6 / np.tan(0.5)])


@pytest.mark.parametrize("folder", ["a b", "Füchse 狐", "x=1,[2]{3}", "$HOME", "100%"])
def test_any_folder_name(folder: str, tmp_path: Path) -> None:
    capture = open_folder(FORMATS["file-wide focal length"](tmp_path / folder))
    assert capture.name == folder and len(capture.train) == 4


def test_photos_may_lie_outside_of_the_folder(tmp_path: Path) -> None:
    write_transforms(tmp_path / "one")
    frames = make_frames()
    for frame in frames[:3]:
        frame["file_path"] = "../one/" + frame["file_path"]
    for frame in frames[3:]:
        frame["file_path"] = str(tmp_path / "one" / frame["file_path"])
    write_transforms(tmp_path / "two", frames)
    for name in NAMES:
        (tmp_path / "two" / name).unlink()
    assert len(open_folder(tmp_path / "two", test_every=0).train) == 5
