"""``scripts/export.py format=splats``: from a trained run to a file that others draw alike."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import records
from benchmarks.options import BenchmarkOptions, parsed
from benchmarks.splats import suite
from benchmarks.splats.rasteriser import Gaussians, Pinhole, draw, read_gaussians
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import OutputError
from neural_render.export.formats import ExportSettings
from neural_render.export.splats.settings import SplatSettings
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.splats.fitting import export_splats
from neural_render.training.stopping import TrainingInterrupted
from tests.flows.programs import Finished, run_here
from tests.tiny_capture import CAMERA_ANGLE_X, camera_poses, sphere_image

SMALL = ("export.splats.count=1500", "export.splats.steps=160", "export.splats.views=16")
PSNR_FLOOR = 22.0  # dB, of views that nothing was fitted to; some 25 are reached


@pytest.fixture
def export(
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """``scripts/export.py`` of the trained run: words in, what it said out."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str | Path) -> Finished:
        words = (f"run={trained_run}", "format=splats", *words)
        return run_here("scripts/export.py", *words, monkeypatch=monkeypatch, capsys=capsys)

    return call


def photo_and_drawing(gaussians: Gaussians, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A test photo of the sphere on white, and the splats from the same place."""
    pose = camera_poses(3, 0.37)[index]
    focal = 20 / np.tan(CAMERA_ANGLE_X / 2)
    camera = Pinhole(
        world_from_camera=pose[:3] * np.array([1, -1, -1, 1]),
        focal=(focal, focal),
        center=(20.0, 20.0),
        width=40,
        height=40,
    )
    photo = sphere_image(pose, 40).astype(float) / 255
    return photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:], draw(gaussians, camera, 1.0)


def test_another_rasteriser_draws_the_file_as_the_photos_are(export, trained_run: Path) -> None:
    """In the capture's own coordinates: the sphere has radius 1 around the origin."""
    done = export(*SMALL)
    assert done.code == 0, done.errors
    path = trained_run / "exports/splats.ply"
    assert done.last_line == str(path)
    gaussians = read_gaussians(path)
    assert 1000 < len(gaussians.xyz) <= 1500
    radius = np.linalg.norm(gaussians.xyz, axis=1)[gaussians.opacity > 0.5]
    assert abs(np.median(radius) - 1) < 0.15  # after so few steps the field's surface is soft
    scores = []
    for index in range(3):
        photo, drawing = photo_and_drawing(gaussians, index)
        scores.append(-10 * np.log10(np.square(photo - drawing.clip(0, 1)).mean()))
    assert np.mean(scores) > PSNR_FLOOR, scores


def test_the_benchmark_measures_a_file(
    export, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the field, and leaves pictures."""
    monkeypatch.setattr(records, "ROOT", tmp_path)
    file = tmp_path / "few.ply"
    export("export.splats.count=300", "export.splats.steps=0", f"output={file}")
    words = ("suite=splats", f"run={trained_run}", f"file={file}", "views=2")
    suite.run(parsed(BenchmarkOptions, words))
    (line,) = (tmp_path / "benchmarks/records/splats.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["splats"] == 300 and record["views"] == 2 and record["background"] == "white"
    assert 10 < record["psnr"] < record["field_psnr"]
    assert record["bytes"] == file.stat().st_size
    assert len(list((tmp_path / "benchmarks/plots").glob("splats_*.png"))) == 2


def test_the_same_words_give_the_same_file(export, tmp_path: Path) -> None:
    words = ("export.splats.count=300", "export.splats.steps=3", "export.splats.views=3")
    for name in ("a", "b"):
        assert export(*words, f"output={tmp_path / name}.ply").code == 0
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def test_photos_are_exposed_already(export) -> None:
    done = export("export.exposure=1")
    assert done.code == 2
    assert "export.exposure=1 exposes scene-linear light" in done.errors
    assert len(done.errors.strip().splitlines()) == 1


def test_more_harmonics_than_files_hold_are_refused(export) -> None:
    done = export("export.splats.degree=4")
    assert done.code == 2
    assert "export.splats.degree=4 is too large; give at most 3" in done.errors


def splats_of(run: Path, path: Path, **settings: int) -> Path:
    """``export_splats`` of a run, without the command line."""
    scene = load_for_rendering(RunFolder.open(run), torch.device("cpu"))
    capture = open_capture(CaptureSettings(path=scene.record.capture), progress=False, images=False)
    wanted = ExportSettings(splats=SplatSettings(**{"views": 4, **settings}))
    return export_splats(scene, capture, wanted, {}, path)


def test_a_fit_that_is_stopped_leaves_what_it_has(trained_run: Path, tmp_path: Path) -> None:
    """One Ctrl-C, as soon as the first file is there."""
    path = tmp_path / "splats.ply"

    def stop() -> None:
        while not path.exists():
            time.sleep(0.01)
        before.append(path.read_bytes())
        os.kill(os.getpid(), signal.SIGINT)

    before: list[bytes] = []
    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    with pytest.raises(TrainingInterrupted, match=r"Stopped by Ctrl-C at step \d+ of 100000"):
        splats_of(trained_run, path, count=200, steps=100_000)
    thread.join()
    assert len(read_gaussians(path).xyz) == 200
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_opaque_is_nothing_to_export(trained_run: Path, tmp_path: Path) -> None:
    """A run whose occupancy is empty."""
    from safetensors.torch import load_file, save_file

    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    weights = RunFolder.open(run).last_checkpoint() / "weights.safetensors"
    tensors = load_file(weights)
    emptied = {k: torch.zeros_like(v) if "occupancy" in k else v for k, v in tensors.items()}
    assert emptied.keys() == tensors.keys() and any("occupancy" in key for key in tensors)
    save_file(emptied, weights)
    with pytest.raises(OutputError, match="nothing of the run is opaque enough"):
        splats_of(run, tmp_path / "splats.ply", count=100, steps=1)
