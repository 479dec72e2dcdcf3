"""Ranges, types and suggestions of settings."""

import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from neural_render.config.command import Command
from neural_render.config.composition import of_any_machine, run_job
from neural_render.config.settings import (
    Setting,
    Settings,
    changed_settings,
    check_ranges,
    closest,
    list_settings,
    settings_below,
    typed,
)
from neural_render.core.errors import SettingError
from neural_render.kernels.settings import KernelSettings
from neural_render.viewer.settings import ViewerSettings


@dataclass(kw_only=True)
class Inner:
    """A section."""

    ratio: float = field(default=0.5, metadata={"help": "a ratio"})


@dataclass(kw_only=True)
class Outer:
    """A section with a section in it."""

    inner: Inner = field(default_factory=Inner)
    names: tuple[int, ...] = (1, 2)
    on: bool = True


def test_leaves_come_before_sections_and_know_their_type() -> None:
    found = list_settings(Outer)
    assert [(leaf.key, leaf.kind) for leaf in found] == [
        ("names", tuple[int, ...]),
        ("on", bool),
        ("inner.ratio", float),
    ]
    assert [typed(leaf) for leaf in found] == ["names=[1,2]", "on=true", "inner.ratio=0.5"]


@pytest.mark.parametrize(
    ("kind", "default", "words"),
    [
        (int, 1, "a whole number"),
        (float, 1.0, "a number"),
        (bool, True, "true or false"),
        (tuple[int, ...], (1, 2), "a list like [1,2]"),
    ],
)
def test_what_is_wanted_is_said_in_words(kind: object, default: object, words: str) -> None:
    assert Setting(key="k", kind=kind, default=default, metadata={}).wanted == words


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(seed=-1), "seed=-1 is too small; give at least 0."),
        (
            Settings(kernels=KernelSettings(precision="flaot32")),
            "kernels.precision=flaot32 is not one of auto, float32, float16, bfloat16; did",
        ),
        (
            replace(Settings(), render=replace(Settings().render, fps=1e9)),
            "render.fps=1e+09 is too large; give at most 1000",
        ),
        (
            replace(Settings(), render=replace(Settings().render, fps=float("nan"))),
            "render.fps=nan is not a finite number; give a number.",
        ),
    ],
)
def test_what_is_out_of_range_is_named(settings: Settings, sentence: str) -> None:
    with pytest.raises(SettingError, match=re.escape(sentence)):
        check_ranges(settings)


def test_the_closest_name_is_found_by_its_last_part_first() -> None:
    known = ["training.max_seconds", "capture.max_side", "name"]
    assert closest("max_side", known) == "; did you mean capture.max_side?"
    assert closest("trainig.max_second", known) == "; did you mean training.max_seconds?"
    assert closest("zzz", known) == ""


def test_what_was_said_of_a_machine_is_not_of_the_run() -> None:
    stored = Settings(seed=3)
    stored.kernels = KernelSettings(threads=1, device="cuda", precision="float32")
    stored.viewer = ViewerSettings(show=True, port=9000)
    opened = of_any_machine(stored)
    assert changed_settings(opened) == {"seed": "3", "kernels.precision": "float32"}


@pytest.mark.parametrize(("word", "place"), [("a.json", "{}/a.json"), ("spiral", "spiral")])
def test_the_file_of_a_camera_path_is_found_from_anywhere(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", f"render.path={word}"])
    found: list[Settings] = []
    run_job(found.append, configs=command.configs, needs_run=False)
    assert found[0].render.path == place.format(tmp_path)


def test_settings_are_named_by_their_group() -> None:
    found = settings_below("capture.check", "render.lens")
    assert found == ("capture.check", "render.lens.aperture", "render.lens.focus")
