"""What lies beside photos: models and masks that are not ours, names that no text can hold."""

import os
import shutil
from pathlib import Path

import pytest

from neural_render.captures.motion.photos import find_photos
from neural_render.captures.motion.poses import folder_with_poses
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from tests.captures.motion.test_motion import POSES, write_photos


def test_a_model_of_somebody_else_stays(tmp_path: Path) -> None:
    """One that cannot be read, too: it may be half of what somebody has worked for."""
    write_photos(tmp_path, POSES[:4])
    (tmp_path / "sparse/run1/0").mkdir(parents=True)
    (tmp_path / "sparse/run1/0/cameras.bin").write_bytes(b"all that is left")
    with pytest.raises(CaptureError) as raised:
        folder_with_poses(tmp_path, CaptureSettings(), progress=False)
    sentence = str(raised.value)
    assert "sparse holds no COLMAP model that can be read" in sentence and "move it" in sentence
    assert (tmp_path / "sparse/run1/0/cameras.bin").read_bytes() == b"all that is left"


def test_masks_among_photos_are_no_photos(tmp_path: Path) -> None:
    photos = write_photos(tmp_path, POSES[:3]) / "images"
    for place in ("masks", "left/mask"):
        shutil.copytree(photos, tmp_path / "others")
        (photos / place).parent.mkdir(exist_ok=True)
        (tmp_path / "others").rename(photos / place)
    assert len(find_photos(tmp_path).names) == 3


def test_names_that_no_text_can_hold_are_told(tmp_path: Path) -> None:
    write_photos(tmp_path, POSES[:3])
    first = min(path for path in tmp_path.rglob("*") if path.is_file())
    first.rename(os.fsdecode(os.fsencode(first.parent) + b"/fa\xe7ade" + first.suffix.encode()))
    with pytest.raises(CaptureError, match=r"name is not of UTF-8, 'fa\\udce7ade.*: rename it"):
        find_photos(tmp_path)
