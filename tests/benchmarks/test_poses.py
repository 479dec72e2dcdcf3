"""Suite ``poses``: disturbed captures are as far off as they should be, and both sides are kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.captures import poses
from benchmarks.options import BenchmarkOptions, parsed
from neural_render.captures.readers.colmap import reader
from neural_render.core.errors import SettingError
from tests.captures.formats import tiny_model, write_colmap
from tests.captures.readers.colmap_files import write_model


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    pytest.importorskip("pycolmap", reason="no pycolmap: it comes with the package")
    write_colmap(tmp_path / "tiny", ".bin")
    write_model(tmp_path / "tiny/sparse/0", ".bin", tiny_model())
    return tmp_path / "tiny"


def test_each_camera_is_turned_and_moved_by_what_is_said(tiny: Path, tmp_path: Path) -> None:
    side = poses.disturb(tiny, tmp_path / "moved", 1.0, 0.01)
    before, after = reader.read(tiny), reader.read(tmp_path / "moved")
    assert [photo.name for photo in before.train] == [photo.name for photo in after.train]
    for one, other in zip(before.train, after.train, strict=True):
        turn = one.world_from_camera[:3, :3].T @ other.world_from_camera[:3, :3]
        angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
        assert angle == pytest.approx(1.0, abs=1e-4)
        apart = np.linalg.norm(one.world_from_camera[:, 3] - other.world_from_camera[:, 3])
        assert apart == pytest.approx(0.01 * side, rel=1e-4)


def test_both_sides_are_measured_plainly_and_with_fitted_poses(
    tiny: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Sequence[str]] = []

    def measure(words: Sequence[str], manners: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        asked.append(words)
        assert list(manners) == [["evaluation.fit=none"], ["evaluation.fit=pose"]]
        cost = {"ssim": 0.5, "num_steps": 7, "train_seconds": 3.0, "num_views": 1}
        return [{"psnr": 20.0 + len(asked), **cost}, {"psnr": 25.0, **cost}]

    options = parsed(
        BenchmarkOptions, ["suite=poses", f"capture={tiny}", "seconds=3", "precision=float32"]
    )
    poses.run(options, measure)
    assert "capture.adjust.poses=true" in asked[1] and "capture.adjust.poses=true" not in asked[0]
    assert all("kernels.precision=float32" in words for words in asked)
    line = json.loads((kept / "records/poses.jsonl").read_text())
    refined = line["sides"]["disturbed, refined"]
    assert (refined["none"], refined["pose"], refined["num_steps"]) == (22.0, 25.0, 7)
    assert "disturbed, refined  22.00  25.00" in capsys.readouterr().out


def test_a_capture_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"has no COLMAP model in sparse/0"):
        poses.disturb(tmp_path, tmp_path / "moved", 1.0, 0.01)
