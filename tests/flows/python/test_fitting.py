"""``neural_render.fit``: the run of ``train.py``, begun from a Python program."""

import dataclasses
from pathlib import Path

import pytest

import neural_render
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.captures.settings import CaptureSettings
from neural_render.config import load_settings
from neural_render.fields import FieldSettings, GridSettings
from neural_render.training.settings import TrainingSettings
from tests.flows.programs import run_here, weights_of
from tests.training.problems import StripedBall

STEPS = 3
FIELD = FieldSettings(grid=GridSettings(levels=4, coarsest=8, finest=64), width=32, far_rows=8)
TRAINING = TrainingSettings(samples_per_step=2048, points_first=0.5, tensorboard=False)
SAME = ("capture", "field", "training", "rendering", "kernels", "seed", "name")
WORDS = (
    "field.grid.levels=4",
    "field.grid.coarsest=8",
    "field.grid.finest=64",
    "field.width=32",
    "field.far_rows=8",
    "training.samples_per_step=2048",
    "training.points_first=0.5",
    "training.tensorboard=false",
    "capture.adjust.exposure=true",
    "capture.adjust.poses=true",
    "capture.adjust.appearance=2",
    "render.output=none",
)


@pytest.fixture
def fitted(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that was begun from Python."""
    monkeypatch.chdir(tmp_path)
    adjust = AdjustmentSettings(exposure=True, poses=True, appearance=2)
    photos = CaptureSettings(path=str(tiny), adjust=adjust)
    scene = neural_render.fit(
        photos, tmp_path, steps=STEPS, name="fitted", field=FIELD, training=TRAINING
    )
    return scene.path


def test_it_is_as_on_the_command_line_and_goes_on_there(
    fitted: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cameras are learnt, too, and space is filled as its settings say."""
    words = (f"capture.path={tiny}", "name=fitted", f"training.num_steps={STEPS}", *WORDS)
    done = run_here("train.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 0, done.errors
    trained = Path(done.last_line)
    alike = weights_of(fitted, STEPS) == weights_of(trained, STEPS)
    assert alike, "bit for bit"  # pytest would look for the difference for minutes
    own, other = (load_settings(run / "config.yaml") for run in (fitted, trained))
    for name in SAME:
        assert getattr(own, name) == getattr(other, name), name
    words = (f"run={fitted}", f"training.num_steps={STEPS + 2}", "render.output=none")
    done = run_here("train.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 0, done.errors
    assert (fitted / f"checkpoints/{STEPS + 2}").is_dir()


def test_the_settings_of_rays_of_ones_own_are_stored(tmp_path: Path) -> None:
    scene = neural_render.fit(StripedBall(), tmp_path, steps=2, field=FIELD, training=TRAINING)
    stored = load_settings(scene.path / "config.yaml")
    assert stored.training == dataclasses.replace(TRAINING, num_steps=2)
    assert stored.field.grid.log2_rows == scene.trained.record.field.grid.log2_rows
    assert (stored.outputs, stored.name) == (str(tmp_path), "python")


def test_the_budget_may_be_that_of_the_settings(tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, num_steps=3)
    scene = neural_render.fit(StripedBall(), tmp_path, field=FIELD, training=training)
    assert scene.trained.progress.step == 3
