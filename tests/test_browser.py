"""Without a browser, tests that need one say so."""

import shutil

import pytest

from tests.browser import missing_browser


def test_a_missing_browser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "chromedriver" else name)
    assert missing_browser() == "chromedriver not installed"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert missing_browser() == "chromium and chromedriver not installed"
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert missing_browser() == ""
