"""``train.py`` and ``render.py`` in two processes that torchrun starts."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import OpenImageIO as oiio
import pytest

from tests.flows.programs import SMALL, Finished, run_here, said, shared_command

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="torchrun's signals are those of POSIX"),
]


def test_sigterm_saves_once_for_all(tiny: Path, tmp_path: Path) -> None:
    """torchrun passes it on to both; they stop at one step, and the first one saves and speaks."""
    words = (f"capture.path={tiny}", "name=shared", "training.num_steps=100000", *SMALL)
    process = subprocess.Popen(
        shared_command("train.py", *words, logs=tmp_path / "logs"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lines = tmp_path / "outputs/latest/metrics.jsonl"
    while not (lines.is_file() and lines.stat().st_size) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() != 0
    for rank in (0, 1):
        assert "Traceback" not in said(tmp_path / "logs", rank)
    assert "go on with: python train.py run=outputs/shared/" in said(tmp_path / "logs", 0)
    assert "processes: 2 (gloo" in said(tmp_path / "logs", 0, "stdout")
    assert said(tmp_path / "logs", 1, "stdout") == ""
    (run,) = (tmp_path / "outputs/shared").iterdir()
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert int(checkpoint.name) > 0


def test_frames_that_are_shared_out_are_those_of_one_process(
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An odd number of them, in every kind of file."""
    words = ("path=orbit", "output=video,frames,exr,depth", "frames=3", "size=30x20")
    words = (*words, "render.video.codec=prores")
    whole, shared = (shutil.copytree(trained_run, tmp_path / name) for name in ("one", "two"))
    monkeypatch.chdir(tmp_path)
    done: Finished = run_here(
        "render.py", *words, f"run={whole}", monkeypatch=monkeypatch, capsys=capsys
    )
    assert done.code == 0, done.errors
    logs = tmp_path / "logs"
    launch = shared_command("render.py", *words, f"run={shared}", logs=logs)
    ended = subprocess.run(launch, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == 0, said(logs, 0) + said(logs, 1)
    assert said(logs, 0) == said(logs, 1) == ""
    found, wanted = (contents(run / "renders/orbit_30x20") for run in (shared, whole))
    assert len(found) == 3 * 3 + 3 + 3 + 2
    assert found.keys() == wanted.keys()
    assert [name for name in found if found[name] != wanted[name]] == []
    assert str(shared / "renders/orbit_30x20/video.mov") in said(logs, 0, "stdout")


def test_test_views_that_are_shared_out_are_measured_as_by_one_process(
    tiny: Path, trained_run: Path, tmp_path: Path
) -> None:
    """A run whose budget is spent, opened by both."""
    shared = shutil.copytree(trained_run, tmp_path / "two")
    shutil.rmtree(shared / "evaluation")
    logs = tmp_path / "logs"
    launch = shared_command("train.py", f"run={shared}", "render.output=none", logs=logs)
    ended = subprocess.run(launch, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == 0, said(logs, 0) + said(logs, 1)
    found, wanted = (
        json.loads((run / "evaluation/metrics.json").read_text()) for run in (shared, trained_run)
    )
    timed = {"render_seconds"}
    views = [
        [
            {key: value for key, value in view.items() if key not in timed}
            for view in record["views"]
        ]
        for record in (found, wanted)
    ]
    assert views[0] == views[1]
    assert (found["psnr"], found["num_views"]) == (wanted["psnr"], 3)
    assert (shared / "report.html").is_file()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder; of layers their numbers, since their files hold the time."""
    return {path.name: layers(path) or path.read_bytes() for path in folder.iterdir()}


def layers(path: Path) -> bytes:
    """The numbers of an EXR; nothing of other files."""
    if path.suffix != ".exr":
        return b""
    source = oiio.ImageInput.open(str(path))
    numbers = source.read_image("float").tobytes()
    source.close()
    return numbers
