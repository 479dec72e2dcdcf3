"""A program for the tests of the command line."""

from pathlib import Path

import pytest

from neural_render.config import Command, Settings


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A program that uses all settings, with one preset."""
    (tmp_path / "configs/preset").mkdir(parents=True)
    preset = "# @package _global_\n# thirty seconds\ntraining:\n  max_seconds: 30\n"
    (tmp_path / "configs/preset/short.yaml").write_text(preset, encoding="utf-8")
    return Command(
        program="train.py",
        summary="Trains.",
        examples=("python train.py",),
        sections=tuple(Settings.__dataclass_fields__),
        short={"path": "render.path"},
        configs=tmp_path / "configs",
        needs_run=False,
    )
