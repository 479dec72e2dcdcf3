"""Photos larger than memory: the plan that is made, and the files that they are decoded into."""

import json
import logging
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neural_render.captures.doctor.examination import open_checked
from neural_render.captures.loading import cache, load, memory, parallel
from neural_render.captures.loading.cache import cache_home, find_cache
from neural_render.captures.loading.parallel import in_parallel
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from neural_render.core.processes import group
from neural_render.core.waiting.turns import locked
from neural_render.kernels import dispatch
from tests.captures.formats import NAMES, noise_image, save_image, write_transforms
from tests.small_disk import small_disk


def opened(folder: Path, **settings: object) -> Capture:
    settings = {"memory": "disk", "test_every": 4} | settings
    return open_capture(CaptureSettings(path=str(folder), **settings), progress=False)


def caches(folder: Path) -> list[Path]:
    return sorted((folder / cache.FOLDER).glob("pixels_*"))


def large_photos(folder: Path) -> Path:
    """Five photos of 2000x1500 pixels: 45 MB."""
    write_transforms(folder, camera_angle_x=1.0)
    for name in NAMES:
        Image.new("RGB", (2000, 1500), "teal").save(folder / name)
    return folder


def test_what_does_not_fit_goes_to_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = large_photos(tmp_path)
    with caplog.at_level(logging.INFO, logger="neural_render"):
        capture = opened(folder, memory="auto", memory_limit_gb=0.06)
    assert capture.train.stride == 2 and capture.test.stride == 1
    first = caplog.records[0].message
    assert "5 photos of 2000x1500 pixels: 0.01 GB in memory, of 0.06 GB" in first
    assert f"0.04 GB on disk in {caches(folder)[0]}, decoded now, 1 at a time" in first
    color = torch.tensor([0, 128, 128], dtype=torch.uint8)
    assert (capture.train.image(1) == color).all() and (capture.test.image(0) == color).all()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="neural_render"):
        assert opened(folder, memory="auto", max_side=400).train.stride == 1
    first = caplog.records[0].message
    assert "2000x1500, scaled to 400x300 pixels" in first and "nothing on disk" in first


def test_strides_and_threads_follow_the_memory() -> None:
    need = memory.Need(
        num_photos=60,
        longest_side=6000,
        shortest_side=4000,
        largest_file=24_000_000,
        train_bytes=lambda side: 60 * 72_000_000,
        test_bytes=lambda side: 0,
    )

    def plan(gigabytes: float, cached: int = 0) -> memory.MemoryPlan:
        settings = CaptureSettings(memory_limit_gb=float(gigabytes))
        return memory.plan_memory(settings, need, 16, cached)

    assert (plan(8).stride, plan(8).threads) == (1, 16)
    assert (plan(4.6).stride, plan(4.6).threads) == (1, 1)
    assert (plan(4.4).stride, plan(4.4).threads) == (2, 15)
    assert (plan(1.3).stride, plan(1.3).threads) == (4, 4)
    assert plan(1.3).memory_bytes == 2 * 60 * 72_000_000 // 16
    assert (plan(0.3).stride, plan(0.3).threads) == (8, 1)
    # What is there already is taken, unless it does not fit.
    assert plan(4.4, cached=8).stride == 8 and plan(1.3, cached=2).stride == 4
    with pytest.raises(CaptureError, match=r"60 photos need 4\.51 GB of .*=0\.2 allows no more"):
        plan(0.2)


def test_a_limit_on_the_data_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource", reason="limits need a Unix system")
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc tells what a process has taken")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64 << 30, 64 << 30))
    generous = memory._own_bytes()
    assert 0 < generous < 64 << 30
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, 1 << 20))
    assert memory.available_bytes() == 0


def test_photos_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_transforms(tmp_path)
    before = opened(folder)
    (first,) = caches(folder)
    with monkeypatch.context() as patched:
        patched.setattr(load, "planned_image", None)
        again = opened(folder)
    assert torch.equal(before.train.pixels, again.train.pixels)
    assert torch.equal(before.test.image(1), again.test.image(1))
    save_image(folder / NAMES[1], noise_image(9))
    changed = opened(folder)
    (second,) = caches(folder)
    assert second != first
    assert np.array_equal(changed.train.image(0).numpy(), noise_image(9))
    assert opened(folder, max_side=8).train.cameras.width[0] == 8
    assert len(caches(folder)) == 1


@pytest.mark.parametrize("damage", ["shorter", "no record", "nonsense"])
def test_a_damaged_cache_is_made_again(damage: str, tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    before = opened(folder).train.pixels.clone()
    (found,) = caches(folder)
    if damage == "shorter":
        os.truncate(found / "train.pixels", 10)
    elif damage == "no record":
        (found / cache.RECORD).unlink()
    else:
        (found / cache.RECORD).write_text(json.dumps({"stride": "x"}))
    assert torch.equal(opened(folder).train.pixels, before)


def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_transforms(tmp_path)
    content = (folder / NAMES[2]).read_bytes()
    (folder / NAMES[2]).write_bytes(content[: len(content) // 2])
    with pytest.raises(CaptureError, match="truncated or damaged"):
        opened(folder)
    assert caches(folder) == []
    (folder / NAMES[2]).write_bytes(content)
    with small_disk(100), pytest.raises(CaptureError, match=r"cannot be written to .*: free"):
        opened(folder)
    assert caches(folder) == []
    with monkeypatch.context() as patched:
        patched.setattr(cache, "SPARE_BYTES", 1 << 60)
        with pytest.raises(CaptureError, match=r"GB on disk, but .* GB free.*max_side"):
            opened(folder)
    (folder / cache.FOLDER / "pixels_killed.partial").mkdir()
    opened(folder)
    assert len(caches(folder)) == 1 and find_cache(folder / cache.FOLDER, "killed") is None


def test_a_folder_that_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_transforms(tmp_path / "photos")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder.chmod(0o555)
    try:
        home = cache_home(folder)
        assert home.is_relative_to(tmp_path / "cache/neural_render")
        opened(folder)
        assert len(list(home.glob("pixels_*"))) == 1 and not (folder / cache.FOLDER).exists()
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(CaptureError, match=r"cannot be kept on disk.*set XDG_CACHE"):
            cache_home(folder)
    finally:
        folder.chmod(0o755)


def test_alpha_is_seen_while_decoding(tmp_path: Path) -> None:
    assert opened(write_transforms(tmp_path / "a", channels=4)).has_opacity
    folder = write_transforms(tmp_path / "b", channels=4)
    for index, name in enumerate(NAMES):
        image = noise_image(index, 4)
        image[..., 3] = 255
        save_image(folder / name, image)
    capture = opened(folder)
    assert capture.train.pixels.shape[1] == 4 and not capture.has_opacity


@pytest.mark.parametrize(("usable", "threads"), [(1, 1), (3, 3), (99, parallel.MAX_THREADS)])
def test_photos_are_decoded_on_cores_that_a_container_may_use(
    monkeypatch: pytest.MonkeyPatch, usable: int, threads: int
) -> None:
    monkeypatch.setattr(dispatch, "usable_cores", lambda: usable)
    assert parallel.num_threads() == threads


def test_two_runs_do_not_decode_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="files are locked on Unix systems")
    tries = iter([True, True, False])

    def flock(file: object, how: int) -> None:
        if next(tries):
            raise BlockingIOError

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.INFO, logger="neural_render"), locked(tmp_path):
        pass
    assert caplog.text.count("waiting for another run") == 1


def test_another_run_leaves_a_cache_until_it_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one wants the photos in another size, and removes those that lie there."""
    folder, real, sizes = write_transforms(tmp_path), load.mapped, []

    def open_smaller() -> None:
        sizes.append(int(opened(folder, max_side=8).train.cameras.width[0]))

    other = threading.Thread(target=open_smaller)

    def mapped_late(*where: object) -> torch.Tensor:
        if other.ident is None:
            other.start()
            other.join(0.3)
        return real(*where)

    monkeypatch.setattr(load, "mapped", mapped_late)
    assert np.array_equal(opened(folder).train.image(0).numpy(), noise_image(1))
    other.join()
    assert sizes == [8]


@pytest.mark.parametrize("description", ["training photos", ""])
def test_long_work_is_told_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, description: str
) -> None:
    monkeypatch.setattr(parallel, "LOG_EVERY", 0.005)
    with caplog.at_level(logging.INFO, logger="neural_render"):
        squares = in_parallel(
            lambda number: time.sleep(0.02) or number**2,
            [1, 2, 3],
            description=description,
            progress=False,
            threads=1,
        )
    assert squares == [1, 4, 9]
    told = [record.message for record in caplog.records]
    assert told[:1] == ["training photos: 1 of 3"] if description else told == []


@pytest.mark.parametrize(
    ("rank", "local_rank", "takers"),
    [(0, 0, 3), (1, 1, 2), (2, 2, 2), (3, 0, 3), (5, 2, 3)],
)
def test_processes_of_one_machine_divide_what_is_free(
    monkeypatch: pytest.MonkeyPatch, rank: int, local_rank: int, takers: int
) -> None:
    """Two machines of three; where the first process is, it has its photos before the others."""
    place = group.Place(rank=rank, size=6, local_rank=local_rank, local_size=3)
    monkeypatch.setattr(group, "_here", [place])
    monkeypatch.setattr(memory, "available_bytes", lambda: 30e9)
    allowed = memory.allowance(CaptureSettings())
    assert allowed.num_bytes == pytest.approx(0.8 * 30e9 / takers)
    assert allowed.reason.endswith(f"may take four fifths, in {takers} processes")


@pytest.mark.parametrize(("stride", "memory"), [(1, "ram"), (2, "disk")])
def test_other_processes_keep_photos_where_the_first_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, memory: str
) -> None:
    large_photos(tmp_path)
    place = group.Place(rank=1, size=2, local_rank=0, local_size=1)
    monkeypatch.setattr(group, "_here", [place])
    monkeypatch.setattr(group, "of_first", lambda make: stride)
    settings = CaptureSettings(path=str(tmp_path), test_every=4)
    capture = open_checked(settings, progress=False, check=True)
    assert (capture.train.stride > 1) == (memory == "disk")
