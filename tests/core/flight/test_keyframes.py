import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import UserError
from neural_render.core.flight.keyframes import (
    Keyframes,
    interpolate,
    keyframe_path,
    stated_rate,
)
from neural_render.core.transforms import rotation_from_vector, vector_from_rotation

PHOTOS = Cameras(
    world_from_camera=torch.eye(3, 4)[None],
    focal_px=torch.tensor([[70.0, 70.0]]),
    center_px=torch.tensor([[32.0, 24.0]]),
    distortion=torch.zeros((1, 6)),
    lens=torch.tensor([int(Lens.PERSPECTIVE)]),
    width=torch.tensor([64]),
    height=torch.tensor([48]),
)
IDENTITY = torch.eye(4).tolist()


def matrix(turn: tuple[float, float, float], place: tuple[float, float, float]) -> Any:
    """Camera-to-world with Blender's axes."""
    pose = torch.eye(4)
    pose[:3, :3] = rotation_from_vector(torch.tensor(turn))
    pose[:3, 3] = torch.tensor(place)
    return pose.tolist()


def flat(rows: Any) -> list[float]:
    return [number for row in rows for number in row]


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "path.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def example(**more: Any) -> dict[str, Any]:
    keyframes = [
        {"transform_matrix": matrix((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), "fov_deg": 30},
        {"transform_matrix": matrix((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)), "fov_deg": 60},
        {"transform_matrix": matrix((0.5, 1.5, 0.0), (2.0, 1.0, 0.0)), "fov_deg": 40},
        {"transform_matrix": matrix((0.0, 2.0, 0.3), (2.0, 2.0, 1.0)), "fov_deg": 40},
    ]
    return {"keyframes": keyframes, **more}


def in_our_axes(blender: Any) -> Tensor:
    return torch.tensor(blender)[:3] * torch.tensor([1.0, -1.0, -1.0, 1.0])


def fov_deg(cameras: Cameras) -> Tensor:
    return 2 * torch.rad2deg((cameras.height / 2 / cameras.focal_px[:, 1]).atan())


def test_path_goes_through_every_keyframe(tmp_path: Path) -> None:
    content = example(frames=31)
    film = keyframe_path(written(tmp_path, content), PHOTOS, 120)
    assert len(film) == 31
    for frame, keyframe in zip((0, 10, 20, 30), content["keyframes"], strict=True):
        expected = in_our_axes(keyframe["transform_matrix"])
        torch.testing.assert_close(film.world_from_camera[frame], expected, atol=1e-5, rtol=0)
        assert fov_deg(film)[frame].item() == pytest.approx(keyframe["fov_deg"], abs=1e-3)
    assert film.width.tolist() == [64] * 31 and film.height.tolist() == [48] * 31
    assert (film.focal_px[:, 0] == film.focal_px[:, 1]).all()


def test_loop_comes_back_smoothly(tmp_path: Path) -> None:
    film = keyframe_path(written(tmp_path, example(frames=400, loop=True)), PHOTOS, 120)
    first = in_our_axes(example()["keyframes"][0]["transform_matrix"])
    torch.testing.assert_close(film.world_from_camera[0], first, atol=1e-5, rtol=0)
    poses = torch.cat([film.world_from_camera, film.world_from_camera[:3]]).double()
    check_smooth(poses)


def test_path_is_smooth(tmp_path: Path) -> None:
    film = keyframe_path(written(tmp_path, example(frames=400)), PHOTOS, 120)
    check_smooth(film.world_from_camera.double())


def check_smooth(poses: Tensor) -> None:
    """No jump, and no kink: velocities of neighbouring steps differ little."""
    moves = poses[:, :, 3].diff(dim=0)
    turns = vector_from_rotation(poses[:-1, :, :3].mT @ poses[1:, :, :3])
    for velocity in (moves, turns):
        largest = velocity.norm(dim=-1).amax()
        assert velocity.diff(dim=0).norm(dim=-1).amax() < 0.06 * largest
    rotation = poses[..., :3]
    identity = torch.eye(3, dtype=poses.dtype).expand(len(poses), 3, 3)
    torch.testing.assert_close(rotation.mT @ rotation, identity, atol=1e-5, rtol=0)


def test_two_keyframes_give_an_even_geodesic(tmp_path: Path) -> None:
    keyframes = [
        {"transform_matrix": matrix((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))},
        {"transform_matrix": matrix((0.0, 0.0, 1.2), (3.0, 0.0, 0.0))},
    ]
    film = keyframe_path(written(tmp_path, {"keyframes": keyframes, "frames": 4}), PHOTOS, 120)
    for frame in range(4):
        expected = in_our_axes(matrix((0.0, 0.0, 0.4 * frame), (float(frame), 0.0, 0.0)))
        torch.testing.assert_close(film.world_from_camera[frame], expected, atol=1e-5, rtol=0)
    # Without a field of view: that of the photos.
    assert film.focal_px[0, 0].item() == pytest.approx(70.0, rel=1e-5)


def test_times_say_when_a_keyframe_is_passed(tmp_path: Path) -> None:
    content = example(frames=11)
    for keyframe, time in zip(content["keyframes"], (5.0, 6.0, 13.0, 15.0), strict=True):
        keyframe["time"] = time
    film = keyframe_path(written(tmp_path, content), PHOTOS, 120)
    for frame, index in ((0, 0), (1, 1), (8, 2), (10, 3)):
        expected = in_our_axes(content["keyframes"][index]["transform_matrix"])
        torch.testing.assert_close(film.world_from_camera[frame], expected, atol=1e-5, rtol=0)


def test_uneven_times_keep_a_straight_line_even() -> None:
    """Keyframes passed at constant speed: the path keeps that speed between them."""
    times = torch.tensor([0.0, 1.0, 4.0, 5.0], dtype=torch.float64)
    poses = torch.eye(3, 4, dtype=torch.float64).repeat(4, 1, 1)
    poses[:, 0, 3] = 2 * times
    turn = torch.stack([0 * times, 0.3 * times, 0 * times], dim=-1)
    poses[:, :, :3] = rotation_from_vector(turn)
    keyframes = Keyframes(poses=poses, log_focal=0 * times, times=times, period=0.0)
    when = torch.linspace(0, 5, 21, dtype=torch.float64)
    found, _ = interpolate(keyframes, when)
    torch.testing.assert_close(found[:, 0, 3], 2 * when)
    angles = vector_from_rotation(found[..., :3])[:, 1]
    torch.testing.assert_close(angles, 0.3 * when)


@pytest.mark.parametrize(
    ("length", "expected"), [({}, 17), ({"frames": 5}, 5), ({"seconds": 2, "fps": 12.5}, 25)]
)
def test_length_of_the_path(tmp_path: Path, length: dict[str, Any], expected: int) -> None:
    assert len(keyframe_path(written(tmp_path, example(**length)), PHOTOS, 17)) == expected


def test_one_frame_is_the_first_keyframe(tmp_path: Path) -> None:
    film = keyframe_path(written(tmp_path, example(frames=1)), PHOTOS, 120)
    assert torch.equal(film.world_from_camera[0, :, 3], torch.zeros(3))


def test_nerfstudio_paths_are_taken_frame_by_frame(tmp_path: Path) -> None:
    frames = [
        {"camera_to_world": flat(matrix((0.0, 0.1 * i, 0.0), (0.0, 0.0, i))), "fov": 50.0 + i}
        for i in range(5)
    ]
    content = {
        "keyframes": [{"matrix": "[1,2,3]"}],
        "camera_type": "perspective",
        "camera_path": frames,
        "render_width": 1920,
        "render_height": 1080,
        "fps": 24,
        "seconds": 4,
    }
    film = keyframe_path(written(tmp_path, content), PHOTOS, 120)
    assert len(film) == 5 and film.width[0] == 1920 and film.height[0] == 1080
    expected = in_our_axes(matrix((0.0, 0.3, 0.0), (0.0, 0.0, 3.0)))
    torch.testing.assert_close(film.world_from_camera[3], expected, atol=1e-5, rtol=0)
    assert fov_deg(film).tolist() == pytest.approx([50.0, 51.0, 52.0, 53.0, 54.0], abs=1e-3)


def test_slightly_inexact_rotations_are_mended(tmp_path: Path) -> None:
    content = example(frames=2)
    content["keyframes"][0]["transform_matrix"][0][0] += 5e-4
    film = keyframe_path(written(tmp_path, content), PHOTOS, 120)
    rotation = film.world_from_camera[0, :, :3]
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(3), atol=1e-6, rtol=0)


def with_keyframe(**changes: Any) -> dict[str, Any]:
    """The example with its second keyframe changed."""
    content = example()
    content["keyframes"][1] |= changes
    return content


SCALED = (2 * torch.eye(4)).tolist()
MIRRORED = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])).tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{not json", "is not JSON .*: write it as"),
        ("[1, 2]", "has no keyframes: give an object with a list of that name"),
        ({"frames": 3}, "has no keyframes"),
        ({"keyframes": 3}, "keyframes is not a list of objects; make it one"),
        ({"keyframes": [1, 2]}, "keyframes is not a list of objects"),
        ({"keyframes": [{"transform_matrix": IDENTITY}]}, "has 1 keyframes: give at least 2"),
        ({"camera_path": []}, "has 0 camera_path: give at least 1"),
        (with_keyframe(transform_matrix=None), "keyframe 1: transform_matrix is not a 4x4 matrix"),
        (with_keyframe(transform_matrix=[[1, 2], [3, 4]]), "is not a 4x4 matrix of numbers"),
        (with_keyframe(transform_matrix=[["a"] * 4] * 4), "is not a 4x4 matrix of numbers"),
        (with_keyframe(transform_matrix=SCALED), "is not a rotation and a translation; take out"),
        (with_keyframe(transform_matrix=MIRRORED), "is not a rotation and a translation"),
        (with_keyframe(transform_matrix=[[0] * 4] * 4), "is not a rotation and a translation"),
        (with_keyframe(transform_matrix=[[math.nan] * 4] * 4), "a number that is not finite"),
        (with_keyframe(fov_deg="wide"), "keyframe 1: fov_deg='wide' is not a number; give"),
        (with_keyframe(fov_deg=10**400), r"fov_deg=1000+ is not a number"),
        (with_keyframe(transform_matrix=[[10**400] * 4] * 4), "is not a 4x4 matrix of numbers"),
        (
            {"camera_path": [{"camera_type": "equirectangular"}]},
            "frame 0: camera_type='equirectangular' is no pinhole: make the path of",
        ),
        (with_keyframe(fov_deg=180), "fov_deg=180 is out of range; give 0.1 to 170 degrees"),
        (with_keyframe(time=1), "some keyframes have a time and some none; give all or none"),
        (example(frames=0), "frames gives 0 frames; give 1 to 100000"),
        (example(seconds=0.1, fps=5), "seconds times fps gives 0.5 frames; give 1 to"),
        (example(frames="many"), "frames='many' is not a number"),
        (example(frames=True), "frames=True is not a number"),
        (example(seconds=2), "fps=None is not a number"),
        (example(seconds=1e9, fps=30), "seconds times fps gives 3e.10 frames; give 1 to"),
        (example(loop="yes"), "loop='yes' is not true or false"),
        (
            {"camera_path": [{"camera_to_world": [1.0] * 15, "fov": 50}]},
            "frame 0: camera_to_world is not a 4x4 matrix",
        ),
        ({"camera_path": [{"camera_to_world": flat(IDENTITY)}]}, "frame 0: fov=None is not a"),
    ],
)
def test_broken_files_are_refused_in_a_sentence(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        keyframe_path(written(tmp_path, content), PHOTOS, 120)
    message = str(caught.value)
    assert "path.json" in message and "\n" not in message and message.endswith(".")


def test_times_must_grow(tmp_path: Path) -> None:
    content = example()
    for keyframe in content["keyframes"]:
        keyframe["time"] = 1.0
    with pytest.raises(UserError, match=r"keyframe 1: its time 1 does not come after 1.*grow\.$"):
        keyframe_path(written(tmp_path, content), PHOTOS, 120)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.json does not exist: give a JSON file"):
        keyframe_path(tmp_path / "gone.json", PHOTOS, 120)
    with pytest.raises(
        UserError, match=r"cannot be read \(it is a folder and no file\): give a JSON file"
    ):
        keyframe_path(tmp_path, PHOTOS, 120)


@pytest.mark.parametrize(("stated", "rate"), [({}, 0), ({"fps": 24}, 24), ({"fps": 12.5}, 12.5)])
def test_the_rate_of_the_path(tmp_path: Path, stated: dict[str, Any], rate: float) -> None:
    assert stated_rate(written(tmp_path, example(**stated))) == rate
    pose = flat(matrix((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    content = {"camera_path": [{"camera_to_world": pose, "fov": 50}], **stated}
    assert stated_rate(written(tmp_path, content)) == rate


@pytest.mark.parametrize("fps", [0.5, 0, -24, 1e9, None, "30", True, math.nan, [30]])
def test_a_rate_that_no_video_has_is_none(tmp_path: Path, fps: Any) -> None:
    assert stated_rate(written(tmp_path, example(fps=fps))) == 0
