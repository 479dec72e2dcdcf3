"""Runs side by side: only what was measured alike, and only what was measured."""

from pathlib import Path

import pytest

from neural_render.core.errors import CheckpointError, EvaluationError, SettingError
from neural_render.evaluation.records import write_json
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.results import comparison

PLAIN = {"split": "every 8th", "pose": "given", "metrics": {"psnr": "of 8 bits"}}


def measured(folder: Path, psnr: float, **protocol: str) -> RunFolder:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    figures = {"psnr": psnr, "ssim": 0.75, "flip": None, "num_steps": 1200}
    record = {**figures, "train_cpu_seconds": 30.2, "protocol": {**PLAIN, **protocol}}
    write_json(folder / "evaluation/metrics.json", record)
    return RunFolder.open(folder)


def test_runs_stand_below_each_other(tmp_path: Path) -> None:
    runs = [measured(tmp_path / "can/1", 24.5), measured(tmp_path / "can/2", 24.25)]
    heads, first, second = comparison(runs).splitlines()
    assert heads.split() == ["run", "PSNR", "to", "1st", "SSIM", "FLIP", "steps", "CPU"]
    assert first.split() == ["can/1", "24.50", "+0.00", "0.7500", "nan", "1,200", "30", "s"]
    assert second.split()[:3] == ["can/2", "24.25", "-0.25"]


def test_runs_of_different_protocol_are_not_compared(tmp_path: Path) -> None:
    runs = [measured(tmp_path / "can/1", 24.5), measured(tmp_path / "can/2", 26.0, pose="fitted")]
    with pytest.raises(EvaluationError, match="can/2 cannot be compared with can/1: pose is 'fit"):
        comparison(runs)


def test_one_run_and_one_that_was_never_measured(tmp_path: Path) -> None:
    run = measured(tmp_path / "can/1", 24.5)
    with pytest.raises(SettingError, match=r"runs=\[\.\.\.\] compares two runs or more"):
        comparison([run])
    (run.evaluation_path / "metrics.json").unlink()
    with pytest.raises(CheckpointError, match=r"metrics\.json is missing or broken: measure that"):
        comparison([run, run])
