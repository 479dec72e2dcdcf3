"""Programs that work on the same folder take turns."""

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neural_render.core.files import lock
from neural_render.core.waiting.patience import EVERY

WAIT_SECONDS = 0.1

_log = logging.getLogger("neural_render")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits, and says so, until no other run works on ``folder``; a process's end unlocks it."""
    handle = os.open(folder, os.O_RDONLY)
    told_at = -math.inf
    try:
        while not lock(handle):
            if time.perf_counter() - told_at >= EVERY:
                told_at = time.perf_counter()
                _log.info("waiting for another run, which works on %s", folder)
            time.sleep(WAIT_SECONDS)
        yield
    finally:
        os.close(handle)
