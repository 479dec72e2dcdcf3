"""How a run is stopped from outside: the first signal asks, the second aborts."""

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch

from neural_render.core.processes import group

ECHO_SECONDS = 5.0
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
    because Python delivers signals only there. Several processes stop together: what some of them
    noted is ``received`` by all in the next ``agree``. What torchrun passes on to them soon after
    they were told themselves is no second signal.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._noted: signal.Signals | None = None
        self._noted_at = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agree(self, *numbers: float) -> list[float]:
        """The first process's numbers, told to all along with the signals that any noted."""
        if group.size() == 1:
            return list(numbers)
        own = torch.tensor([float(self._noted or 0), *numbers], dtype=torch.double)
        (everyone,) = group.gathered(own)
        if number := int(everyone[:, 0].max()):
            self.received = signal.Signals(number)
        return everyone[0, 1:].tolist()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted is not None:
            if group.size() > 1 and time.monotonic() - self._noted_at < ECHO_SECONDS:
                return
            raise KeyboardInterrupt
        self._noted, self._noted_at = signal.Signals(number), time.monotonic()
        if group.size() == 1:
            self.received = self._noted
        logging.getLogger("neural_render").warning(
            "%s: finishing this step and saving; once more aborts without saving.",
            SIGNALS[self._noted],
        )
