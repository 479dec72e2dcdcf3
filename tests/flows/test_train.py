"""``train.py``: what a run leaves behind, and how it goes on after any end."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.programs import (
    SMALL,
    STEPS,
    Finished,
    command,
    run,
    run_here,
    weights_of,
)

PSNR_FLOOR = 20.0  # dB; a run as small as this reaches about 22.8
METRICS = {
    "psnr",
    "ssim",
    "flip",
    "num_views",
    "views",
    "train_seconds",
    "train_cpu_seconds",
    "num_steps",
    "num_samples",
    "num_samples_marched",
    "num_rays",
    "backend",
    "precision",
    "protocol",
}

# A program that dies when a checkpoint is to be renamed into place.
DOOMED = """
import os, runpy, signal, sys

last = sys.argv.pop(1)
sys.argv.pop(0)

def watch(event, arguments):
    if event == "os.rename" and os.path.basename(arguments[1]) == last:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def train(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """``train.py`` in this process and a folder: words in, what it said out; it must end well."""

    def call(*words: str, folder: Path) -> Finished:
        monkeypatch.chdir(folder)
        done = run_here("train.py", *words, monkeypatch=monkeypatch, capsys=capsys)
        assert (done.code, done.errors) == (0, "")
        return done

    return call


def metrics(run_folder: Path) -> dict[str, object]:
    return json.loads((run_folder / "evaluation/metrics.json").read_text(encoding="utf-8"))


def test_a_run_leaves_everything_in_its_folder_and_nothing_elsewhere(
    home: Path, trained: Finished, trained_run: Path
) -> None:
    assert re.fullmatch(r"outputs/tiny/[\d_-]+", trained.last_line)
    assert [path.name for path in home.iterdir()] == ["outputs"]
    assert sorted(path.name for path in (home / "outputs").iterdir()) == ["latest", "tiny"]
    assert (home / "outputs/latest").samefile(trained_run)
    for name in ("config.yaml", "metrics.jsonl", "report.html", "evaluation/metrics.json"):
        assert (trained_run / name).stat().st_size > 0
    assert (trained_run / f"checkpoints/{STEPS}/weights.safetensors").is_file()
    (film,) = trained_run.glob("renders/*/video.mp4")
    assert film.stat().st_size > 0


def test_the_numbers_are_measured_and_said(trained: Finished, trained_run: Path) -> None:
    found = metrics(trained_run)
    assert found.keys() >= METRICS
    assert found["num_views"] == 3
    assert found["num_steps"] == STEPS
    assert found["psnr"] > PSNR_FLOOR
    assert re.search(rf"^PSNR +{found['psnr']:.2f} dB$", trained.output, re.MULTILINE)
    assert re.search(r"^kernels: \w+, \w+, \d+ thread", trained.output, re.MULTILINE)


def test_a_spent_run_continues_with_a_larger_budget(
    train: Callable[..., Finished], trained_run: Path, tmp_path: Path
) -> None:
    """On a copy; the stored settings are those that it was continued with."""
    copied = shutil.copytree(trained_run, tmp_path / "outputs/tiny/copy")
    words = (f"run={copied}", f"training.num_steps={STEPS + 10}", "render.output=none")
    done = train(*words, folder=tmp_path)
    assert done.last_line == str(copied)
    assert metrics(copied)["num_steps"] == STEPS + 10
    assert f"num_steps: {STEPS + 10}\n" in (copied / "config.yaml").read_text(encoding="utf-8")
    assert metrics(trained_run)["num_steps"] == STEPS


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
def test_a_killed_run_resumes_to_the_same_weights(
    train: Callable[..., Finished], tiny: Path, trained_run: Path, tmp_path: Path
) -> None:
    """Killed in mid-training, resumed on another number of threads: bit for bit the same."""
    words = (f"capture.path={tiny}", "name=tiny", f"training.num_steps={STEPS}", *SMALL)
    start_and_kill(*words, after=20, folder=tmp_path)
    train("run=outputs/latest", "kernels.threads=1", folder=tmp_path)
    assert weights_of(tmp_path / "outputs/latest", STEPS) == weights_of(trained_run, STEPS)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
@pytest.mark.parametrize(("place", "after", "num_steps"), [("ram", 40, 80), ("disk", 260, 280)])
def test_a_killed_run_resumes_with_its_error_map(
    train: Callable[..., Finished],
    place: str,
    after: int,
    num_steps: int,
    tiny: Path,
    tmp_path: Path,
) -> None:
    """Killed between two refreshes of the map; of photos on disk, in their second window."""
    words = (f"capture.path={tiny}", "name=tiny", f"training.num_steps={num_steps}", *SMALL)
    words += ("training.error_sampling=0.5", "render.output=none", f"capture.memory={place}")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    train(*words, folder=whole)
    start_and_kill(*words, after=after, folder=killed)
    train("run=outputs/latest", "kernels.threads=1", folder=killed)
    found = [weights_of(folder / "outputs/latest", num_steps) for folder in (whole, killed)]
    assert b"errors.deck" in found[0]
    assert found[0] == found[1]


def start_and_kill(*words: str, after: int, folder: Path) -> None:
    """Trains in ``folder`` until the checkpoint that follows the one of step ``after`` is all but
    there: it is written, and not yet renamed into place."""
    program, *rest = command("train.py", *words, "training.checkpoint_steps=10")
    doomed = [program, "-c", DOOMED, str(after + 10), *rest, "render.output=none"]
    done = subprocess.run(doomed, cwd=folder, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    checkpoints = folder / "outputs/latest/checkpoints"
    assert (checkpoints / str(after)).is_dir() and (checkpoints / f"{after + 10}.partial").is_dir()


@pytest.mark.skipif(os.name == "nt", reason="this system has no signals between processes")
def test_ctrl_c_saves_and_says_how_to_go_on(tiny: Path, tmp_path: Path) -> None:
    words = (f"capture.path={tiny}", "name=stopped", "training.num_steps=100000", *SMALL)
    process = subprocess.Popen(
        command("train.py", *words),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = tmp_path / "outputs/latest/metrics.jsonl"
    while not (lines.is_file() and lines.stat().st_size) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "go on with: python train.py run=outputs/stopped/" in errors
    assert "Traceback" not in errors
    (checkpoint,) = (tmp_path / "outputs/latest/checkpoints").iterdir()
    assert int(checkpoint.name) > 0


def test_a_sweep_trains_one_run_for_each_value(
    train: Callable[..., Finished], tiny: Path, tmp_path: Path
) -> None:
    words = (f"capture.path='{tiny}'", "name=a,b", "training.num_steps=3", "render.output=none")
    train("-m", *words, *SMALL[:-1], folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    found = sorted(path.name for path in (tmp_path / "outputs").iterdir())
    assert found == ["a", "b", "latest", "sweeps"]
    assert len(list((tmp_path / "outputs").glob("[ab]/*/checkpoints/3"))) == 2


def test_a_mistake_ends_in_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """As a process; all other mistakes are made in ``test_bad_input.py``."""
    done = run("train.py", "training.max_secnds=3", folder=tmp_path)
    assert done.code == 2
    assert done.errors.startswith("error: training.max_secnds is not a setting of train.py; did ")
    assert done.errors.count("\n") == 1
    assert done.output == ""
    assert list(tmp_path.iterdir()) == []
