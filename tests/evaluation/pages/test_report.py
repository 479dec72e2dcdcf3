"""The report is one page that needs nothing beside it."""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import OutputError
from neural_render.evaluation.pages import report
from neural_render.evaluation.pages.figures import duration
from neural_render.evaluation.pages.plan import NO_PLAN, plan_of
from neural_render.evaluation.pages.report import write_report, write_unmeasured_report
from tests.evaluation.pages.runs import HOSTILE, curve, measure
from tests.pages import Page, outside
from tests.tiny_capture import write_blender_capture

STRIP = re.compile(r'class="strip" data-view="([^"]+)"')


def written(folder: Path, record: Mapping[str, Any], **other: Any) -> str:
    path = folder / "report.html"
    told: dict[str, Any] = {
        "title": "a <b>field</b>",
        "record": record,
        "curve": folder / "metrics.jsonl",
        "changed_settings": {"training.max_seconds": "20", "name": "<x>"},
        "plan": NO_PLAN,
    }
    write_report(path, **{**told, **other})
    return path.read_text(encoding="utf-8")


def test_it_is_whole_and_holds_what_a_run_is(tmp_path: Path) -> None:
    page = written(tmp_path, measure(tmp_path, [0.01, 0.02, 0.03], flip=True))
    assert outside(page) == []
    parsed = Page(page)
    assert parsed.tags.count("img") == 3 * 4 + 2, "four of each view, and two of the viewer"
    assert parsed.tags.count("svg") == 3 * 2, "loss, PSNR, rays a second; over time and over steps"
    assert all(label in page for label in (">photo<", ">render<", ">error<", ">FLIP<"))
    for words in (
        "a <b>field</b>",
        "mean over 3 test views, 24x16",
        "500,000",
        "12.5 s training",
        "rendering the test views",
        "measuring them",
        "training.max_seconds=20",
        "name=<x>",
        "split a & b",
        "PyTorch",
        "cores",
    ):
        assert words in parsed.text


def test_names_are_escaped(tmp_path: Path) -> None:
    page = written(tmp_path, measure(tmp_path, [0.01], names=(HOSTILE,)))
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert outside(page) == []


def test_what_was_not_measured_is_not_named(tmp_path: Path) -> None:
    page = written(tmp_path, measure(tmp_path, [0.01, 0.02]))
    shown = Page(page).text.split("Protocol")[0]
    assert "FLIP" not in shown and "0.25 (absolute difference)" in shown
    (tmp_path / "metrics.jsonl").unlink()
    page = written(tmp_path, measure(tmp_path, [0.01], images=False), curve=tmp_path / "none")
    assert "<svg" not in page and 'class="strip"' not in page and 'class="viewer"' not in page


def test_some_of_many_views_are_drawn_from_worst_to_best(tmp_path: Path) -> None:
    record = measure(tmp_path, [0.01 * index for index in range(40)])
    strips = [int(name.removeprefix("r_")) for name in STRIP.findall(written(tmp_path, record))]
    assert len(strips) == 16 and strips == sorted(strips, reverse=True)
    assert strips[0] == 39 and strips[-1] == 0, "the worst and the best"
    assert max(a - b for a, b in pairwise(strips)) <= 3, "and evenly between"
    page = written(tmp_path, record)
    assert "16 of 40 test views" in page and page.count("<tr data-view=") == 40


def test_pictures_stay_within_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = measure(tmp_path, [0.01 * index for index in range(8)])
    monkeypatch.setattr(report, "MAX_CHARACTERS", 70_000)
    page = written(tmp_path, record)
    assert 50_000 < len(page) < 70_000
    assert 0 < len(STRIP.findall(page)) < 8 and {"r_0", "r_7"} <= set(STRIP.findall(page))


def test_a_missing_picture_and_a_broken_one_are_passed_over(tmp_path: Path) -> None:
    record = measure(tmp_path, [0.01, 0.02, 0.03, 0.04])
    (tmp_path / "evaluation/r_0.png").unlink()
    (tmp_path / "evaluation/r_1.png").write_bytes(b"no picture")
    whole = (tmp_path / "evaluation/r_2.png").read_bytes()
    (tmp_path / "evaluation/r_2.png").write_bytes(whole[: len(whole) // 2])
    assert STRIP.findall(written(tmp_path, record)) == ["r_3"]


def test_without_a_view_there_is_still_a_report(tmp_path: Path) -> None:
    record = {
        "psnr": None, "ssim": None, "flip": None, "render_seconds": None, "num_views": 0,
        "train_seconds": 1.0, "train_cpu_seconds": 1.0, "num_steps": 1, "num_samples": 1,
        "num_samples_marched": 1, "num_rays": 1, "backend": "cpu", "precision": "float32",
        "protocol": {"resolution": "none"}, "views": [],
    }  # fmt: skip
    page = written(tmp_path, record)
    assert outside(page) == []
    assert "mean over 0 test views" in page


def test_a_bake_shows_what_it_is_worth_under_other_lights(tmp_path: Path) -> None:
    relit = [{"psnr": 30.126, "psnr_reference": 41.0, "lights": {"<key>": [0.5, 1.0, 2.0]}}]
    page = written(tmp_path, {**measure(tmp_path, [0.01]), "relit": relit})
    assert outside(page) == []
    assert "30.13 41.00 <key> 0.5 1 2" in Page(page).text


def test_the_plan_shows_cameras_and_how_good_their_views_are(tmp_path: Path) -> None:
    folder = write_blender_capture(tmp_path / "ball", num_train=6, num_test=3, size=16)
    capture = open_capture(CaptureSettings(path=str(folder)), progress=False)
    names = tuple(capture.test.names)
    page = written(
        tmp_path, measure(tmp_path, [0.01, 0.03, 0.02], names=names), plan=plan_of(capture)
    )
    assert outside(page) == []
    drawn = dict(re.findall(r'class="test (q\d)" d="[^"]+" data-view="([^"]+)"', page))
    assert drawn == {"q0": names[1], "q1": names[2], "q3": names[0]}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html cannot be written"):
        written(tmp_path, measure(tmp_path, [0.01]))


def test_a_run_that_was_not_measured_shows_why_and_its_curves(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(curve() + '{"step": 9, "sec')
    write_unmeasured_report(
        tmp_path / "report.html", title="t", why="a < b", curve=tmp_path / "metrics.jsonl"
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert outside(page) == []
    assert "a &lt; b" in page and page.count("<svg") == 6


def test_old_records_lack_what_came_later(tmp_path: Path) -> None:
    record = dict(measure(tmp_path, [0.01]))
    del record["machine"], record["evaluation_seconds"]
    page = Page(written(tmp_path, json.loads(json.dumps(record)))).text
    assert "Machine" not in page and "measuring them" not in page
    assert "rendering the test views" in page


def test_times_are_said_as_a_person_says_them() -> None:
    said = [duration(seconds) for seconds in (0.04, 51.04, 100.0, 1203.4, 3600.0, 7500.0)]
    assert said == ["0.0 s", "51.0 s", "1 min 40 s", "20 min 3 s", "1 h 0 min", "2 h 5 min"]
