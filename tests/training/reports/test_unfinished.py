"""A training that ends before its time leaves a report of how far it was, and why."""

import logging
from pathlib import Path

import pytest

from neural_render.core.errors import DivergenceError
from neural_render.training.stopping import TrainingInterrupted
from tests.pages import Page, outside
from tests.training.problems import StripedBall, new_run, settings_for, train_ball


def test_a_stopped_run_shows_its_curves(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    settings = settings_for(9, report_every=0.0, samples_per_step=512)
    with pytest.raises(TrainingInterrupted) as stop:
        train_ball(run, settings, source=StripedBall(6), program="scripts/bake.py")
    assert str(stop.value).endswith(f"; go on with: python scripts/bake.py run={run.path}")
    page = run.report_path.read_text(encoding="utf-8")
    assert outside(page) == [] and "<polyline" in page
    assert "Stopped by Ctrl-C before it was measured." in page
    told = f"is saved: go on with python scripts/bake.py run={run.path}, and it is"
    assert f"{told} measured at the end." in Page(page).text
    train_ball(run, settings)
    assert run.report_path.read_text(encoding="utf-8") == page, "who measures writes the next one"


def test_nobody_is_sent_to_a_program_that_could_not_go_on(tmp_path: Path) -> None:
    """Rays of one's own are known to one's own program alone."""
    run = new_run(tmp_path)
    with pytest.raises(TrainingInterrupted, match=r"Ctrl-C at step \d, which is saved in ") as stop:
        train_ball(run, settings_for(9, samples_per_step=512), source=StripedBall(3))
    assert str(stop.value).endswith(f"saved in {run.path}.")
    assert "What was trained is saved." in Page(run.report_path.read_text(encoding="utf-8")).text


def test_a_run_that_diverged_says_so(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with pytest.raises(DivergenceError):
        train_ball(run, settings_for(40, learning_rate=1e30, samples_per_step=512))
    assert "Training diverged at step" in Page(run.report_path.read_text(encoding="utf-8")).text


def test_a_report_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = new_run(tmp_path)
    run.report_path.mkdir()
    with pytest.raises(TrainingInterrupted), caplog.at_level(logging.WARNING, "neural_render"):
        train_ball(run, settings_for(9, samples_per_step=512), source=StripedBall(3))
    assert "report.html cannot be written" in caplog.text
    assert len(run.checkpoints()) == 1
