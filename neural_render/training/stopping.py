"""How a run is stopped from outside: the first signal asks, the second aborts."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by a signal after its state was saved; ``str`` is one line for the user.

    ``exit_code`` is what a shell expects: 128 plus the signal's number (130 for Ctrl-C).
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StopSignals:
    """Inside ``with``, SIGINT and SIGTERM are noted in ``received`` instead of interrupting.

    A second signal raises KeyboardInterrupt at once. Outside the main thread nothing is changed,
    because Python delivers signals only there.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        logging.getLogger("neural_render").warning(
            "%s: finishing this step and saving; once more aborts without saving.",
            SIGNALS[self.received],
        )
