"""Suite ``render``: frames of the run's own test views."""

import json
from pathlib import Path

import pytest

from benchmarks.options import BenchmarkOptions
from benchmarks.pictures import frames


def test_frames_are_of_the_split_and_the_size_of_the_run(
    run_on_photos: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames.run(BenchmarkOptions(run=str(run_on_photos), repeats=1, threads=1))
    text = capsys.readouterr().out
    told = [line.split()[:2] for line in text.splitlines() if ".png" in line]
    assert told[:2] == [[f"images/000{index}.png", "12x9"] for index in (0, 4)]
    (line,) = (kept / "records" / "render.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert bool(record["phases"]) == (record["backend"] == "cpu") == ("share of wall" in text)
    assert sum(record["phases"].values()) <= 1
