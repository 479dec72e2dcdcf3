"""Masks that go along with exported cameras."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from tests.captures.formats import (
    HEIGHT,
    NAMES,
    WIDTH,
    make_frames,
    save_image,
    write_colmap,
    write_transforms,
)
from tests.export.cameras.test_export import exported


def opened(folder: Path) -> Capture:
    return open_capture(CaptureSettings(path=str(folder), test_every=0), progress=False)


def write_masks(folder: Path, pattern: str, count: int = len(NAMES)) -> list[str]:
    """Masks of the first photos, each without another column; their names in the folder."""
    names = [pattern.format(Path(name).stem) for name in NAMES[:count]]
    for index, name in enumerate(names):
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        mask[:, index] = 0
        save_image(folder / name, mask)
    return names


def assert_same_masks(before: Capture, after: Capture) -> None:
    assert before.train.names != () and len(before.train.masks)
    assert torch.equal(before.train.masks, after.train.masks)


@pytest.mark.parametrize("file", ["transforms", "colmap"])
@pytest.mark.parametrize("pattern", ["masks/{}.png", "mask/{}.png.png"])
def test_masks_beside_photos_are_masks_of_the_export(
    pattern: str, file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    capture, folder = write_colmap(tmp_path / "capture", ".bin"), tmp_path / "cameras"
    write_masks(capture, pattern)
    exported(opened(capture), folder, file=file)
    assert_same_masks(opened(capture), opened(folder))
    assert "mask" not in "".join(
        record.message for record in caplog.records if record.levelname == "WARNING"
    )
    if file == "transforms":
        frames = json.loads((folder / "transforms.json").read_text())["frames"]
        assert all((folder / frame["mask_path"]).is_file() for frame in frames)
    exported(opened(capture), folder, file=file)  # again, in place of what is there
    assert (folder / "masks").is_symlink()


def test_masks_of_any_name_are_named_in_transforms(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames, folder = make_frames(), tmp_path / "cameras"
    for frame, mask in zip(frames, write_masks(tmp_path, "kept/no_{}_m.png"), strict=True):
        frame["mask_path"] = f"../{mask}"
    capture = write_transforms(tmp_path / "capture", frames)
    exported(opened(capture), folder, file="transforms")
    assert_same_masks(opened(capture), opened(folder))
    assert "COLMAP" not in caplog.text
    exported(opened(capture), folder, file="all")
    assert "masks of 5 photos" in caplog.text and "COLMAP" in caplog.text


def test_masks_of_some_photos_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """nerfstudio refuses a file that names masks for some frames alone."""
    capture, folder = write_transforms(tmp_path / "capture"), tmp_path / "cameras"
    write_masks(capture, "masks/{}.png", count=2)
    exported(opened(capture), folder, file="transforms")
    assert "mask_path" not in (folder / "transforms.json").read_text()
    assert "2 of 5 photos have masks" in caplog.text
    assert_same_masks(opened(capture), opened(folder))


def test_an_export_without_masks_removes_the_link_of_an_earlier_one(tmp_path: Path) -> None:
    capture, folder = write_transforms(tmp_path / "capture"), tmp_path / "cameras"
    names = write_masks(capture, "masks/{}.png")
    exported(opened(capture), folder)
    for name in names:
        (capture / name).unlink()
    exported(opened(capture), folder)
    assert not (folder / "masks").is_symlink() and (capture / "masks").is_dir()
