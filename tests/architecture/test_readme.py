"""What the README tells a newcomer to type exists and is understood."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from neural_render.config.settings import Settings, list_settings
from tests.architecture.sources import REPOSITORY
from tests.flows.programs import run, run_here

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^(?:<!-- ci: (?P<mark>\S+) -->\n)?```bash\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"!?\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One code block for the shell; ``mark`` is what CI knows it by, or ""."""

    mark: str
    commands: tuple[tuple[str, ...], ...]


def blocks(text: str) -> list[Block]:
    """The code blocks, each command split into words, without comments."""
    return [
        Block(
            mark=match["mark"] or "",
            commands=tuple(
                tuple(words)
                for line in match["body"].splitlines()
                if (words := shlex.split(line, comments=True))
            ),
        )
        for match in BLOCK.finditer(text)
    ]


def programs(text: str) -> Iterator[tuple[str, ...]]:
    """The documented calls of this project's own programs: program and arguments."""
    for block in blocks(text):
        for words in block.commands:
            if words[0].startswith("python") and len(words) > 1 and words[1].endswith(".py"):
                yield words[1:]


def missing_files(text: str, root: Path) -> list[str]:
    """Programs in code blocks, and targets of links and pictures, that are not there."""
    names = {call[0] for call in programs(text)} | {match[1] for match in LINK.finditer(text)}
    names |= {words[1] for block in blocks(text) for words in block.commands if words[0] == "bash"}
    return sorted(name for name in names if not (root / name).exists())


def unknown_settings(text: str) -> list[str]:
    """Dotted names in running text that look like settings of the tree and are none, or are given
    a value that is none of their choices."""
    known = {setting.key: setting.metadata for setting in list_settings(Settings)}
    groups = {key.split(".")[0] for key in known if "." in key}
    written = [match[1] for match in INLINE.finditer(BLOCK.sub("", text))]
    looks_like = re.compile(rf"({'|'.join(sorted(groups))})(\.\w+)+")
    unknown = [
        name
        for name in (words.split("=")[0] for words in written)
        if looks_like.fullmatch(name) and name not in known and not (REPOSITORY / name).exists()
    ]
    for name, value in (words.split("=") for words in written if words.count("=") == 1):
        choices = list(map(str, known.get(name, {}).get("choices", ())))
        if choices and not set(re.split("[|,]", value)) <= {*choices}:
            unknown.append(f"{name}={value}")
    return sorted(unknown)


def test_the_first_block_runs_the_main_job_and_the_second_the_tests() -> None:
    first, second = [block for block in blocks(README) if block.mark][:2]
    assert first.mark == "set-up"
    assert first.commands[-1] == ("python", "train.py")
    assert second.mark == "test"
    assert second.commands[-1][:3] == ("python", "-m", "pytest")


def test_ci_runs_every_marked_block() -> None:
    script = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    marks = [block.mark for block in blocks(README) if block.mark]
    assert len(marks) == README.count("<!-- ci:")
    assert [mark for mark in marks if f"readme_block {mark})" not in script] == []


def test_documented_files_exist() -> None:
    assert missing_files(README, REPOSITORY) == []


def test_documented_extras_exist() -> None:
    tables = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    written = set(re.findall(r'pip install -e "\.\[(\w+)\]"', README))
    assert written
    assert written <= tables["project"]["optional-dependencies"].keys()


def test_documented_settings_exist() -> None:
    assert unknown_settings(README) == []


CALLS = sorted(set(programs(README)))
# Programs that tests of flows start anyway.
STARTED = {"train.py", "render.py", "scripts/bake.py"}
FIRST = {
    name: next(call for call in CALLS if call[0] == name)
    for name in {c[0] for c in CALLS} - STARTED
}


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_documented_commands_are_understood(
    call: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each composes its settings; nothing is trained, rendered or left behind.

    A program's first call is a process, which takes seconds to start, where no other test starts
    it; all others run in this one.
    """
    more = [] if "--help" in call else ["--cfg", "job"]
    words = list(call)
    if "-m" in call:  # of a sweep the first job
        words = [word.split(",")[0] for word in call if word != "-m"]
    monkeypatch.chdir(tmp_path)
    if call in FIRST.values():
        done = run(*words, *more, folder=tmp_path)
    else:
        done = run_here(*words, *more, monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 0, done.errors
    assert done.output
    assert list(tmp_path.iterdir()) == []


BROKEN = """
Set `training.sceonds=3`, `capture.check=quick`, or `field.grid.levels`, see [this](gone.md) and
`training.py`.

<!-- ci: set-up -->
```bash
python gone.py name=fox  # a comment
bash .ci/walk
python train.py 'name=a b'
```
"""


def test_what_is_documented_and_not_there_is_found() -> None:
    assert missing_files(BROKEN, REPOSITORY) == [".ci/walk", "gone.md", "gone.py"]
    assert unknown_settings(BROKEN) == ["capture.check=quick", "training.py", "training.sceonds"]


def test_a_block_is_read_as_the_shell_reads_it() -> None:
    (block,) = blocks(BROKEN)
    assert block.mark == "set-up"
    assert list(programs(BROKEN)) == [("gone.py", "name=fox"), ("train.py", "name=a b")]
