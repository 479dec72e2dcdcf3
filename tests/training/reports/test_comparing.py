"""Which folders can stand side by side, and what they are called."""

import json
from pathlib import Path

import pytest

from neural_render.core.errors import CheckpointError, EvaluationError, SettingError
from neural_render.training.reports.comparing import measured_runs, opened_runs, short_names
from neural_render.training.runs.folder import RunFolder
from tests.evaluation.pages.runs import measure


def run_folder(path: Path, error: float = 0.1) -> str:
    """A run that was measured on one view."""
    (path / "checkpoints").mkdir(parents=True)
    measure(path, [error], images=False)
    return str(path)


def test_runs_are_called_by_what_tells_them_apart() -> None:
    paths = [Path("a/fox/1"), Path("a/fox/2")]
    assert short_names(paths) == ["fox/1", "fox/2"]
    assert short_names([*paths, Path("b/fox/1")]) == ["a/fox/1", "a/fox/2", "b/fox/1"]
    assert short_names([Path("x"), Path("a/x")]) == ["x", "a/x"]


def test_runs_are_opened_with_what_they_were_measured_by(tmp_path: Path) -> None:
    runs = opened_runs([run_folder(tmp_path / "ball/1"), run_folder(tmp_path / "ball/2", 0.2)])
    first, second = measured_runs(runs)
    assert (first.name, second.name) == ("ball/1", "ball/2")
    assert first.record["psnr"] > second.record["psnr"] and first.curve.is_file()


def test_fewer_than_two_and_one_twice_are_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "ball/1")
    with pytest.raises(SettingError, match="1 run folders were given, and two or more are comp"):
        opened_runs([folder])
    with pytest.raises(SettingError, match="ball/1 was given twice: give each run folder once"):
        opened_runs([folder, str(tmp_path / "ball/../ball/1")])
    with pytest.raises(CheckpointError, match="is not a run folder"):
        opened_runs([folder, str(tmp_path)])


def test_more_than_there_are_letters_are_refused(tmp_path: Path) -> None:
    for name in range(27):
        (tmp_path / str(name) / "checkpoints").mkdir(parents=True)
    with pytest.raises(SettingError, match="27 run folders were given, and 26 at most are compar"):
        opened_runs([str(tmp_path / str(name)) for name in range(27)])


@pytest.mark.parametrize("text", ["", "[]", '{"views": []}', '{"protocol": {}, "views": [{}]}'])
def test_what_was_never_measured_or_is_broken_is_named(tmp_path: Path, text: str) -> None:
    runs = opened_runs([run_folder(tmp_path / "ball/1"), run_folder(tmp_path / "ball/2")])
    (runs[1].evaluation_path / "metrics.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"ball/2/.*metrics\.json is missing or broken: meas"):
        measured_runs(runs)


def test_what_was_trained_further_since_is_named(tmp_path: Path) -> None:
    """Its curve and settings would stand beside the figures of an earlier step."""
    runs = opened_runs([run_folder(tmp_path / "ball/1"), run_folder(tmp_path / "ball/2")])
    steps = runs[1].measures()["num_steps"]
    runs[1].checkpoint_path(steps).mkdir()
    assert len(measured_runs(runs)) == 2
    runs[1].checkpoint_path(steps + 5).mkdir()
    said = f"^ball/2 was measured at step {steps} and trained to step {steps + 5}: measure it with"
    with pytest.raises(EvaluationError, match=f"{said} python scripts/evaluate.py run=.*ball/2 "):
        measured_runs(runs)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = RunFolder.open(Path(run_folder(tmp_path / "ball/1")))
    assert run.measures() == json.loads((run.evaluation_path / "metrics.json").read_text())
