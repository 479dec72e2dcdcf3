"""Suite ``memory``: its photos are a capture, its figures are those of real runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.captures import memory
from benchmarks.options import BenchmarkOptions, parsed
from benchmarks.processes import LeftOut
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import SettingError
from tests.tiny_capture import write_blender_capture


@pytest.fixture
def options(tmp_path: Path) -> BenchmarkOptions:
    tiny = write_blender_capture(tmp_path / "tiny", num_train=10, num_test=2, size=24)
    words = [f"capture={tiny}", f"outputs={tmp_path}", "photos=9", "width=96", "seconds=1"]
    return parsed(BenchmarkOptions, ["suite=memory", *words])


def test_photos_are_enlarged_with_their_cameras(options: BenchmarkOptions, tmp_path: Path) -> None:
    small = open_capture(CaptureSettings(path=options.capture), progress=False)
    assert memory.write_photos(tmp_path / "large", small.train, options) == 9
    more = replace(options, photos=50)
    assert memory.write_photos(tmp_path / "large", small.train, more) == 10, "there are no more"
    memory.write_photos(tmp_path / "large", small.train, options)
    large = open_capture(
        CaptureSettings(path=str(tmp_path / "large"), test_every=0), progress=False
    )
    assert len(large.train) == 9 and large.train.image(0).shape == (64, 96, 3)
    for view in (0, 8):
        pose = large.train.cameras.world_from_camera[view]
        assert torch.allclose(pose, small.train.cameras.world_from_camera[view], atol=1e-6)
        focal = 4 * small.train.cameras.focal_px[view]
        assert torch.allclose(large.train.cameras.focal_px[view], focal)
        # White around, and the ball in the middle.
        photo = large.train.image(view).float().mean(-1)
        assert photo[:4, :4].mean() > 245 and photo[28:36, 44:52].mean() < 235


def test_runs_are_watched_and_recorded(
    options: BenchmarkOptions, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watched(words: list[str], cap: int) -> dict[str, object]:
        asked.append(cap)
        if len(asked) == 2:
            raise LeftOut("no")
        small = [*words, "field.grid.log2_rows=12", "training.samples_per_step=512"]
        return watch(small, cap)

    watch = memory.train_watched
    monkeypatch.setattr(memory, "train_watched", watched)
    memory.run(options)
    assert asked == [2 << 30, 2 << 30, 0]
    (line,) = (kept / "records/memory.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["capture"], found["photos"]) == ("tiny", 9)
    assert (Path(options.outputs) / "photos_tiny_9x96").is_dir()
    sides = found["sides"]
    assert list(sides) == ["capped at 2 GiB", "in memory"]
    for side in sides.values():
        assert 0.05 < side["anonymous_gb"] < 2.2 and side["rays_per_second"] > 0
        assert side["seconds_until_open"] > 0 and "9 photos of 96x64 pixels" in side["plan"]


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(LeftOut, match="is not there"):
        memory.train_watched([f"capture.path={tmp_path}/nothing"], 0)


def test_one_number_of_seconds(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="one number of seconds"):
        memory.run(BenchmarkOptions(seconds=(1.0, 2.0)))
