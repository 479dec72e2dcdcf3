"""Commands that open a run whose photos or cameras are no longer those of its training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.programs import Finished, run_here


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """A program in this process and an empty folder: words in, what it said out."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def here(program: str, *words: str | Path) -> Finished:
        return run_here(program, *words, monkeypatch=monkeypatch, capsys=capsys)

    return here


@pytest.fixture
def copied(trained_run: Path, tmp_path: Path) -> Path:
    """A copy of the trained run."""
    return shutil.copytree(trained_run, tmp_path / "outputs/tiny/copy")


@pytest.fixture
def moved(tiny: Path, tmp_path: Path) -> Path:
    """A copy of what it was trained on, in another place."""
    return shutil.copytree(tiny, tmp_path / "moved")


def test_a_capture_that_moved_is_measured(
    call: Callable[..., Finished], copied: Path, moved: Path
) -> None:
    words = (f"run={copied}", f"capture.path={moved}", "capture.max_side=32")
    done = call("scripts/evaluate.py", *words, "evaluation.flip=false")
    assert (done.code, done.errors) == (0, "")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("train.py", ("training.num_steps=210",)),
        ("render.py", ("size=8x8", "frames=2")),
        ("scripts/evaluate.py", ()),
        ("scripts/export.py", ("format=points",)),
        ("scripts/package.py", ()),
    ],
)
def test_nothing_is_made_with_other_cameras(
    call: Callable[..., Finished], copied: Path, moved: Path, program: str, words: tuple[str, ...]
) -> None:
    path = moved / "transforms_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for frame in content["frames"]:
        frame["transform_matrix"][2][3] += 0.1
    path.write_text(json.dumps(content), encoding="utf-8")
    before = {file: file.stat().st_mtime_ns for file in copied.rglob("*") if file.name != ".lock"}
    done = call(program, f"run={copied}", f"capture.path={moved}", *words)
    assert done.code == 2 and done.errors.count("\n") == 1
    told = "was trained on (12 of 15 photos are elsewhere, such as train/r_0"
    assert f"error: {moved} is not what {copied}" in done.errors and told in done.errors
    assert {file: file.stat().st_mtime_ns for file in before} == before
