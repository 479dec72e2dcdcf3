"""Names that say nothing, promises, and traces of the machine that something was written on."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.architecture.sources import Source, python, texts, write_tree

EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|base|misc)$")

# Patterns are written so that they do not match themselves.
FORBIDDEN = {
    "a promise instead of work": re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b"),
    "a folder of one machine": re.compile(
        r"(?<![\w.~$}/-])/((work|root|home|Users)/\w|opt/[w]heels|tmp/[d]ev\b)"
    ),
    "a registry's address": re.compile(r"py[p]i\.org|python[h]osted|py[t]orch\.org/whl"),
}


def empty_names(sources: Iterable[Source]) -> list[str]:
    """Modules and folders whose name does not say what they hold."""
    found = set()
    for source in sources:
        for part in Path(source.name).with_suffix("").parts:
            if EMPTY_NAMES.search(part):
                found.add(f"{source.name}: {part} says nothing")
    return sorted(found)


def forbidden_words(sources: Iterable[Source]) -> list[str]:
    """Every line with a forbidden word, and why it is one."""
    return [
        f"{source.name}:{number}: {reason}: {match.group(0)}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), start=1)
        for reason, pattern in FORBIDDEN.items()
        if (match := pattern.search(line))
    ]


def test_every_module_has_a_name_that_says_what_it_holds() -> None:
    assert empty_names(python()) == []


def test_no_promises_no_paths_of_one_machine_no_registries() -> None:
    assert forbidden_words(texts()) == []


@pytest.mark.parametrize("name", ["utils", "ray_utils", "helpers", "common", "base", "misc"])
def test_an_empty_name_is_found(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path, {f"neural_render/{name}.py": "", "neural_render/database.py": ""})
    assert empty_names(python(tmp_path)) == [f"neural_render/{name}.py: {name} says nothing"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("# TO" + "DO: later", "a promise instead of work: TO" + "DO"),
        ("path = '/" + "work/x'", "a folder of one machine: /" + "work/x"),
        ("see /" + "home/me", "a folder of one machine: /" + "home/m"),
        ("https://py" + "pi.org/simple", "a registry's address: py" + "pi.org"),
    ],
)
def test_a_forbidden_word_is_found(tmp_path: Path, line: str, found: str) -> None:
    write_tree(tmp_path, {"a.md": f"fine\n{line}\n"})
    assert forbidden_words(texts(tmp_path)) == [f"a.md:2: {found}"]


def test_ordinary_paths_are_no_finding(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.md": "net/work/x ~/work/x $HOME/tmp/x ../shared/data outputs/tmp/x"})
    assert forbidden_words(texts(tmp_path)) == []
