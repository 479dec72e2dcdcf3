"""Runs programs of the command line in forks of this process, which has imported all they need.

Starting Python and importing torch takes seconds; a fork takes milliseconds. This process starts
no threads of its own and computes nothing, so that its forks are whole.
"""

import ctypes
import importlib
import importlib.util
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import ModuleType

from benchmarks.abuse.cases import WELL, Answer

ROOT = Path(__file__).resolve().parents[2]
# What programs import at their work.
LATE = ("scipy.ndimage", "scipy.spatial", "trimesh", "PIL.Image")
SECONDS = 60.0
MEMORY = 12 << 30
LARGEST_FILE = 1 << 30
GRACE = 3.0  # seconds for a program's own processes to end after it
VISIBLE_SECONDS = 10  # that a program serves
INTERRUPTED = 130  # exit code
IGNORES_PERMISSIONS = (1, 2)  # the capabilities with which root reads and writes anything
PR_CAPBSET_DROP, CAPABILITY_VERSION = 24, 0x20080522


def load(program: str) -> ModuleType:
    """The module of ``train.py``, ``scripts/bake.py`` ..., with what it imports."""
    path = ROOT / program
    spec = importlib.util.spec_from_file_location(f"{path.stem}_program", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_program(
    program: str, words: Sequence[str], folder: Path, *, serves: bool = False
) -> Answer:
    """How a program ended that was started in ``folder``; one that serves, by Ctrl-C."""
    return forked(_starting(program, words, VISIBLE_SECONDS if serves else 0), folder)


def _starting(program: str, words: Sequence[str], until: int = 0) -> Callable[[], int]:
    """The program's main function on some words, interrupted after so many seconds (0: never)."""
    module = load(program)
    for name in LATE:
        with suppress(ImportError):
            importlib.import_module(name)

    def start() -> int:
        sys.argv[:] = [program, *words]
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.alarm(until)
        code = module.config.main(module.COMMAND, module.main)
        return WELL if until and code == INTERRUPTED else code

    return start


def forked(start: Callable[[], int], folder: Path, seconds: float = SECONDS) -> Answer:
    """How a function ended in a process of its own, whose exit code it gives."""
    began = time.monotonic()
    process, said = _forked(start, folder)
    late = not _joined(process, seconds)
    spent = time.monotonic() - began
    output, errors = (_text(path) for path in said)
    for path in said:
        path.unlink()
    return Answer(
        code=process.exitcode or 0,
        output=output,
        errors=errors,
        seconds=spent,
        late=late,
        left=_ended(folder),
    )


@dataclass(frozen=True, kw_only=True)
class Served:
    """A program that runs until it is told to end."""

    process: ForkProcess
    said: tuple[Path, Path]

    def alive(self) -> bool:
        return self.process.is_alive()

    def output(self) -> str:
        return _text(self.said[0])

    def errors(self) -> str:
        return _text(self.said[1])

    def ended(self) -> bool:
        """Whether it ends when it is told to; in the end it has ended anyhow."""
        self.process.terminate()
        return _joined(self.process, SECONDS)


@contextmanager
def serving(program: str, words: Sequence[str], folder: Path) -> Iterator[Served]:
    """A program that runs in ``folder`` as long as the block does."""
    process, said = _forked(_starting(program, words), folder)
    served = Served(process=process, said=said)
    try:
        yield served
    finally:
        served.ended()
        _ended(folder)


def _forked(start: Callable[[], int], folder: Path) -> tuple[ForkProcess, tuple[Path, Path]]:
    """The process, and the files of what it says on stdout and stderr."""
    said = folder.with_name(f"{folder.name}.out"), folder.with_name(f"{folder.name}.err")
    for path in said:
        path.touch()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_alone, args=(start, folder, said))
    process.start()
    return process, said


def _joined(process: ForkProcess, seconds: float) -> bool:
    """Whether a process ended within some seconds; its group is killed where it did not."""
    process.join(seconds)
    late = process.is_alive()
    if late and process.pid is not None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return not late


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _alone(start: Callable[[], int], folder: Path, said: tuple[Path, Path]) -> None:
    """In the fork: a group, a folder, limits and output of its own, then the program."""
    os.setsid()
    os.chdir(folder)
    for number, path in zip((1, 2), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False
    )
    logging.getLogger().handlers.clear()
    os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(folder.parent)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _obey_permissions()
    sys.exit(start())


def _obey_permissions() -> None:
    """Makes root meet files that forbid reading and writing, as everybody else does."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then those of high numbers
    libc.capget(header, sets)
    for capability in IGNORES_PERMISSIONS:
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        for place in range(3):
            sets[place] &= ~(1 << capability)
    libc.capset(header, sets)


def _ended(folder: Path) -> int:
    """How many processes still work in a folder after some patience; they are ended."""
    end = time.monotonic() + GRACE
    while (found := _working_in(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return len(found)


def _working_in(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if entry.readlink() == folder:
                found.append(int(entry.parent.name))
        except OSError:  # it ended, or is somebody else's
            continue
    return found
