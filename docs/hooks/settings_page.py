"""Fills the settings page from the code: each setting with default, type, limits and meaning."""

import sys
from html import escape
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS_MARK, PRESETS_MARK = "<!-- settings -->", "<!-- presets -->"
GENERAL = "General"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page's text; called by mkdocs for each page."""
    if SETTINGS_MARK in markdown:
        markdown = markdown.replace(PRESETS_MARK, presets())
        markdown = markdown.replace(SETTINGS_MARK, settings())
    return markdown


def settings() -> str:
    """A table for each section of the tree."""
    sys.path.insert(0, str(REPOSITORY))
    from neural_render.config.settings import Settings, list_settings

    groups: dict[str, list[Any]] = {}
    for setting in list_settings(Settings):
        groups.setdefault(setting.key.rpartition(".")[0] or GENERAL, []).append(setting)
    return "\n\n".join(f"## {name}\n\n{_table(members)}" for name, members in groups.items())


def presets() -> str:
    """What the files of ``configs/`` are for, in their own first words."""
    rows = []
    for folder in ("preset", "launcher"):
        for path in sorted((REPOSITORY / "configs" / folder).glob("*.yaml")):
            lines = path.read_text(encoding="utf-8").splitlines()
            words = [line.lstrip("# ") for line in lines if line.startswith("# ")]
            meaning = next((line for line in words if not line.startswith("@")), "")
            rows.append(f"<tr><td><code>{folder}={path.stem}</code></td><td>{meaning}</td></tr>")
    return f"<table><tr><th>prepared</th><th>what it is</th></tr>{''.join(rows)}</table>"


def _table(members: list[Any]) -> str:
    from neural_render.config.settings import typed

    rows = []
    for setting in members:
        limits = [
            f"at {word} {setting.metadata[key]:g}"
            for key, word in (("minimum", "least"), ("maximum", "most"))
            if key in setting.metadata
        ]
        wanted = ", ".join([setting.wanted, *limits])
        meaning = setting.metadata.get("help", "")
        rows.append(
            f'<tr id="{setting.key}"><td><code>{escape(typed(setting))}</code></td>'
            f"<td>{escape(meaning)}<br><small>{escape(wanted)}</small></td></tr>"
        )
    head = "<tr><th>setting and default</th><th>meaning</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"
