"""``scripts/compare.py``: runs side by side on the terminal and in a page, or why not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.programs import Finished, run_here
from tests.pages import Page, outside


@pytest.fixture
def other(trained_run: Path, tmp_path: Path) -> Path:
    """A copy of the trained run that differs in its seed and is a little better in one view."""
    copied = shutil.copytree(trained_run, tmp_path / "größe=1, [x]" / "other")
    shutil.rmtree(copied / "checkpoints")
    config = (copied / "config.yaml").read_text(encoding="utf-8")
    (copied / "config.yaml").write_text(config.replace("\nseed: 0", "\nseed: 7"), encoding="utf-8")

    def better(record: dict) -> None:
        record["psnr"] += 0.5
        record["views"][1]["psnr"] += 1.5

    change_record(copied, better)
    return copied


@pytest.fixture
def compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """``compare.py`` in an empty folder: words in, what it said out."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*words: str | Path) -> Finished:
        return run_here("scripts/compare.py", *words, monkeypatch=monkeypatch, capsys=capsys)

    return call


def change_record(run: Path, change: Callable[[dict], None]) -> None:
    path = run / "evaluation/metrics.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def refused(done: Finished, *parts: str) -> None:
    assert done.code == 2 and done.output == ""
    (line,) = done.errors.splitlines()
    assert line.startswith("error: ") and [part for part in parts if part not in line] == []


def test_two_runs_stand_side_by_side(
    compare: Callable[..., Finished], trained_run: Path, other: Path
) -> None:
    """A folder of a strange name is given as a word alone, too."""
    done = compare(trained_run, other)
    assert (done.code, done.errors) == (0, "")
    heads, first, second, page = done.output.splitlines()
    assert heads.split()[:3] == ["run", "PSNR", "dB"]
    assert first.split()[:2] == ["A", f"tiny/{trained_run.name}"]
    assert "+0.50" in second.split()
    assert page.startswith("outputs/comparisons/") and page.endswith(".html")
    text = Path(page).read_text(encoding="utf-8")
    assert outside(text) == []
    shown = Page(text)
    assert "größe=1, [x]/other" in shown.text and "seed 0 7" in shown.text
    assert shown.tags.count("article") == 3
    assert text.index('data-view="test/r_1') < text.index('data-view="test/r_0')


def test_the_page_goes_where_it_is_told(
    compare: Callable[..., Finished], trained_run: Path, other: Path, tmp_path: Path
) -> None:
    done = compare(f"output={tmp_path}/my page.html", trained_run, other)
    assert done.last_line == f"{tmp_path}/my page.html"
    assert Path(done.last_line).is_file() and not Path("outputs").exists()


def test_what_cannot_be_compared_is_refused_in_one_sentence(
    compare: Callable[..., Finished], trained_run: Path, other: Path, tmp_path: Path
) -> None:
    refused(compare(), "0 run folders were given, and two or more are compared")
    refused(compare(trained_run, tmp_path), "is not a run folder")
    change_record(other, lambda record: record["protocol"].update(background="black"))
    refused(compare(trained_run, other), "background is 'black' there and 'white' here")
    (other / "evaluation/metrics.json").unlink()
    refused(compare(trained_run, other), "metrics.json is missing or broken: measure that run")
