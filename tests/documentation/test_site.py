"""The documentation: it builds offline, asks no server for anything, and agrees with the code."""

import importlib.util
import re
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest

from neural_render.config.arguments import prepare
from neural_render.config.command import Command
from neural_render.config.settings import Settings, list_settings, typed
from tests.architecture.sources import PACKAGE, REPOSITORY
from tests.architecture.test_readme import blocks, programs, unknown_settings

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
LOADED = re.compile(r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?((?:https?:)?//[^"'\s>]+)""")
SOURCE = re.compile(r"`([a-z_]+(?:/[a-z0-9_]+)*\.(?:py|h|cpp))\b")
LINKED = re.compile(r"""<link[^>]*\shref=["']?((?:https?:)?//[^"'\s>]+)""")


def outside_requests(page: str) -> list[str]:
    """The addresses of other machines that a browser would ask when it opens the page."""
    return LOADED.findall(page) + LINKED.findall(page)


def missing_files(page: str) -> list[str]:
    """The source files that a page names, from the repository or the package on, and are gone."""
    return [
        name
        for name in SOURCE.findall(page)
        if not any((root / name).is_file() for root in (REPOSITORY, REPOSITORY / PACKAGE))
    ]


def command_of(program: str) -> Command:
    """What a program of this project says that it understands."""
    file = REPOSITORY / program
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.COMMAND


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_site_has_every_page_and_asks_no_server(site: Path) -> None:
    """Pages that no menu leads to, and links that lead nowhere, have ended the build before."""
    for page in PAGES:
        text = (site / f"{page.stem}.html").read_text(encoding="utf-8")
        assert outside_requests(text) == []


def test_the_settings_page_says_what_help_says(site: Path) -> None:
    page = (site / "settings.html").read_text(encoding="utf-8")
    for setting in list_settings(Settings):
        assert f"<code>{escape(typed(setting))}</code>" in page, setting.key
        assert escape(setting.metadata["help"]) in page, setting.key
    for path in (REPOSITORY / "configs").glob("*/*.yaml"):
        assert f"<code>{path.parent.name}={path.stem}</code>" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_tells_to_type_is_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert unknown_settings(text) == []
    for program, *words in sorted(set(programs(text))):
        if "--help" not in words:
            prepare(words, command_of(program).vocabulary)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_extras_on_a_page_exist(page: Path) -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r'pip install -e "\.\[(\w+)\]"', page.read_text(encoding="utf-8")):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    assert missing_files(page.read_text(encoding="utf-8")) == []


def test_a_file_that_is_gone_is_found() -> None:
    text = "`core/rays.py`, `kernels/ops.py: mlp`, `train.py`, `core/gone.py` and `FILE.py`"
    assert missing_files(text) == ["core/gone.py"]


def test_a_request_to_outside_is_found() -> None:
    page = '<link rel=x href="//fonts.org/a.css"><script src=https://cdn.org/x.js></script>'
    page += '<a href="https://fine.org">a link is no request</a><img src="a.png">'
    assert outside_requests(page) == ["https://cdn.org/x.js", "//fonts.org/a.css"]


def test_every_code_block_for_the_shell_is_read() -> None:
    assert sum(len(blocks(page.read_text(encoding="utf-8"))) for page in PAGES) > 5
