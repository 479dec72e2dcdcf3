"""Signals are noted, not obeyed, until the second one."""

import os
import signal

import pytest

from neural_render.training.stopping import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_said(number, caplog):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received == number
    assert "finishing this step and saving; once more aborts" in caplog.text
    assert signal.getsignal(number) is before


def test_the_second_signal_aborts():
    with pytest.raises(KeyboardInterrupt), StopSignals():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
