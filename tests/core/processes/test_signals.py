"""Programs that signals end: one word, the shell's exit code, and what was begun is put away."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from neural_render.core.processes.signals import Terminated, begin, listening

STARTING = """
import os, signal
from neural_render.core.processes import signals

signals.begin()
os.kill(os.getpid(), signal.SIGINT)
raise SystemExit("the signal was not heard")
"""


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Ctrl-C is heard here, wherever the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_program_that_is_still_being_loaded_ends_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_program_that_is_called_in_another_one_begins_nothing() -> None:
    begin()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_ends_a_program_raises_where_it_works_and_only_there() -> None:
    before = signal.getsignal(signal.SIGTERM)
    for number, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)):
        with pytest.raises(error), listening():
            os.kill(os.getpid(), number)
            pytest.fail("the signal was not heard")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_sigterm_kills() -> None:
    with listening():
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with listening():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
