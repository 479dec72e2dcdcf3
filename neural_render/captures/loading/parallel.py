"""Work on many photos at a time, which tells how far it is."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from neural_render.kernels import dispatch

MAX_THREADS = 16
LOG_EVERY = 10.0  # seconds between lines of the log where there is no terminal for a bar
BAR_AFTER = 2.0  # seconds: what ends sooner needs no bar

Item = TypeVar("Item")
Result = TypeVar("Result")

_log = logging.getLogger("neural_render")


def num_threads() -> int:
    """How many images are decoded at a time, where memory allows it."""
    return min(MAX_THREADS, dispatch.usable_cores())


def in_parallel(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    description: str,
    progress: bool,
    threads: int = 0,
) -> list[Result]:
    """``work`` of every item, in order; the error of the first item that fails, if one does.

    What takes long shows a bar, or without ``progress`` a line of the log every ten seconds; none
    where no ``description`` is given, because the caller tells of it.
    ``threads``: items at a time; 0: as many as there are cores.
    """
    results: list[Result] = []
    logged_at = time.perf_counter()
    with ThreadPoolExecutor(threads or num_threads()) as pool:
        futures = [pool.submit(work, item) for item in items]
        shown = tqdm(futures, desc=description, unit="image", disable=not progress, delay=BAR_AFTER)
        try:
            with shown as bar:
                for future in bar:
                    results.append(future.result())
                    tells = bool(description) and not progress
                    if tells and time.perf_counter() - logged_at >= LOG_EVERY:
                        logged_at = time.perf_counter()
                        _log.info("%s: %d of %d", description, len(results), len(items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return results
