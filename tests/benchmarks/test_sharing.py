"""Suite ``processes``: both ways are trained alike with each seed, and kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.captures import sharing
from benchmarks.options import BenchmarkOptions, parsed
from neural_render.core.errors import SettingError


def test_each_seed_is_trained_both_ways(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def trained(words: Sequence[str], processes: int = 1) -> dict[str, Any]:
        asked.append((words[-1], processes))
        assert "training.num_steps=7" in words and "capture.path=there" in words
        assert "kernels.threads=1" in words
        figures = {"psnr": 20.0 + 0.5 * (processes - 1), "ssim": 0.5, "train_seconds": 2.0}
        return {**figures, "num_rays": 3, "num_samples": 4, "views": []}

    monkeypatch.setattr(sharing, "trained", trained)
    words = ["suite=processes", "processes=3", "steps=7", "seeds=4,5", "capture=there", "threads=1"]
    sharing.run(parsed(BenchmarkOptions, words))
    each = [1, 3, 1]
    assert asked == [(f"seed={seed}", processes) for seed in (4, 5) for processes in each]
    assert "mean difference +1.000 dB, of one again +0.000" in capsys.readouterr().out
    (line,) = (kept / "records/processes.jsonl").read_text().splitlines()
    found = json.loads(line)["results"]
    assert [(pair["seed"], pair["several"]["psnr"]) for pair in found] == [(4, 21.0), (5, 21.0)]
    assert "views" not in found[0]["one"]


def test_one_process_is_nothing_to_compare() -> None:
    with pytest.raises(SettingError, match="compares one process with 2 or more"):
        sharing.run(parsed(BenchmarkOptions, ["suite=processes", "processes=1"]))
