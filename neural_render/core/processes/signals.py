"""How Ctrl-C and SIGTERM end a program: with one word, from its first line to its last."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a program as Ctrl-C does: what it began is put away first."""


def begin() -> None:
    """What a program does first, before PyTorch is loaded, which takes seconds.

    Ctrl-C ends it at once and without a traceback as long as it does not listen. Idle threads of
    torch's OpenMP pool spin by default and would take the cores away from the kernels' own threads;
    OpenMP reads whether they may when torch is loaded. Where it is already, nothing begins here.
    """
    if "torch" in sys.modules:
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


@contextmanager
def listening() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt and the first SIGTERM Terminated; a second one kills.

    What the system or a shell made the program ignore stays ignored. Outside the main thread
    nothing is changed, because Python delivers signals only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raising = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    before = {
        number: signal.signal(number, handler)
        for number, handler in raising.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Terminated


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{WORDS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)
