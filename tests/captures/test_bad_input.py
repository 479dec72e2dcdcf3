"""Every broken capture ends in one clear sentence: what, where, how to mend it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError, SettingError, UserError
from tests.captures.formats import (
    INTRINSICS,
    NAMES,
    make_frames,
    noise_image,
    save_image,
    write_json,
    write_transforms,
)


def complaint(folder: Path | str, **settings: Any) -> str:
    """The one sentence in which opening the capture ends."""
    with pytest.raises(UserError) as raised:
        open_capture(CaptureSettings(path=str(folder), **settings), progress=False)
    assert type(raised.value) in (CaptureError, SettingError)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] not in ".:"
    return sentence


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The folder with a capture whose JSON ``change`` has edited or replaced."""
    write_transforms(folder)
    content = {**INTRINSICS, "frames": make_frames()}
    replaced = change(content)
    write_json(folder / "transforms.json", content if replaced is None else replaced)
    return folder


def in_frame(**values: Any) -> Callable[[dict[str, Any]], None]:
    """An edit of the third frame (None removes a key)."""

    def change(content: dict[str, Any]) -> None:
        frame = content["frames"][2]
        for key, value in values.items():
            frame[key] = value
            if value is None:
                del frame[key]

    return change


def in_file(**values: Any) -> Callable[[dict[str, Any]], None]:
    """An edit of the file's own keys (None removes a key)."""

    def change(content: dict[str, Any]) -> None:
        for key, value in values.items():
            content[key] = value
            if value is None:
                del content[key]

    return change


def pose(edit: Callable[[np.ndarray], Any]) -> Callable[[dict[str, Any]], None]:
    """An edit of the third frame's matrix."""

    def change(content: dict[str, Any]) -> None:
        matrix = np.array(content["frames"][2]["transform_matrix"])
        edited = edit(matrix)
        result = matrix if edited is None else np.asarray(edited)
        content["frames"][2]["transform_matrix"] = result.tolist()

    return change


def all_poses_at_origin(content: dict[str, Any]) -> None:
    for frame in content["frames"]:
        for row in frame["transform_matrix"][:3]:
            row[3] = 2.5


def all_poses_far_away(content: dict[str, Any]) -> None:
    for frame in content["frames"]:
        frame["transform_matrix"][1][3] += 5e6


# What is done to a good transforms.json, and what the sentence must say: place, fault and mend.
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "a list instead of an object": (lambda _: [1], ["is a list", "an object", "transforms.json"]),
    "no frames": (in_file(frames=None), ["has no frames", "complete the file"]),
    "frames of another type": (in_file(frames="x"), ["frames in", "the text 'x'", "a list"]),
    "empty frames": (in_file(frames=[]), ["is empty", "no photos"]),
    "a frame that is no object": (in_file(frames=[3]), ["frame 0", "the number 3", "an object"]),
    "no file_path": (in_frame(file_path=None), ["frame 2 of", "no file_path"]),
    "file_path of another type": (in_frame(file_path=3), ["frame 2 of", "the number 3", "a text"]),
    "no matrix": (in_frame(transform_matrix=None), ["frame 2 of", "has no transform_matrix"]),
    "matrix of another type": (in_frame(transform_matrix="x"), ["frame 2", "the text 'x'"]),
    "matrix of flat numbers": (in_frame(transform_matrix=[1] * 16), ["a row of", "frame 2"]),
    "matrix of another shape": (
        in_frame(transform_matrix=[[1, 0, 0]] * 3),
        ["frame 2", "the shape 3x3", "3 or 4 rows"],
    ),
    "a text in the matrix": (
        in_frame(transform_matrix=[["1", 0, 0, 0]] * 4),
        ["transform_matrix in frame 2", "the text '1'", "a number"],
    ),
    "a text for a number": (in_file(fl_x="20"), ["fl_x in", "the text '20'", "a number"]),
    "a truth value for a number": (in_file(fl_x=True), ["fl_x in", "truth value"]),
    "a text for a flag": (in_file(is_fisheye="no"), ["is_fisheye", "true or false"]),
    "an endless number": (in_file(k1=float("inf")), ["k1 in", "inf", "finite"]),
    "a huge number": (in_file(k1=10**400), ["k1 in", "huge", "finite"]),
    "a fraction for a count": (in_file(w=16.5), ["w in", "16.5", "whole number"]),
    "no intrinsics": (in_file(fl_x=None), ["states no focal length", "camera_angle_x", "fl_x"]),
    "fisheye without focal length": (
        in_file(fl_x=None, camera_angle_x=1.0, is_fisheye=True),
        ["states no focal length", "fl_x in pixels"],
    ),
    "a negative focal length": (in_file(fl_x=-20), ["fl_x=-20", "positive"]),
    "an impossible angle": (in_file(fl_x=None, camera_angle_x=4), ["camera_angle_x=4", "3.14"]),
    "half a size": (in_file(w=None), ["w=0 and h=12", "give both"]),
    "a size of zero": (in_file(w=0, h=-1), ["w=0 and h=-1", "in pixels"]),
    "a size of another shape": (
        in_file(w=24),
        ["0001.png has 16x12 pixels", "24x12", "correct w and h"],
    ),
    "a centre outside": (
        in_file(w=None, h=None, cx=80),
        ["16x12", "cx=80", "lies outside", "state w and h"],
    ),
    "a focal length of another size": (
        in_file(w=None, h=None, fl_x=80, camera_angle_x=0.761),
        ["belong to an image 64 pixels wide", "state the w and h"],
    ),
    "an unknown lens": (in_file(camera_model="FISHEYE624"), ["FISHEYE624", "OPENCV", "undistort"]),
    "an F-theta lens": (in_file(ftheta_p0=1.0), ["F-theta", "undistort"]),
    "a picture of equal areas": (in_file(equirectangular=True), ["equal areas", "undistort"]),
    "a scale of zero": (in_file(scale=0), ["scale in", "is 0", "positive"]),
    "an offset of two numbers": (in_file(offset=[1, 2]), ["offset", "2 numbers", "3 are wanted"]),
    "an odd aabb_scale": (in_file(aabb_scale=3), ["aabb_scale", "is 3", "power of two"]),
    "a huge aabb_scale": (in_file(aabb_scale=256), ["is 256", "to 128"]),
    "one photo twice": (
        in_frame(file_path="./" + NAMES[0]),
        ["frames 0 and 2", "0000.png", "remove one"],
    ),
    "a pose that is not a number": (pose(lambda m: m.__setitem__((0, 0), np.nan)), ["nan"]),
    "a transposed pose": (
        pose(np.transpose),
        ["frame 2", "0002.png", "ends in the row", "transpose it"],
    ),
    "another last row": (
        pose(lambda m: m.__setitem__((3, 3), 2)),
        ["ends in the row (0, 0, 0, 2)", "rotation and translation only"],
    ),
    "a scaled pose": (
        pose(lambda m: m @ np.diag([2, 2, 2, 1])),
        ["scales space by 2", "divide its first three columns"],
    ),
    "a mirrored pose": (pose(lambda m: m @ np.diag([-1, 1, 1, 1])), ["mirrors space", "flip one"]),
    "a stretched pose": (
        pose(lambda m: m @ np.diag([3, 1, 1, 1])),
        ["shears or stretches", "(by 3, 1, 1)"],
    ),
    "a degenerate pose": (pose(lambda m: m @ np.diag([0, 1, 1, 1])), ["is degenerate", "remove"]),
    "a zero pose": (pose(lambda m: m @ np.diag([0, 0, 0, 1])), ["is degenerate"]),
    "an enormous pose": (pose(lambda m: m @ np.diag([1e30, 1e30, 1e30, 1])), ["enormous"]),
    "a camera beyond all numbers": (
        pose(lambda m: m.__setitem__((0, 3), 1e30)),
        ["1e+30 units away", "correct its translation"],
    ),
    "all cameras at one point": (
        all_poses_at_origin,
        ["all 4 training cameras", "(2.5, 2.5, 2.5)", "depth cannot be seen"],
    ),
    "cameras too far from the origin": (
        all_poses_far_away,
        ["5e+06 units from the origin", "subtract a common offset"],
    ),
    "a mirroring applied_transform": (
        in_file(applied_transform=[[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
        ["applied_transform of", "mirrors or flattens"],
    ),
    "a sheared applied_transform": (
        in_file(applied_transform=[[4, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
        ["applied_transform of", "stretches"],
    ),
    "an applied_scale of zero": (in_file(applied_scale=0), ["applied_scale"]),
    "a split without frames": (
        in_file(train_filenames=[NAMES[0]], test_filenames=["images/none.png"]),
        ["test_filenames", "names no frame"],
    ),
    "a split of numbers": (in_file(train_filenames=[1]), ["an entry of train_filenames", "a text"]),
    "rolling shutter of two numbers": (in_file(rolling_shutter=[1, 2]), ["4 are wanted"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_json_is_told(name: str, tmp_path: Path) -> None:
    change, words = BROKEN[name]
    sentence = complaint(changed(tmp_path, change))
    assert str(tmp_path) in sentence
    for word in words:
        assert word in sentence


def test_json_that_is_none(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    for text in (b"", b"{", b'{"frames": [}', b"\xff\xfe\x00", b"[" * 100_000):
        (folder / "transforms.json").write_bytes(text)
        sentence = complaint(folder)
        assert "transforms.json is not valid JSON" in sentence and "replace it" in sentence


def test_a_byte_order_mark_is_no_harm(tmp_path: Path) -> None:
    path = write_transforms(tmp_path) / "transforms.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    open_capture(CaptureSettings(path=str(tmp_path)), progress=False)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    sentence = complaint(tmp_path / "nowhere")
    assert f"capture.path={tmp_path / 'nowhere'} is not there" in sentence
    assert "existing folder" in sentence


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    assert "cannot be opened" in complaint(tmp_path / ("x" * 5000))
    assert "is not there" in complaint("~nobody_of_this_name/x")


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    sentence = complaint(folder / "transforms.json")
    assert "is a file and no video" in sentence and f"capture.path={folder}" in sentence


def test_a_folder_of_no_known_format(tmp_path: Path) -> None:
    assert "it holds nothing" in complaint(tmp_path)
    for index in range(7):
        (tmp_path / f"{index}.dat").touch()
    sentence = complaint(tmp_path)
    assert "blender needs transforms_train.json" in sentence
    assert "transforms needs transforms.json" in sentence
    assert "0.dat, 1.dat, 2.dat, 3.dat, 4.dat, 2 more" in sentence
    write_transforms(tmp_path / "scene")
    assert f"give one of the captures in it, capture.path={tmp_path / 'scene'}" in complaint(
        tmp_path
    )


def test_missing_images_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    (folder / NAMES[1]).unlink()
    (folder / NAMES[3]).unlink()
    settings = CaptureSettings(path=str(folder), test_every=0)
    capture = open_capture(settings, progress=False)
    assert capture.train.names == (NAMES[0], NAMES[2], NAMES[4])
    (warning,) = capture.warnings
    assert "2 of the 5 photos" in warning and "transforms.json" in warning
    assert "images/{0001,0003}.png" in warning
    (folder / NAMES[0]).unlink()
    sentence = complaint(folder)
    assert "2 usable training photos" in sentence and "at least 3" in sentence
    assert "images/{0000,0001,0003}.png" in sentence


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_an_empty_truncated_or_foreign_image(ending: str, tmp_path: Path) -> None:
    frames = make_frames()
    frames[2]["file_path"] = f"images/x{ending}"
    folder = write_transforms(tmp_path, frames)
    image = save_image(
        folder / f"images/x{ending}", noise_image(0).repeat(4, 0).repeat(4, 1)[:12, :16]
    )
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) * 2 // 3])
    sentence = complaint(folder)
    assert f"images/x{ending} of frame 2" in sentence
    assert "replace it or remove its frame" in sentence
    assert "is truncated or damaged" in sentence or "is no image" in sentence
    image.write_bytes(b"")
    assert "is an empty file" in complaint(folder)
    image.write_bytes(b"something else")
    assert "is no image of a known kind" in complaint(folder)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_damaged_bytes_never_end_in_anything_but_a_sentence(ending: str, tmp_path: Path) -> None:
    frames = make_frames()
    frames[2]["file_path"] = f"images/x{ending}"
    folder = write_transforms(tmp_path, frames)
    image = save_image(folder / f"images/x{ending}", noise_image(0))
    whole = np.frombuffer(image.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(30):
        damaged = whole[: random.integers(1, len(whole) + 1)].copy()
        places = random.integers(0, len(damaged), 3)
        damaged[places] = random.integers(0, 256, 3)
        image.write_bytes(damaged.tobytes())
        try:
            open_capture(CaptureSettings(path=str(folder)), progress=False)
        except CaptureError as error:
            assert "frame 2" in str(error) and "\n" not in str(error)


def test_a_mask_of_another_shape(tmp_path: Path) -> None:
    frames = make_frames(mask_path="mask.png")
    folder = write_transforms(tmp_path, frames)
    save_image(folder / "mask.png", np.zeros((12, 12), np.uint8))
    sentence = complaint(folder)
    assert "mask.png" in sentence and "12x12" in sentence and "16x12" in sentence


def test_every_photo_a_test_view(tmp_path: Path) -> None:
    sentence = complaint(write_transforms(tmp_path), test_every=1)
    assert "capture.test_every=1 leaves 0 of 5" in sentence and "a larger number" in sentence


def test_photos_that_need_too_much_memory(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, camera_angle_x=1.0)
    for name in NAMES:
        Image.new("RGB", (2000, 1500)).save(folder / name)
    sentence = complaint(folder, memory_limit_gb=0.06, memory="ram")
    assert "the 5 photos need" in sentence and "capture.memory_limit_gb=0.06" in sentence
    advised = int(sentence.rpartition("capture.max_side=")[2])
    assert 100 < advised < 2000
    settings = CaptureSettings(path=str(folder), memory_limit_gb=0.06, max_side=advised)
    capture = open_capture(settings, progress=False)
    assert int(capture.train.cameras.width[0]) == advised
    assert "capture.memory=disk" in sentence
    assert "no capture.max_side is small enough" in complaint(folder, memory_limit_gb=0.001)


def forbidden(path: Path) -> bool:
    """Takes the right to read a path away; False for a user whom nothing is forbidden."""
    path.chmod(0)
    return not os.access(path, os.R_OK)


@pytest.mark.parametrize("part", ["", "transforms.json", "images", NAMES[2]])
def test_what_must_not_be_read(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_transforms(tmp_path / "scene")
    target = folder / part
    if not forbidden(target):
        # This user may read everything: let the operating system's answer be the one of others.
        refuse_reading(target, monkeypatch)
    try:
        sentence = complaint(folder)
    finally:
        target.chmod(0o755)
    assert "ermission denied" in sentence and str(target) in sentence


def refuse_reading(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Python's own file functions answer as for a path without the right to read it."""
    import builtins
    import io

    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        def answer(path: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(path, int) and Path(os.fspath(path)).is_relative_to(target):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *args, **kwargs)

        return answer

    for module, name in ((builtins, "open"), (io, "open"), (os, "listdir"), (os, "scandir")):
        monkeypatch.setattr(module, name, refusing(getattr(module, name)))
    if target.is_dir():
        inner_stat = os.stat

        def stat(path: Any, **kwargs: Any) -> os.stat_result:
            inside = not isinstance(path, int) and Path(os.fspath(path)) != target
            if inside and Path(os.fspath(path)).is_relative_to(target):
                raise PermissionError(13, "Permission denied", str(path))
            return inner_stat(path, **kwargs)

        monkeypatch.setattr(os, "stat", stat)


def test_nothing_is_written_into_the_capture(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    open_capture(CaptureSettings(path=str(folder)), progress=False)
    (folder / "transforms.json").write_text(json.dumps({"frames": []}))
    complaint(folder)
    before.pop(folder / "transforms.json")
    after = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    after.pop(folder / "transforms.json")
    assert after == before
