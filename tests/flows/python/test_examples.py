"""The examples run, each under 40 lines, and leave what they promise."""

import ast
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import neural_render
from neural_render.core.errors import SettingError
from neural_render.training.sources.views import check_made_from
from tests.flows.programs import REPOSITORY

FOLDER = REPOSITORY / "examples"
NAMES = sorted(path.name for path in FOLDER.glob("*.py"))


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """An example run here in an empty folder: its words in, what it printed out."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def picture(name: str) -> np.ndarray:
    return np.asarray(Image.open(Path("outputs/examples") / name).convert("RGB"), dtype=float) / 255


def test_there_are_six_short_ones_that_say_how_to_run_them() -> None:
    assert len(NAMES) == 6
    for name in NAMES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, name
        told = ast.get_docstring(ast.parse(text)) or ""
        assert f"python examples/{name}" in told, name


def test_render_a_view(example, packaged: Path) -> None:
    said = example("render_a_view.py", packaged)
    assert said.startswith("<Scene tiny: 200 steps")
    assert picture("test_view.png").shape == (40, 40, 3)
    assert picture("own_view.png").shape == (240, 320, 3)
    depth = picture("depth.png")
    assert depth[0, 0].max() == 0
    assert depth[120, 160].min() > 0.2


def test_query_the_field(example, packaged: Path) -> None:
    hand, renderer = example("query_the_field.py", packaged).splitlines()
    assert hand.startswith("by hand: ")
    for one, other in zip(numbers(hand), numbers(renderer), strict=True):
        assert one == pytest.approx(other, abs=0.05)


def numbers(line: str) -> list[float]:
    words = line.replace("[", " ").replace("]", " ").split()
    return [float(word) for word in words if word.replace(".", "").isdigit()]


def test_turntable_gif(example, packaged: Path) -> None:
    example("turntable_gif.py", packaged, 3)
    film = Image.open("outputs/examples/turntable.gif")
    assert (film.n_frames, film.size) == (3, (240, 240))


def test_train_from_python(example, tiny: Path) -> None:
    said = example("train_from_python.py", 3, tiny)
    assert "<Scene from_python: 3 steps" in said
    assert picture("photo_and_render.png").shape == (40, 80, 3)


def test_your_own_field(example) -> None:
    assert "own_field.png" in example("your_own_field.py")
    shown = picture("own_field.png")
    assert shown[0, 0].min() == 1  # white behind it
    assert shown[110:130, 110:130].std() > 0.05


def test_your_own_rays(example) -> None:
    example("your_own_rays.py", 3)
    assert picture("own_rays.png").shape == (300, 300, 3)
    (run,) = Path("outputs/examples/own_rays").iterdir()
    with pytest.raises(SettingError, match=r"run=.* trained on rays that a program of its own"):
        check_made_from("photos", str(run))
    with pytest.raises(SettingError, match=r"own made, and has no cameras: render it from Python"):
        _ = neural_render.load(run).cameras
