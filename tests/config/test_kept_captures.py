"""What is said of a run's capture where the run is opened again."""

import sys
from pathlib import Path

import pytest

from neural_render.config import Command, Settings, main, yaml_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run on photos."""
    stored = Settings()
    stored.capture.path, stored.capture.scene = str(tmp_path / "fox"), "bounded"
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(yaml_of(stored), encoding="utf-8")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "word",
    ["frames=80", "matching=sequential", "mapper=global", "camera_model=OPENCV", "scene=auto"],
)
def test_photos_are_not_found_and_placed_otherwise(
    command: Command,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", f"run={run}", f"capture.{word}"])
    assert main(command, lambda settings: None) == 2
    assert f"capture.{word} cannot be had in a run" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("capture.path=",)])
def test_no_path_is_that_of_the_run(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    found: list[Settings] = []
    monkeypatch.setattr(sys, "argv", ["train.py", f"run={run}", *words])
    assert main(command, found.append) == 0
    assert found[0].capture.path == str(run.with_name("fox"))
