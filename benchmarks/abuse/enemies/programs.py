"""Programs as a user starts them, ended by signals; what must hold of them afterwards.

A program is the leader of a process group, as a terminal's job is, and all that it starts carries a
mark in its environment, by which what outlives it is found.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MARK = "NEURAL_RENDER_ABUSED"
PATIENCE = 240.0  # seconds for any program
END_SECONDS = 10.0  # that what it started has to end by itself
POLL_SECONDS = 0.0005
CODES = {signal.SIGINT: (130, -2), signal.SIGTERM: (143, -15), signal.SIGKILL: (-9,)}
SENTENCE = re.compile(r"(error|warning): .+|interrupted|terminated|Stopped by .+|.*: finishing .+")
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that was done, and all that was wrong afterwards."""

    part: str
    name: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a program said and how it ended."""

    code: int
    output: str
    errors: str
    seconds: float
    left: tuple[str, ...] = ()  # processes and memory that outlived it

    @property
    def last_line(self) -> str:
        """The last line on stdout; "" without any."""
        return (self.output.splitlines() or [""])[-1]

    def faults(self, *codes: int) -> list[str]:
        """What is wrong with its exit code, with what it said, and with what it left running."""
        found = [] if self.code in codes else [f"exit code {self.code}, not {codes}: {self._end}"]
        odd = [line for line in self.errors.splitlines() if line and not SENTENCE.fullmatch(line)]
        found += [f"said {odd[0][:200]!r} and {len(odd) - 1} more lines"] if odd else []
        if 2 in codes and self.code == 2 and len(self._complaints) != 1:
            found.append(f"{len(self._complaints)} sentences of error")
        return found + [f"left {what}" for what in self.left]

    @property
    def _complaints(self) -> list[str]:
        return [line for line in self.errors.splitlines() if line.startswith("error: ")]

    @property
    def _end(self) -> str:
        return " | ".join(self.errors.splitlines()[-2:])[:300]


@dataclass(frozen=True, kw_only=True)
class Started:
    """A running program."""

    process: "subprocess.Popen[bytes]"
    files: tuple[Path, Path]
    mark: str
    began: float = field(default_factory=time.monotonic)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the whole job, as a terminal's Ctrl-C does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def when(self, due: Callable[[float], bool]) -> bool:
        """Waits until ``due`` of the seconds since its start; False if it ended before."""
        while self.process.poll() is None:
            if due(time.monotonic() - self.began):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def ended(self) -> Ended:
        """Waits for its end, and for that of all that it started."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.process.wait()
            code = 124
        seconds = time.monotonic() - self.began
        output, errors = (path.read_text(errors="replace") for path in self.files)
        left = left_behind(self.mark)
        for path in self.files:
            path.unlink()
        return Ended(code=code, output=output, errors=errors, seconds=seconds, left=left)


def start(
    words: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Started:
    """A program of this repository (its path and its words) that runs in ``folder``."""
    mark = uuid.uuid4().hex
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", MARK: mark}
    files = []
    for _ in range(2):
        handle, name = tempfile.mkstemp(prefix="neural_render_said_")
        os.close(handle)
        files.append(Path(name))
    with files[0].open("wb") as output, files[1].open("wb") as errors:
        process = subprocess.Popen(
            [*prefix, sys.executable, str(ROOT / words[0]), *map(str, words[1:])],
            cwd=folder,
            env={**os.environ, **own, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    return Started(process=process, files=(files[0], files[1]), mark=mark)


def finished(words: Sequence[str | Path], *, folder: Path, **others: object) -> Ended:
    """The same, ended by itself."""
    return start(words, folder=folder, **others).ended()  # pyright: ignore[reportArgumentType]


def left_behind(mark: str) -> tuple[str, ...]:
    """Processes with a mark that do not end soon, which are ended here."""
    until = time.monotonic() + END_SECONDS
    while found := _marked(mark):
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    said = []
    for pid in found:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            os.kill(pid, signal.SIGKILL)
            said.append(f"a process: {words[-80:]}")
    return tuple(said)


def _marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def shared_memory() -> set[str]:
    """The names of segments of shared memory that no process has mapped."""
    names = {path.name for path in SHARED_MEMORY.glob("psm_*")} if SHARED_MEMORY.is_dir() else set()
    for entry in Path("/proc").iterdir():
        if names and entry.name.isdecimal():
            with suppress(OSError):
                text = (entry / "maps").read_text()
                names = {name for name in names if name not in text}
    return names


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their paths in it; a link is what it points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.fsencode(os.readlink(path))
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def leftovers(folder: Path) -> list[str]:
    """Faults: files that were to be renamed or removed, below a folder."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    odd = [
        name for name in names if re.search(r"\.partial|\.part\.|\.old|(^|/)\.\w+\.[^/]+$", name)
    ]
    return [f"left over: {name}" for name in sorted(odd)[:3]]
