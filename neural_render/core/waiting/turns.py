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
    """Waits, and says so, until no other run works on ``folder``; a process's end unlocks it.

    Where another one has taken the folder's place meanwhile, that one is waited for.
    """
    handle = os.open(folder, os.O_RDONLY)
    told_at = -math.inf
    try:
        while not (is_held := lock(handle)) or not os.path.samestat(
            os.fstat(handle), folder.stat()
        ):
            if is_held:
                os.close(handle)
                handle = os.open(folder, os.O_RDONLY)
                continue
            if time.perf_counter() - told_at >= EVERY:
                told_at = time.perf_counter()
                _log.info("waiting for another run, which works on %s", folder)
            time.sleep(WAIT_SECONDS)
        yield
    finally:
        os.close(handle)
