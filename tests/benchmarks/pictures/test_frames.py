"""Suite ``render``: frames of the run's own test views."""

from pathlib import Path

import pytest

from benchmarks.options import BenchmarkOptions
from benchmarks.pictures import frames


def test_frames_are_of_the_split_and_the_size_of_the_run(
    run_on_photos: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames.run(BenchmarkOptions(run=str(run_on_photos), repeats=1, threads=1))
    told = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if ".png" in line]
    assert told[:2] == [[f"images/000{index}.png", "12x9"] for index in (0, 4)]
    assert (kept / "records" / "render.jsonl").is_file()
