"""``scripts/inspect_capture.py``: what it says of a capture, and where it draws it."""

from pathlib import Path

import pytest

from tests.flows.programs import Finished, run_here


def inspect(
    *words: str | Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Finished:
    """The program, run here."""
    return run_here("scripts/inspect_capture.py", *words, monkeypatch=monkeypatch, capsys=capsys)


def test_a_capture_is_described_and_drawn(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A striped sphere has no distinct points: that is said, and is no fault."""
    monkeypatch.chdir(tmp_path)
    done = inspect(tiny, "name=ball", monkeypatch=monkeypatch, capsys=capsys)
    assert (done.code, done.errors) == (0, "")
    text = " ".join(done.output.split())  # in lines as long as the terminal's
    assert "12 training and 3 test photos (15 of 40x40), with opacity" in text
    assert "could not be checked" in done.output and "fault" not in done.output
    assert done.last_line == "outputs/inspect_ball/report.html"
    assert sorted(path.name for path in (tmp_path / "outputs/inspect_ball").iterdir()) == [
        "report.html",
        "views.png",
    ]


def test_a_folder_that_is_no_capture_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = inspect(tmp_path / "nothing", monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 2 and done.errors.count("\n") == 1
    assert "nothing is not there" in done.errors
