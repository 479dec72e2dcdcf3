"""Cameras in files of other programs: what is replaced, what stays, what photos are called."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import OutputError
from neural_render.export.cameras import place
from neural_render.export.cameras.export import export_cameras
from neural_render.export.cameras.photographs import photographs
from neural_render.export.folder import FrameFolder
from neural_render.export.formats import CameraSettings
from tests.captures.formats import (
    NAMES,
    noise_image,
    save_image,
    write_blender,
    write_colmap,
    write_transforms,
)

CLOUD = np.eye(3), np.full((3, 3), 9, dtype=np.uint8)


def opened(folder: Path) -> Capture:
    return open_capture(CaptureSettings(path=str(folder)), progress=False, images=False)


def exported(capture: Path | Capture, folder: Path, **settings: object) -> tuple[Path, ...]:
    """The capture's cameras, in ``folder``."""
    photos = photographs(opened(capture) if isinstance(capture, Path) else capture)
    return export_cameras(folder, photos, CLOUD, CameraSettings(**settings))  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes | str]:
    """What every file holds and every link leads to."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_transforms(tmp_path / "capture")


def with_link(folder: Path) -> Path:
    """Nothing but a link to photos that lie elsewhere."""
    folder.mkdir()
    (folder.parent / "elsewhere").mkdir()
    (folder / "images").symlink_to("../elsewhere")
    return folder


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_transforms, r"holds transforms\.json, "),
        (lambda folder: write_colmap(folder, ".bin"), r"holds sparse/0/cameras\.bin and 2 more, "),
        (
            lambda folder: write_colmap(folder, ".txt", "sparse"),
            r"holds sparse/cameras\.txt and 2 ",
        ),
        (write_blender, "holds a blender capture, "),
        (with_link, "holds images, "),
    ],
)
def test_a_capture_is_not_replaced(
    capture: Path, tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    other = write(tmp_path / "other")
    before = contents(other)
    with pytest.raises(OutputError, match=said + r".* give another folder with output=DIR"):
        exported(capture, other)
    assert contents(other) == before


def test_an_earlier_export_is_replaced_and_what_was_put_beside_it_stays(
    capture: Path, tmp_path: Path
) -> None:
    folder, moved = tmp_path / "cameras", tmp_path / "moved"
    exported(capture, folder, file="transforms")
    shutil.copytree(capture, moved)
    (folder / "sparse").mkdir()
    (folder / "sparse/cameras.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds sparse/cameras\.txt, "):
        exported(moved, folder)
    (folder / "sparse/cameras.txt").unlink()
    exported(moved, folder)
    assert (folder / "images").resolve() == moved / "images"
    after = opened(folder)
    assert len(after.train) + len(after.test) == 5


def test_a_runs_own_folder_is_taken_as_ours_without_a_record(capture: Path, tmp_path: Path) -> None:
    """As earlier versions left it, or whoever removed what may be removed."""
    folder = tmp_path / "cameras"
    written = exported(capture, folder)
    (folder / place.RECORD).unlink()
    with pytest.raises(OutputError, match="does not say that an earlier export has written it"):
        exported(capture, folder)
    place.adopt(folder)
    assert exported(capture, folder) == written


def test_photos_that_are_links_keep_their_names(capture: Path, tmp_path: Path) -> None:
    """As in caches, where what they lead to is named by a digest."""
    (tmp_path / "blobs").mkdir()
    for number, photo in enumerate(sorted((capture / "images").iterdir())):
        blob = photo.rename(tmp_path / "blobs" / f"{number:x}")
        photo.symlink_to(f"../../blobs/{blob.name}")
    exported(capture, tmp_path / "cameras", file="transforms")
    frames = json.loads((tmp_path / "cameras/transforms.json").read_text())["frames"]
    names = {frame["file_path"] for frame in frames}
    assert names == set(NAMES) and all((tmp_path / "cameras" / name).exists() for name in names)


def test_photos_that_lie_on_their_side_are_told_of(
    capture: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported(capture, tmp_path / "cameras")
    assert "EXIF" not in caplog.text
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in NAMES[:2]:
        save_image(capture / name, noise_image(0).swapaxes(0, 1), exif=exif)
    exported(capture, tmp_path / "cameras")
    assert "2 of 5 photos, such as 000" in caplog.text and "mogrify -auto-orient" in caplog.text


def test_an_earlier_export_in_another_form_is_not_read_in_place_of_the_new_one(
    capture: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cameras"
    exported(capture, folder)
    (folder / "sparse/0/mine.txt").write_text("mine")
    binary = exported(capture, folder, file="colmap")
    there = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"}
    assert there == {*binary, folder / "sparse/0/mine.txt", folder / place.RECORD}
    text = exported(capture, folder, file="colmap", text=True)
    assert {path.suffix for path in text} == {".txt"} and not list(folder.rglob("*.bin"))
    (folder / "sparse/0/mine.txt").unlink()
    exported(capture, folder, file="transforms")
    assert not (folder / "sparse").exists() and (folder / "images").is_symlink()


def test_copies_in_place_of_the_link_stay_and_are_named(capture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cameras"
    exported(capture, folder)
    (folder / "images").unlink()
    shutil.copytree(capture / "images", folder / "images")
    exported(capture, folder, file="transforms")
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    assert {frame["file_path"] for frame in frames} == set(NAMES)


def test_cameras_of_a_bake_name_the_frames_that_can_be_rendered(
    capture: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As `FrameFolder` names them, once they lie where the warning says."""
    baked, folder = replace(opened(capture), format="scene"), tmp_path / "cameras"
    exported(baked, folder)
    assert "render.py path=train output=frames (and path=test)" in caplog.text
    for part, views in (("train", baked.train), ("test", baked.test)):
        frames = FrameFolder(folder / "images" / part, {}, ("frames",), resume=False)
        for index in range(len(views)):
            save_image(frames.file("color_{}.png", index), noise_image(index))
    assert f" belongs in {folder / 'images/train'} " in caplog.text
    assert len(opened(folder).train) == len(baked.train)
    (folder / "transforms.json").unlink()
    after = opened(folder)
    assert len(after.train) + len(after.test) == 5
