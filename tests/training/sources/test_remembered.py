"""A run knows its photos again, wherever they lie, and tells when they are others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CheckpointError
from neural_render.evaluation.records import write_json
from neural_render.training.runs.folder import RunFolder
from neural_render.training.sources.remembered import check_photos, photos_record
from neural_render.training.sources.views import photos_of
from tests.captures.formats import write_colmap
from tests.tiny_capture import write_blender_capture
from tests.training.cameras.photographs import train_photos
from tests.training.problems import new_run, settings_for


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A capture of 12 training and 3 test photos with transforms of their own."""
    return write_blender_capture(tmp_path / "tiny", num_train=12, num_test=3, size=41)


def settings(place: Path, **changes: Any) -> CaptureSettings:
    return CaptureSettings(path=str(place), **changes)


def opened(place: Path, **changes: Any) -> Capture:
    return open_capture(settings(place, **changes), progress=False)


def remembered(folder: Path, place: Path, **changes: Any) -> Path:
    """The folder of a run on the capture in ``place``."""
    folder.mkdir(exist_ok=True)
    record = photos_record(opened(place, **changes), settings(place, **changes))
    write_json(RunFolder(path=folder).photos_path, record)
    return folder


@pytest.mark.parametrize(
    "changes", [{}, {"max_side": 17}, {"memory": "disk"}, {"scene": "unbounded"}]
)
def test_the_same_photos_elsewhere_or_smaller_are_the_same(
    place: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = remembered(tmp_path / "run", place)
    moved = shutil.move(place, tmp_path / "moved")
    check_photos(run, opened(moved, **changes), settings(moved, **changes))
    remembered(run, moved, **changes)
    check_photos(run, opened(moved), settings(moved))


def test_runs_of_earlier_versions_are_not_checked(place: Path, tmp_path: Path) -> None:
    check_photos(tmp_path, opened(place), settings(place))


def transforms(
    place: Path, change: Callable[[dict[str, Any]], object], part: str = "train"
) -> None:
    """Changes what the capture's file says."""
    path = place / f"transforms_{part}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def one_elsewhere(content: dict[str, Any]) -> None:
    content["frames"][3]["transform_matrix"][0][3] += 0.02


def all_elsewhere(content: dict[str, Any]) -> None:
    for frame in content["frames"]:
        for row in frame["transform_matrix"][:3]:
            row[3] *= 1.01


def wider(content: dict[str, Any]) -> None:
    content["camera_angle_x"] *= 1.05


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (one_elsewhere, r"\(1 of 15 photos is elsewhere, such as \S+\)"),
        (all_elsewhere, r"\(12 of 15 photos are elsewhere, such as \S+\)"),
        (wider, r"12 of 15 photos are of another lens, such as \S+\)"),
        (lambda content: content["frames"].pop(2), r"\(1 of 15 photos is missing, such as \S+\)"),
    ],
)
def test_other_cameras_are_told(
    place: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    run = remembered(tmp_path / "run", place)
    transforms(place, change)
    with pytest.raises(CheckpointError, match=rf"tiny is not what .*run was trained on .*{told}"):
        check_photos(run, opened(place), settings(place))


def test_photos_of_which_none_is_known_are_told(place: Path, tmp_path: Path) -> None:
    run = remembered(tmp_path / "run", place)
    others = tmp_path / "others"
    write_colmap(others, "text")
    with pytest.raises(CheckpointError, match="of 15 photos are missing"):
        check_photos(run, opened(others), settings(others))


def test_a_deleted_photo_that_moves_the_split_is_told(tmp_path: Path) -> None:
    """Those that were trained on would be measured."""
    place = tmp_path / "walk"
    write_colmap(place, "text")
    run = remembered(tmp_path / "run", place, test_every=4)
    first = opened(place, test_every=4).test.names[0]
    (place / "images" / first).unlink()
    with pytest.raises(CheckpointError, match=r"photos is missing.* 1 of 5 photos is held out"):
        check_photos(run, opened(place, test_every=4), settings(place, test_every=4))


def test_photos_that_were_held_out_may_be_trained_on(place: Path, tmp_path: Path) -> None:
    run = remembered(tmp_path / "run", place, holdout_every=4)
    check_photos(run, opened(place), settings(place))
    transforms(place, lambda content: content["frames"].pop(2))
    with pytest.raises(CheckpointError, match="1 of 12 photos is missing"):
        check_photos(run, opened(place), settings(place))
    run = remembered(run, place)
    held = {"holdout_every": 4}
    with pytest.raises(CheckpointError, match="photos are held out that it was trained on"):
        check_photos(run, opened(place, **held), settings(place, **held))


def test_a_photo_that_came_is_told(place: Path, tmp_path: Path) -> None:
    run = remembered(tmp_path / "run", place)
    Image.fromarray(np.zeros((41, 41, 4), np.uint8)).save(place / "train/new.png")

    def add(content: dict[str, Any]) -> None:
        frame = content["frames"][0]
        content["frames"].append({**frame, "file_path": "./train/new"})

    transforms(place, add)
    with pytest.raises(CheckpointError, match=r"\(1 of 16 photos is new, such as \S*new\S*\)"):
        check_photos(run, opened(place), settings(place))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"holdout_every": 0, "train": {"names": ["a"]}}']
)
def test_a_broken_record_is_told(place: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "photos.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"photos.json is broken \(.*\): restore that file"):
        check_photos(tmp_path, opened(place), settings(place))


def test_a_run_that_goes_on_lies_where_it_lay(place: Path, tmp_path: Path) -> None:
    """Points that photos of other sizes show would place it otherwise."""
    run, capture = new_run(tmp_path), opened(place)
    others = settings(place, scale=0.1, check="off")
    train_photos(run, capture, settings_for(1), AdjustmentSettings())
    other = photos_of(str(run.path), others, progress=False).frame
    assert not other.is_near(capture.frame)
    remembered(run.path, place)
    assert photos_of(str(run.path), others, progress=False).frame == capture.frame
    assert photos_of("", others, progress=False).frame == other
    transforms(place, all_elsewhere)
    with pytest.raises(CheckpointError, match="12 of 15 photos are elsewhere"):
        photos_of(str(run.path), others, progress=False)
    shutil.rmtree(run.checkpoints_path)  # nothing was learnt
    photos_of(str(run.path), others, progress=False)


def test_names_and_cameras_are_as_many(place: Path, tmp_path: Path) -> None:
    run = remembered(tmp_path / "run", place)
    path = RunFolder(path=run).photos_path
    record = json.loads(path.read_text(encoding="utf-8"))
    record["train"]["names"].pop()
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not as many names as cameras"):
        check_photos(run, opened(place), settings(place))
