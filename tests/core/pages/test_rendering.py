"""Templates: text is escaped, files lie inside, mistakes are found."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from neural_render.core.errors import OutputError
from neural_render.core.pages.rendering import page_text, write_page
from tests.pages import outside

BODY = '{% extends "shell.html" %}{% block body %}<p>{{ words }}</p>{% endblock %}'


def template(folder: Path, text: str = BODY) -> Path:
    path = folder / "own.html"
    path.write_text(text)
    return path


def test_a_page_is_whole_and_its_text_is_escaped(tmp_path: Path) -> None:
    page = page_text(template(tmp_path), title="a <b>", words="<script>alert(1)</script> & é")
    assert outside(page) == []
    assert "<title>a &lt;b&gt;</title>" in page
    assert "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; é</p>" in page
    assert page.startswith("<!doctype html>") and "prefers-color-scheme: dark" in page


def test_files_and_data_go_in_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "own.js").write_text("if (1 < 2 && `{{ no template }}`) {}")
    script = '{% block script %}{{ asset("own.js") }} const x = {{ data | tojson }};{% endblock %}'
    page = page_text(
        template(tmp_path, BODY + script), title="", words="", data={"name": "</script><b>"}
    )
    assert "if (1 < 2 && `{{ no template }}`) {}" in page
    assert r'const x = {"name":"\u003c/script\u003e\u003cb\u003e"};' in page


def test_a_forgotten_word_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="'words' is undefined"):
        page_text(template(tmp_path), title="")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(OutputError, match=r"page\.html cannot be written"):
        write_page(tmp_path / "page.html", template(tmp_path), title="", words="")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<img src="picture.png">', ["picture.png"]),
        ("<style>p { background: url(x.png) }</style>", ["url("]),
        ('<a href="//example.org/">a</a>', ["//example.org/"]),
        ("<script>fetch('x')</script>", ["fetch"]),
        ("<style>@import 'x.css'</style>", ["@import"]),
        ('<a href="#here">a</a><img src="data:,">', []),
    ],
)
def test_what_refers_outside_is_found(body: str, found: list[str]) -> None:
    assert outside(f"<p>default-src 'none'</p>{body}") == found
    assert outside(body) == [*found, "no content security policy"]
