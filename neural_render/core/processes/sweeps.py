"""What a sweep tells each of its jobs, wherever it runs: through the environment, not by settings,
which a run would keep."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

FOLDER, THREADS = "NEURAL_RENDER_JOB_FOLDER", "NEURAL_RENDER_JOB_THREADS"
LONGEST_FOLDER = 80  # characters of what tells a job from others


def own_folder(environment: Mapping[str, str] = os.environ) -> str:
    """The folder in which what this job makes of a run lies apart from what others of its sweep
    make; empty where it need not."""
    return environment.get(FOLDER, "")


def own_threads(environment: Mapping[str, str] = os.environ) -> int:
    """The CPU threads that are this job's share of the machine; 0: nobody said."""
    stated = environment.get(THREADS, "")
    return int(stated) if stated.isdecimal() else 0


def told(folder: str, threads: int = 0) -> dict[str, str]:
    """What the environment of a job says."""
    return {FOLDER: folder, THREADS: str(threads or "")}


@contextmanager
def told_here(folder: str) -> Iterator[None]:
    """Inside, this process is a job that has such a folder of its own."""
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        os.environ.pop(FOLDER)
        if before is not None:
            os.environ[FOLDER] = before


def folder_of(number: int, words: tuple[str, ...]) -> str:
    """The name of a job's folder: its number and what tells it from others; empty for no words."""
    short = re.sub(r"[^\w.=+-]+", "_", " ".join(words)).strip("_")
    return f"{number}_{short[:LONGEST_FOLDER]}" if words else ""
