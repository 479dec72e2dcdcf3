"""Bars go on telling the time while nothing moves."""

import io
import time
from collections.abc import Callable

from tqdm import tqdm

from neural_render.core.waiting.bars import Ticking


class Watched(tqdm):
    """A kind of bars of its own: those of other tests are not drawn."""

    monitor_interval = 0


def wait_for(what: Callable[[], bool]) -> None:
    ended = time.perf_counter() + 20
    while not what():
        assert time.perf_counter() < ended
        time.sleep(0.005)


def test_a_bar_that_stands_still_is_drawn_again_and_a_late_one_later() -> None:
    shown, late = io.StringIO(), io.StringIO()
    ticking = Ticking(Watched, 0.01)
    try:
        with Watched(total=3, file=shown, ncols=60), Watched(total=3, file=late, delay=3600):
            wait_for(lambda: shown.getvalue().count("0/3") > 3)
            assert late.getvalue() == ""
    finally:
        ticking.exit()
    drawn = shown.getvalue()
    time.sleep(0.05)
    assert shown.getvalue() == drawn and not ticking.is_alive()
