"""Whatever is wrong with the input of ``train.py``: one sentence, exit code 2, nothing changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.programs import SMALL, STEPS, Finished, run_here
from tests.small_disk import small_disk
from tests.tiny_capture import write_blender_capture


@pytest.fixture
def train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """``train.py`` in an empty folder: words in, what it said out."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*words: str | Path) -> Finished:
        few = ("training.num_steps=2", "render.output=none")
        return run_here(
            "train.py", *few, *SMALL[:-1], *words, monkeypatch=monkeypatch, capsys=capsys
        )

    return call


def snapshot(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder with its contents."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(done: Finished, *parts: str) -> None:
    """The program ended with 2 and one line that holds all ``parts``."""
    assert done.code == 2, done.errors
    (line,) = [line for line in done.errors.splitlines() if not line.startswith("warning: ")]
    assert line.startswith("error: ")
    assert [part for part in parts if part not in line] == []


def edit_transforms(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "transforms_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def set_pose(value: float) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["frames"][0]["transform_matrix"][0][0] = value

    return change


def lose_images(folder: Path) -> None:
    for path in (folder / "train").glob("*.png"):
        path.unlink()


def truncate_image(folder: Path) -> None:
    path = folder / "train/r_1.png"
    path.write_bytes(path.read_bytes()[:200])


def empty_image(folder: Path) -> None:
    (folder / "train/r_1.png").write_bytes(b"")


def no_number(folder: Path) -> None:
    edit_transforms(folder, lambda content: content.update(camera_angle_x="wide"))


def wrong_size(folder: Path) -> None:
    edit_transforms(folder, lambda content: content.update(w=64, h=48))


def no_finite_pose(folder: Path) -> None:
    edit_transforms(folder, set_pose(float("nan")))


def no_rigid_pose(folder: Path) -> None:
    edit_transforms(folder, set_pose(7.0))


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lose_images, ["0 usable training photos", "restore or add images"]),
        (truncate_image, ["r_1.png"]),
        (empty_image, ["r_1.png"]),
        (no_number, ["camera_angle_x", "transforms_train.json"]),
        (wrong_size, ["64x48", "16x16"]),
        (no_finite_pose, ["transforms_train.json", "finite"]),
        (no_rigid_pose, ["transforms_train.json", "r_0"]),
    ],
)
def test_a_broken_capture(
    train: Callable[..., Finished],
    tmp_path: Path,
    damage: Callable[[Path], None],
    parts: list[str],
) -> None:
    capture = write_blender_capture(tmp_path / "photos", num_train=4, num_test=1, size=16)
    damage(capture)
    refused(train(f"capture.path={capture}"), *parts)
    assert list((tmp_path / "here").iterdir()) == []


def test_a_path_that_is_not_there(train: Callable[..., Finished], tmp_path: Path) -> None:
    refused(train("capture.path=gone"), "gone is not there: give an existing folder")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_of_no_known_format(train: Callable[..., Finished], tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    refused(
        train(f"capture.path={tmp_path / 'holiday'}"),
        "holiday",
        "transforms_train.json",
        "transforms.json",
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("training.num_stpes=3", "did you mean training.num_steps?"),
        ("training.max_seconds=-1", "training.max_seconds=-1"),
        ("training.clock=sun", "training.clock=sun is not one of wall, cpu"),
        ("field.grid.levels=0", "field.grid.levels=0 is too small; give at least 1"),
        ("field.grid.hash=sha", "field.grid.hash=sha is not one of linear, xor"),
        ("rendering.step=-1", "rendering.step=-1 is too small; give at least 0"),
        ("kernels.backend=gpu", "kernels.backend=gpu is not a backend; choose one of auto"),
        ("kernels.threads=-1", "kernels.threads=-1 is too small"),
        ("name=a/b", "name=a/b cannot name a run"),
        ("run=gone", "run=gone is not there"),
        ("evaluation.background=blue", "evaluation.background=blue is not one of"),
    ],
)
def test_a_mistaken_setting(
    train: Callable[..., Finished], tiny: Path, tmp_path: Path, word: str, sentence: str
) -> None:
    refused(train(f"capture.path={tiny}", word), sentence)
    assert list((tmp_path / "here").iterdir()) == []


def test_a_training_that_cannot_begin_leaves_no_run(
    train: Callable[..., Finished], tiny: Path, tmp_path: Path
) -> None:
    """Though that is known when its folder is made already."""
    words = ("training.transients=true", "training.error_sampling=0")
    refused(train(f"capture.path={tiny}", *words), "training.error_sampling")
    assert list((tmp_path / "here").rglob("*")) == [tmp_path / "here/outputs"]


def test_a_full_disk(train: Callable[..., Finished], tiny: Path) -> None:
    with small_disk(20000):
        done = train(f"capture.path={tiny}")
    refused(done, "cannot be written", "free some space")


@pytest.fixture
def copied_run(trained_run: Path, tmp_path: Path) -> Path:
    """The trained run, free to be damaged."""
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("field.grid.levels=4", ["field.grid.levels=4", "begun with field.grid.levels=6"]),
        ("seed=1", ["seed=1", "begun with seed=0"]),
        ("capture.scale=0.9", ["capture.scale=0.9", "begun with capture.scale=0"]),
    ],
)
def test_another_architecture(
    train: Callable[..., Finished], copied_run: Path, word: str, parts: list[str]
) -> None:
    before = snapshot(copied_run)
    refused(train(f"run={copied_run}", word), *parts)
    assert snapshot(copied_run) == before


def test_another_capture(train: Callable[..., Finished], copied_run: Path, tmp_path: Path) -> None:
    other = write_blender_capture(tmp_path / "other", num_train=5, num_test=1, size=16)
    edit_transforms(other, lambda content: content.update(camera_angle_x=1.2))
    before = snapshot(copied_run)
    done = train(f"run={copied_run}", f"capture.path={other}", f"training.num_steps={STEPS + 5}")
    refused(done, f"{other} is not what {copied_run}", "9 of 15 photos are missing")
    assert snapshot(copied_run) == before


@pytest.mark.parametrize("damage", ["truncate", "pickle", "other"])
def test_a_checkpoint_that_cannot_be_used(
    train: Callable[..., Finished], copied_run: Path, damage: str
) -> None:
    checkpoint = copied_run / f"checkpoints/{STEPS}"
    if damage == "truncate":
        weights = checkpoint / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "pickle":
        (checkpoint / "weights.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(Vtouch owned\ntR.")
    else:
        (checkpoint / "state.json").write_text('{"format": "another program"}', encoding="utf-8")
    before = snapshot(copied_run)
    refused(train(f"run={copied_run}", f"training.num_steps={STEPS + 5}"), str(checkpoint))
    assert snapshot(copied_run) == before
