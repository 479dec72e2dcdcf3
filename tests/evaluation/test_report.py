"""The report is one page that needs nothing beside it."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from neural_render.core.errors import OutputError
from neural_render.evaluation.chart import line_chart, ticks
from neural_render.evaluation.evaluate import evaluate
from neural_render.evaluation.protocol import EvaluationProtocol
from neural_render.evaluation.report import machine_description, read_curve, write_report
from neural_render.evaluation.settings import EvaluationSettings
from tests.evaluation.photos import FIGURES, image_of, make_views

VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    """Fails where a tag is closed that was not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for key, value in attrs if key in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for key, value in attrs if key in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def make_report(folder: Path, *, num_views: int = 3, curve: str = "") -> str:
    views = make_views(
        *[(24, 16)] * num_views, names=tuple(f"<view> {index}" for index in range(num_views))
    )
    record = evaluate(
        views,
        lambda index: image_of((views.image(index).float() / 255 + 0.01 * index).clamp(0, 1)),
        protocol=EvaluationProtocol(split="a & b", background="white", colour_space="srgb"),
        figures=FIGURES,
        settings=EvaluationSettings(flip=False),
        folder=folder / "evaluation",
        progress=False,
    )
    (folder / "metrics.jsonl").write_text(curve)
    write_report(
        folder / "report.html",
        title="a <b>field</b>",
        record=record,
        curve=folder / "metrics.jsonl",
        changed_settings={"training.max_seconds": 20, "name": "<x>"},
        machine=machine_description(),
    )
    return (folder / "report.html").read_text(encoding="utf-8")


def test_it_is_well_formed_and_asks_nobody(tmp_path: Path) -> None:
    lines = [{"step": s, "seconds": s / 10, "loss": 1 / (s + 1), "psnr": 20 + s} for s in range(9)]
    page = make_report(tmp_path, curve="\n".join(map(json.dumps, lines)) + '\n{"step": 9, "sec')
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.sources) == 3
    assert all(source.startswith("data:image/jpeg;base64,") for source in parser.sources)
    assert not re.search(r"https?:|url\(|@import|<script|<link", page)
    assert page.count("<svg") == 2


def test_text_is_escaped_and_figures_are_there(tmp_path: Path) -> None:
    page = make_report(tmp_path)
    assert "a &lt;b&gt;field&lt;/b&gt;" in page and "&lt;view&gt; 0" in page and "a &amp; b" in page
    assert "training.max_seconds=20" in page and "name=&lt;x&gt;" in page
    assert "500,000" in page and "every pixel" not in page
    assert "FLIP" not in page.split("Protocol")[0], "FLIP was not measured"
    assert "Training curves" not in page, "there is no curve"


def test_many_views_are_shown_from_worst_to_best(tmp_path: Path) -> None:
    page = make_report(tmp_path, num_views=12)
    strips = re.findall(r'<div class="soft">&lt;view&gt; (\d+)</div>', page)
    assert len(strips) == 8
    assert strips == sorted(strips, key=int, reverse=True), "each view was made worse than the last"
    assert {strips[0], strips[-1]} == {"11", "0"}


def test_without_a_view_there_is_still_a_report(tmp_path: Path) -> None:
    record = {
        "psnr": None, "ssim": None, "flip": None, "render_seconds": None, "num_views": 0,
        "train_seconds": 1.0, "train_cpu_seconds": 1.0, "num_steps": 1, "num_samples": 1,
        "num_samples_marched": 1, "num_rays": 1, "backend": "cpu", "precision": "float32",
        "protocol": {"resolution": "none"}, "views": [],
    }  # fmt: skip
    path = tmp_path / "report.html"
    write_report(
        path,
        title="t",
        record=record,
        curve=tmp_path / "none.jsonl",
        changed_settings={},
        machine={},
    )
    assert "mean over 0 test views" in path.read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.html" / "inside").write_text("")
    with pytest.raises(OutputError, match=r"report\.html cannot be written"):
        make_report(tmp_path)


def test_a_curve_leaves_out_what_is_no_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n[3]\n\n{"step": 2}\n{"st')
    assert read_curve(path) == [{"step": 1}, {"step": 2}]
    assert read_curve(tmp_path / "none") == []


class TestChart:
    def test_the_line_goes_from_corner_to_corner(self) -> None:
        svg = line_chart([0.0, 5.0, 10.0], [0.0, 50.0, 100.0], x_label="s", y_label="<dB>")
        tree = ElementTree.fromstring(svg)
        polyline = next(node for node in tree if node.tag == "polyline")
        points = [tuple(map(float, pair.split(","))) for pair in polyline.attrib["points"].split()]
        (left, bottom), (centre, middle), (right, top) = points[0], points[1], points[-1]
        assert left < centre < right and bottom > middle > top
        assert centre == pytest.approx((left + right) / 2, abs=0.1)
        assert middle == pytest.approx((top + bottom) / 2, abs=0.1)
        assert "&lt;dB&gt;" in svg

    def test_what_cannot_be_drawn_is_left_out(self) -> None:
        nan = float("nan")
        assert line_chart([0.0, 1.0], [nan, 2.0], x_label="", y_label="") == ""
        assert (
            line_chart([0.0, 1.0, 2.0], [0.0, -1.0, 5.0], x_label="", y_label="", log_y=True) == ""
        )
        assert "nan" not in line_chart([0.0, 1.0, 2.0], [1.0, nan, 2.0], x_label="", y_label="")

    def test_long_curves_are_thinned(self) -> None:
        steps = [float(step) for step in range(5000)]
        svg = line_chart(steps, steps, x_label="", y_label="")
        assert len(svg) < 12_000

    def test_a_constant_is_drawn(self) -> None:
        assert "<polyline" in line_chart([3.0] * 3, [7.0] * 3, x_label="", y_label="")

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
            (18.2, 31.4, [15, 20, 25, 30, 35]),
            (-3.1, -1.2, [-3.5, -3, -2.5, -2, -1.5, -1]),
        ],
    )
    def test_ticks_are_round_and_span_the_range(
        self, low: float, high: float, expected: list[float]
    ) -> None:
        assert ticks(low, high) == expected
