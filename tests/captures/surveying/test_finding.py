"""Points of captures without any: on the surfaces, kept, and found anew if need be."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neural_render.captures.doctor.reprojection import reprojection_findings
from neural_render.captures.doctor.subject import subject_of
from neural_render.captures.opening import open_capture
from neural_render.captures.readers.listing import SparsePoints
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.sparse_distances import is_surveyed
from neural_render.captures.surveying import finding
from neural_render.core.cameras import project
from neural_render.core.errors import CaptureError
from tests.captures.doctor.textured import (
    BOXES,
    FOCAL_PX,
    HEIGHT,
    WIDTH,
    write_frames,
)
from tests.captures.doctor.textured import broken as break_capture
from tests.tiny_capture import write_blender_capture

pytest.importorskip("pycolmap", reason="no pycolmap: it comes with the package")


def opened(folder: Path, **changes: object) -> Capture:
    return open_capture(CaptureSettings(path=str(folder), **changes), progress=False)


def from_surfaces(points: SparsePoints) -> np.ndarray:
    """How far each point is from the floor or the nearest box."""
    x = points.positions
    apart = [np.abs(x[:, 2])]
    for low, high in BOXES:
        outside = np.linalg.norm(np.maximum(np.maximum(low - x, x - high), 0), axis=1)
        inside = np.minimum(x - low, high - x).min(axis=1)
        apart.append(np.where(inside > 0, inside, outside))
    return np.min(apart, axis=0)


def test_they_lie_on_what_the_photos_show(textured: Path) -> None:
    capture = opened(textured)
    points = capture.points
    assert len(points) > 300 and points.found and is_surveyed(capture)
    assert np.median(from_surfaces(points)) < 0.01
    assert np.quantile(from_surfaces(points), 0.95) < 0.05
    assert set(points.names) == set(capture.train.names)  # no test view takes part
    assert points.colors.std() > 20 and (points.place > 0).all() and (points.place < 1).all()
    assert np.bincount(points.point).min() >= 3


def copied(textured: Path, folder: Path) -> Path:
    """The capture without what was kept of it."""
    return Path(shutil.copytree(textured, folder, ignore=shutil.ignore_patterns(".neural_render")))


ON_DISK = {"memory": "disk", "memory_limit_gb": 0.01}


def enlarged(folder: Path, odd: int = 0) -> None:
    """Makes the photos twice as large, and a little more."""
    for path in sorted((folder / "images").iterdir()):
        with Image.open(path) as photo:
            size = (2 * WIDTH + odd, 2 * HEIGHT + odd)
            photo.resize(size, Image.Resampling.BICUBIC).save(path)
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    write_frames(folder, frames, 2 * FOCAL_PX)


def kept_in(folder: Path) -> list[Path]:
    return sorted((folder / finding.FOLDER).glob("*.npz"))


def test_they_are_kept_for_these_photos_cameras_and_masks(
    textured: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(textured, tmp_path / "copied")
    caplog.set_level("INFO")
    first = opened(folder).points
    again = opened(folder).points
    assert caplog.text.count("finding points") == 1
    for name, value in vars(first).items():
        assert np.array_equal(value, getattr(again, name)), name
    opened(folder, max_side=200)
    opened(folder)
    assert caplog.text.count("finding points") == 2 == len(kept_in(folder))
    (folder / "masks").mkdir()
    for name in first.names:
        mask = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
        mask[:, : WIDTH // 2] = 0
        Image.fromarray(mask).save(folder / "masks" / Path(name).name)
    masked = opened(folder).points
    assert caplog.text.count("finding points") == 3
    assert len(masked) > 100 and masked.place[:, 0].min() > 0.49


@pytest.mark.parametrize("content", ["cut", "array", "nothing"])
def test_what_cannot_be_read_is_found_anew(
    textured: Path, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    count = len(opened(textured).points)
    folder = Path(shutil.copytree(textured, tmp_path / "copied"))
    for file in kept_in(folder):
        if content == "array":
            with file.open("wb") as stream:
                np.save(stream, np.zeros(3))
        else:
            file.write_bytes(file.read_bytes()[:100] if content == "cut" else b"")
    caplog.set_level("INFO")
    assert len(opened(folder).points) == count
    assert caplog.text.count("finding points") == 1


def test_of_photos_on_disk_they_are_seen_in_the_same_places(textured: Path, tmp_path: Path) -> None:
    """Parts of photos are looked at; colours and places are those of the whole ones."""
    folder = copied(textured, tmp_path / "large")
    enlarged(folder)
    capture = opened(folder, **ON_DISK)
    points, views = capture.points, capture.train
    assert views.stride > 1 and len(points) > 300
    assert np.median(from_surfaces(points)) < 0.01
    index = {name: view for view, name in enumerate(views.names)}
    view = torch.tensor([index[points.names[photo]] for photo in points.photo])
    pixels, _ = project(
        views.cameras, view, torch.from_numpy(points.positions[points.point]).float()
    )
    size = torch.stack([views.cameras.width, views.cameras.height], dim=-1)[view]
    apart = pixels - torch.from_numpy(points.place).float() * size
    assert apart.median(0).values.abs().max() < 0.25  # pixels of the whole photo: no shift
    images = [views.image(number) for number in range(len(views))]
    seen = [
        images[int(view[row])][int(y), int(x), :3]
        for row, (x, y) in enumerate((points.place * size.numpy()).tolist())
    ]
    color = points.colors[points.point].astype(int)
    assert np.median(np.abs(torch.stack(seen).numpy().astype(int) - color)) < 30


def test_where_photos_are_kept_changes_neither_points_nor_place(
    textured: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run goes on where other memory is free; of odd sizes the last column is not on disk."""
    folder = copied(textured, tmp_path / "large")
    enlarged(folder, odd=1)
    caplog.set_level("INFO")
    disk, ram = opened(folder, **ON_DISK), opened(folder)
    assert caplog.text.count("finding points") == 1
    assert (disk.train.stride, ram.train.stride) == (2, 1) and disk.frame == ram.frame
    assert np.array_equal(disk.points.positions, ram.points.positions)
    sizes = [
        np.array([int(views.cameras.width[0]), int(views.cameras.height[0])])
        for views in (disk.train, ram.train)
    ]
    assert (sizes[0] == sizes[1] - 1).all()
    assert np.allclose(disk.points.place * sizes[0], ram.points.place * sizes[1], atol=1e-6)


def test_they_can_be_left_alone_and_other_captures_are(textured: Path, tmp_path: Path) -> None:
    assert len(opened(textured, find_points=False).points) == 0
    clear = write_blender_capture(tmp_path / "clear", num_train=6, num_test=1, size=140)
    assert opened(clear).has_opacity and len(opened(clear).points) == 0
    assert not kept_in(clear)


def test_wrong_poses_find_too_few(
    textured: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = break_capture(
        textured, tmp_path / "flipped", lambda pose: pose @ np.diag([1, -1, -1, 1])
    )
    caplog.set_level("INFO")
    assert len(opened(folder).points) == 0
    assert "too few to be of use" in caplog.text


def test_where_nothing_can_be_kept_they_are_found_all_the_same(
    textured: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = copied(textured, tmp_path / "copied")
    (folder / ".neural_render").write_text("in the way")
    assert len(opened(folder).points) > 300
    (folder / ".neural_render").unlink()

    def nowhere(folder: Path) -> Path:
        raise CaptureError("nowhere")

    monkeypatch.setattr(finding, "place_for", nowhere)
    assert len(opened(folder).points) > 300 and not kept_in(folder)


@pytest.mark.parametrize("name", ["few", "small", "all around"])
def test_where_photos_say_too_little_none_are_looked_for(
    textured: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(textured, tmp_path / "copied")
    content = json.loads((folder / "transforms.json").read_text())
    if name == "few":
        content["frames"] = content["frames"][:5]  # one of them a test view
    if name == "all around":
        content = {"camera_model": "EQUIRECTANGULAR", "frames": content["frames"]}
    (folder / "transforms.json").write_text(json.dumps(content))
    caplog.set_level("INFO")
    assert len(opened(folder, max_side=120 if name == "small" else 0).points) == 0
    assert "finding points" not in caplog.text


def test_of_many_photos_some_are_compared(monkeypatch: pytest.MonkeyPatch, textured: Path) -> None:
    subject = subject_of(opened(textured))
    everything = finding.chosen_pairs(subject)
    assert {photo for pair in everything for photo in pair} == set(range(16))
    monkeypatch.setattr(finding, "MOST_PHOTOS", 6)
    some = {photo for pair in finding.chosen_pairs(subject) for photo in pair}
    assert some == {0, 3, 6, 9, 12, 15}


def test_the_doctor_does_not_praise_poses_by_points_that_they_found(textured: Path) -> None:
    capture = opened(textured)
    stated = replace(capture.points, found=False)
    subject = subject_of(capture)
    assert reprojection_findings(subject, capture.points) == []
    assert [finding.name for finding in reprojection_findings(subject, stated)] == ["sparse points"]
