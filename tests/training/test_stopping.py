"""Signals are noted, not obeyed, until the second one."""

import os
import signal

import pytest
import torch

from neural_render.core.processes import group
from neural_render.training import stopping
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


@pytest.fixture
def first_of_two(monkeypatch):
    """This process is the first of two, of which the other has no clock and got no signal."""
    monkeypatch.setattr(group, "_here", [group.Place(rank=0, size=2, local_rank=0, local_size=2)])
    monkeypatch.setattr(group, "gathered", lambda own: (torch.stack([own, 0 * own]),))


def test_what_one_process_noted_all_receive_when_they_agree(first_of_two):
    with StopSignals() as signals:
        assert signals.agree(2.5) == [2.5]
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received is None
        assert signals.agree(3.5) == [3.5]
        assert signals.received == signal.SIGTERM


def test_what_torchrun_passes_on_is_no_second_signal(first_of_two, monkeypatch):
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        signals.agree()
        assert signals.received == signal.SIGINT
        monkeypatch.setattr(stopping, "ECHO_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
