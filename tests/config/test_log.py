"""The package's log on the terminal."""

import io
import logging
import sys
from pathlib import Path

import pytest

from neural_render.config.log import listen


def test_a_line_is_in_the_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who watches the file of a viewer that runs on and on finds its address there."""
    with (tmp_path / "log").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        listen()
        logging.getLogger("neural_render").info("viewer: http://127.0.0.1:8080")
        assert (tmp_path / "log").read_text() == "viewer: http://127.0.0.1:8080\n"


def test_warnings_are_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    listen()
    logging.getLogger("neural_render").warning("no test photos")
    assert (out.getvalue(), err.getvalue()) == ("", "warning: no test photos\n")
