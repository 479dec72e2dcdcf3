"""What takes long says so: nobody has to guess whether a program still works or hangs."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 10.0  # seconds, before the first line as between two

_log = logging.getLogger("neural_render")


@contextmanager
def told_if_slow(what: str) -> Iterator[None]:
    """Logs ``what`` and for how long it has been going on, every ten seconds of the block.

    Also a decorator of functions. What is quick logs nothing.
    """
    began, ended = time.perf_counter(), threading.Event()

    def tell() -> None:
        while not ended.wait(EVERY):
            _log.info("%s: %.0f s so far", what, time.perf_counter() - began)

    teller = threading.Thread(target=tell, name="told_if_slow", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
