"""Runs side by side: only what was measured alike, the largest differences first."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from neural_render.core.errors import EvaluationError
from neural_render.evaluation.pages.comparison import (
    MeasuredRun,
    check_alike,
    table,
    write_comparison,
)
from tests.evaluation.pages.runs import HOSTILE, measured_run
from tests.pages import Page, outside

STRIP = re.compile(r'class="strip" data-view="([^"]+)"')


def two(folder: Path, **how: Any) -> list[MeasuredRun]:
    """B is better in the first view, much worse in the second, and equal in the third."""
    return [
        measured_run(folder / "ball" / "A", [0.02, 0.02, 0.02], **how),
        measured_run(folder / "ball" / "B", [0.01, 0.2, 0.02], **how),
    ]


def written(folder: Path, runs: list[MeasuredRun], **settings: list[str]) -> str:
    path = folder / "out" / "page.html"
    write_comparison(path, runs, settings)
    return path.read_text(encoding="utf-8")


def test_runs_stand_below_each_other(tmp_path: Path) -> None:
    heads, first, second = table(two(tmp_path)).splitlines()
    words = "run PSNR dB to A training s to A steps to A"
    assert " ".join(heads.split()) == words
    assert first.split()[:2] == ["A", "ball/A"] and "+" not in first
    assert second.split()[:2] == ["B", "ball/B"] and re.search(r"-\d\.\d\d ", second)
    assert second.rstrip().endswith("+0 %")


def test_the_page_is_whole_and_begins_with_the_largest_difference(tmp_path: Path) -> None:
    page = written(tmp_path, two(tmp_path, flip=True), seed=["0", "<1>"])
    assert outside(page) == []
    parsed = Page(page)
    assert STRIP.findall(page) == ["r_1", "r_0", "r_2"]
    assert re.findall(r'<tr data-view="(\w+)"', page) == ["r_1", "r_0", "r_2"]
    assert parsed.tags.count("img") == 3 * 5 + 2, "a photo, two renders, two errors of each view"
    assert parsed.tags.count("polyline") == 3 * 2 * 2
    for words in ("ball: 2 runs", "ball/A", "ball/B", "seed", "<1>", "FLIP A", "Protocol of all"):
        assert words in parsed.text
    assert re.search(r'class="good">\+\d', page) and re.search(r'class="fault">−\d', page)


def test_each_error_map_is_called_what_it_is(tmp_path: Path) -> None:
    runs = [
        measured_run(tmp_path / "ball" / name, [0.1], flip=flip)
        for name, flip in (("A", True), ("B", False))
    ]
    check_alike(runs)
    page = written(tmp_path, runs)
    labels = re.findall(r"<figcaption>([^<]+)</figcaption>", page)
    assert labels == ["photo", "A", "B", "FLIP A", "error B"]
    assert "0.25 (absolute difference) or 0.5 (FLIP)" in Page(page).text


def test_names_are_escaped(tmp_path: Path) -> None:
    page = written(tmp_path, two(tmp_path, names=(HOSTILE, "b", "c")))
    assert "<script>alert" not in page and outside(page) == []


def test_equal_runs_say_so_and_pictures_may_be_missing(tmp_path: Path) -> None:
    runs = two(tmp_path, images=False)
    check_alike(runs)
    text = Page(written(tmp_path, [runs[0], runs[0]])).text
    assert "Nothing: these runs have the same settings" in text
    assert "written with evaluation.images=true" in text


def test_other_machines_are_named(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    second = replace(second, record={**second.record, "machine": {"processor": "a loom"}})
    text = Page(written(tmp_path, [first, second])).text
    assert "a loom" in text and "not stated" in text


def test_many_runs_have_a_letter_each(tmp_path: Path) -> None:
    runs = [measured_run(tmp_path / str(index) / "x", [0.01 * index]) for index in range(10)]
    page = written(tmp_path, runs)
    assert outside(page) == []
    assert Page(page).text.startswith("Comparison: 10 runs")
    assert page.count('class="s1 dashed"') == 3 * 2 and ">J</b>" in page


def test_runs_of_different_protocol_are_not_compared(tmp_path: Path) -> None:
    runs = [two(tmp_path)[0], measured_run(tmp_path / "ball/C", [0.1] * 3, split="every 8th")]
    with pytest.raises(
        EvaluationError, match="ball/C cannot be compared with ball/A: split is 'every 8th' there"
    ):
        check_alike(runs)


def test_runs_of_other_views_are_not_compared(tmp_path: Path) -> None:
    first = two(tmp_path)[0]
    other = measured_run(tmp_path / "ball/C", [0.1] * 3, names=("r_0", "r_1", "r_9"))
    with pytest.raises(EvaluationError, match="3 test views were measured there and 3 here, and r"):
        check_alike([first, other])
    fewer = measured_run(tmp_path / "ball/D", [0.1] * 2)
    with pytest.raises(EvaluationError, match="views is 'all 2' there and 'all 3' here"):
        check_alike([first, fewer])


def test_runs_of_other_photos_are_not_compared(tmp_path: Path) -> None:
    runs = two(tmp_path)
    check_alike(runs)
    path = runs[1].pictures / "r_1.png"
    with Image.open(path) as picture:
        Image.eval(picture, lambda level: 255 - level).save(path)
    with pytest.raises(EvaluationError, match="the photo of r_1 is another one there; compare run"):
        check_alike(runs)
