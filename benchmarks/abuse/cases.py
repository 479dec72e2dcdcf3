"""One broken input: how it is made, how a program met it, and what may be said against that."""

import hashlib
import random
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LONGEST = 500  # letters of a sentence: that on a folder of no known format names them all
NAMES_OF_PYTHON = re.compile(
    r"Traceback|\b[A-Z]\w*(Error|Exception|Warning)\b|<class |<\w+ object|\bNoneType\b|\berrno\b"
    r"|\[Errno|\b0x[0-9a-f]{6,}"
)
WELL, REFUSED = 0, 2  # exit codes

Damage = Callable[[Path, random.Random], object]


def nothing(folder: Path, chance: random.Random) -> None:
    """Leaves the input as it is: the words are what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """What is wrong, by hand: done to the input's folder, or said in further words."""

    damage: Damage = nothing
    words: tuple[str, ...] = ()
    about: tuple[str, ...] = ()  # what the sentence may name in place of the input


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A door of the program: a command on an input that it takes as long as nobody damages it.

    ``{it}`` in the words stands for the input's folder.
    """

    name: str
    group: str
    program: str
    words: tuple[str, ...]
    make: Callable[[Path], object]
    victims: tuple[str, ...] = ()  # patterns of the files that are damaged in general ways
    by_hand: Mapping[str, Broken] = field(default_factory=dict)
    sound: bool = True  # the undamaged input is taken
    needs_run: bool = False  # to make the input
    serves: bool = False  # until Ctrl-C, which comes by itself


@dataclass(frozen=True, kw_only=True)
class Case:
    """One broken input of an entry."""

    entry: Entry
    what: str
    broken: Broken
    seed: int
    generated: bool

    def words(self, folder: Path) -> list[str]:
        """What the program is told."""
        words = (*self.entry.words, *self.broken.words)
        return [word.replace("{it}", str(folder)) for word in words]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program made of an input: its exit code, negative for a signal, and what it said."""

    code: int
    output: str
    errors: str
    seconds: float
    late: bool  # it had to be ended
    left: int  # processes that it left behind


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A case and what can be said against how the program met it; it counts unless it went well."""

    case: Case
    command: str
    answer: Answer
    faults: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Whether the input was broken indeed: a program that takes it and says so is right."""
        return self.answer.code != WELL or bool(self.faults)


def inventory(folder: Path) -> dict[str, str]:
    """What lies in a folder: of each entry its kind, its permissions and its contents."""
    return {
        str(path.relative_to(folder)): _described(path)
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def _described(path: Path) -> str:
    mode = path.lstat().st_mode
    kind = f"{stat.S_IFMT(mode):o} {stat.S_IMODE(mode):o}"
    if stat.S_ISLNK(mode):
        return f"{kind} {path.readlink()}"
    # A file that nobody may read keeps its size at least.
    if not stat.S_ISREG(mode):
        return kind
    content = path.read_bytes() if mode & stat.S_IRUSR else str(path.stat().st_size).encode()
    return f"{kind} {hashlib.sha256(content).hexdigest()}"


def faults_of(answer: Answer, about: Sequence[str], changes: Sequence[str]) -> list[str]:
    """What is wrong with an ending; a well one must only be free of traces of a bug."""
    found = []
    if answer.late:
        found.append(f"still running after {answer.seconds:.0f} s")
    if answer.left:
        found.append(f"{answer.left} processes left behind")
    if "Traceback (most recent" in answer.errors + answer.output:
        found.append("a traceback")
    if answer.code == WELL:
        return found
    if answer.code != REFUSED:
        found.append(f"exit code {answer.code}")
    lines = [line for line in answer.errors.splitlines() if not line.startswith("warning: ")]
    if len(lines) != 1 or not lines[0].startswith("error: "):
        found.append(f"{len(lines)} lines on stderr and not one sentence")
    found += [fault for line in lines[:1] for fault in faults_of_sentence(line, about)]
    return found + [f"changed: {change}" for change in changes]


def faults_of_sentence(sentence: str, about: Sequence[str]) -> list[str]:
    """What is wrong with the words of a sentence."""
    found = []
    if len(sentence) > LONGEST:
        found.append(f"{len(sentence)} letters")
    if named := NAMES_OF_PYTHON.search(sentence):
        found.append(f"it says {named[0]!r}")
    if not any(word in sentence for word in about):
        found.append("it does not name what is wrong")
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was added, lost or changed."""
    names = sorted({*before, *after})
    return [name for name in names if before.get(name) != after.get(name)]
