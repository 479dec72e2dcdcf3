"""What takes long says so: nobody has to guess whether a program still works or hangs."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from neural_render.core.waiting.bars import bar_is_shown

FIRST = 2.0  # seconds before the first line: as long as people wait without wondering
EVERY = 10.0  # seconds between two lines

_log = logging.getLogger("neural_render")


@contextmanager
def told_if_slow(what: str, *, over_bars: bool = False) -> Iterator[None]:
    """Logs ``what`` and for how long it has been going on, after two seconds and every ten more.

    Also a decorator of functions. What is quick logs nothing, nor is anything said while a bar is
    shown, unless ``over_bars``: if that bar does not speak of it.
    """
    began, ended = time.perf_counter(), threading.Event()

    def tell() -> None:
        pause = FIRST
        while not ended.wait(pause):
            if over_bars or not bar_is_shown():
                _log.info("%s: %.0f s so far", what, time.perf_counter() - began)
            pause = EVERY

    teller = threading.Thread(target=tell, name="told_if_slow", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
