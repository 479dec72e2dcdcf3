"""What ``--help`` prints: every setting with its default and its meaning, in groups."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from neural_render.config.settings import Setting, typed

INDENT = 36  # the column where the meanings begin

OPTIONS = (
    ("--help", "this page"),
    ("--version", "the version"),
    (
        "--multirun, -m",
        "one run for each combination of comma-separated values and of what patterns match:"
        " -m seed=0,1,2 'capture.path=photos/*'",
    ),
    ("--cfg job", "print the settings as they are said, without those of a run; run nothing"),
)


def manual(
    *,
    program: str,
    summary: str,
    examples: Sequence[str],
    settings: Sequence[Setting],
    short: Mapping[str, str],
    presets: Sequence[Path],
    launchers: Sequence[Path],
) -> str:
    """The whole help page of a command."""
    blocks = [
        summary.strip(),
        f"usage: python {program} [SETTING=VALUE ...]",
        "\n".join(["examples:", *(f"  {example}" for example in examples)]),
    ]
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    for name, members in groups.items():
        rows = [_row(typed(setting), setting.metadata.get("help", "")) for setting in members]
        blocks.append("\n".join([name or "settings (as SETTING=DEFAULT)", *rows]))
    if short:
        rows = [_row(f"{name}=" if name else "WORD", f"{full}=") for name, full in short.items()]
        blocks.append("\n".join(["short for", *rows]))
    if presets:
        rows = [_row(f"preset={path.stem}", _first_comment(path)) for path in presets]
        blocks.append("\n".join(["presets", *rows]))
    if launchers:
        rows = [_row(f"launcher={path.stem}", _first_comment(path)) for path in launchers]
        blocks.append("\n".join(["with -m, instead of one run after the other", *rows]))
    blocks.append("\n".join(["options", *(_row(*option) for option in OPTIONS)]))
    return "\n\n".join(blocks)


def _row(left: str, meaning: str) -> str:
    """One entry: what is typed on the left, its meaning wrapped on the right."""
    width = max(shutil.get_terminal_size((100, 24)).columns, 60)
    lines = textwrap.wrap(meaning, width - INDENT, break_on_hyphens=False) or [""]
    left = f"  {left}"
    if len(left) >= INDENT - 1:
        lines.insert(0, "")
    right = ("\n" + " " * INDENT).join(lines)
    return (left.ljust(INDENT) if lines[0] else left) + right


def _first_comment(path: Path) -> str:
    """The meaning of a preset: the first comment line of its file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and not text.startswith("@"):
            return text
    return ""
