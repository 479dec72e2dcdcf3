"""Points of captures without any: on the surfaces, kept, and found anew if need be."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.readers.listing import SparsePoints
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.sparse_distances import is_surveyed
from neural_render.captures.surveying import finding
from tests.captures.doctor.textured import BOXES, write_textured_capture
from tests.captures.doctor.textured import broken as break_capture
from tests.tiny_capture import write_blender_capture

pytest.importorskip("pycolmap", reason="no pycolmap: it comes with the package")


@pytest.fixture(scope="module")
def textured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_textured_capture(tmp_path_factory.mktemp("surveyed"))


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


def test_they_are_kept_until_photos_or_cameras_change(
    textured: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(textured, tmp_path / "copied")
    shutil.rmtree(folder / ".neural_render", ignore_errors=True)
    caplog.set_level("INFO")
    first = opened(folder).points
    assert caplog.text.count("finding points") == 1
    again = opened(folder).points
    assert caplog.text.count("finding points") == 1
    for name, value in vars(first).items():
        assert np.array_equal(value, getattr(again, name)), name
    opened(folder, max_side=160)
    assert caplog.text.count("finding points") == 2
    file = folder / finding.FILE
    file.write_bytes(file.read_bytes()[:100])
    assert len(opened(folder).points) == len(first)
    assert caplog.text.count("finding points") == 3


def test_they_can_be_left_alone_and_other_captures_are(textured: Path, tmp_path: Path) -> None:
    assert len(opened(textured, find_points=False).points) == 0
    clear = write_blender_capture(tmp_path / "clear", num_train=6, num_test=1, size=140)
    assert opened(clear).has_opacity and len(opened(clear).points) == 0
    assert not (clear / finding.FILE).exists()


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
    folder = shutil.copytree(textured, tmp_path / "copied")
    shutil.rmtree(folder / ".neural_render", ignore_errors=True)
    (folder / ".neural_render").write_text("in the way")
    capture = opened(folder)
    assert len(capture.points) > 300 and replace(capture.points, found=False) != capture.points
