"""What takes long says so, what is quick does not."""

import io
import logging
import threading
import time

import pytest
from tqdm import tqdm

from neural_render.core.waiting import patience
from neural_render.core.waiting.patience import told_if_slow


def test_slow_work_is_told_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "FIRST", 0.01)
    monkeypatch.setattr(patience, "EVERY", 0.02)
    with caplog.at_level(logging.INFO, logger="neural_render"):
        with pytest.raises(ValueError, match="broken"), told_if_slow("counting sheep"):
            while caplog.text.count("counting sheep: 0 s so far") < 2:
                time.sleep(0.005)
            raise ValueError("broken")
        told = len(caplog.records)
        time.sleep(0.05)
    assert len(caplog.records) == told
    assert not [thread for thread in threading.enumerate() if thread.name == "told_if_slow"]


@pytest.mark.parametrize("delay", [0, 3600])
@pytest.mark.parametrize("over_bars", [False, True])
def test_work_that_a_bar_is_shown_of_is_not(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    over_bars: bool,
    delay: float,
) -> None:
    monkeypatch.setattr(patience, "FIRST", 0.001)
    caplog.set_level(logging.INFO, logger="neural_render")
    bar = tqdm(total=1, file=io.StringIO(), delay=delay)
    with bar, told_if_slow("drawing a bar", over_bars=over_bars):
        time.sleep(0.05)
    assert bool(caplog.records) == (over_bars or delay > 0)


def test_quick_work_is_not(caplog: pytest.LogCaptureFixture) -> None:
    @told_if_slow("doubling")
    def double(number: int) -> int:
        return 2 * number

    with caplog.at_level(logging.INFO, logger="neural_render"):
        assert (double(2), double(3)) == (4, 6)
    assert not caplog.records
