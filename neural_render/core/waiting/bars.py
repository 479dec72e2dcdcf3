"""Progress bars whose clock goes on while their work does not: nobody takes them for dead."""

import sys
import time

from tqdm import TMonitor, tqdm

EVERY = 1.0  # seconds


class Ticking(TMonitor):
    """Draws every bar of the process anew that has not been drawn for ``sleep_interval`` seconds.

    tqdm's own watcher, whose place it takes, lets a bar stand still until its next step is done.
    """

    def run(self) -> None:
        """Until `exit`."""
        while not self.was_killed.wait(self.sleep_interval):
            with self.tqdm_cls.get_lock():
                self._draw_again(time.time())

    def _draw_again(self, now: float) -> None:
        for bar in self.get_instances():
            if now - max(bar.last_print_t, bar.start_t + bar.delay) >= self.sleep_interval:
                bar.miniters = min(bar.miniters, 1)  # the next step is drawn, too
                bar.refresh(nolock=True)


def bar_is_shown() -> bool:
    """Whether there is a bar on the terminal now."""
    with tqdm.get_lock():
        known = list(tqdm._instances)  # pyright: ignore[reportAttributeAccessIssue]
    begun = (bar for bar in known if hasattr(bar, "start_t"))
    return any(time.time() - bar.start_t >= bar.delay for bar in begun)


def let_bars_tick() -> None:
    """Lets the clocks of all bars go on from now on, where there is a terminal to see them."""
    if sys.stderr.isatty() and not isinstance(tqdm.monitor, Ticking):
        tqdm.monitor = Ticking(tqdm, EVERY)
