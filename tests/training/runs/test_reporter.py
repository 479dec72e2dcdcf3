"""What the user is told while training runs."""

import itertools
import json
import logging
from types import SimpleNamespace

from neural_render.training import loop
from neural_render.training.runs import reporter
from neural_render.training.runs.reporter import psnr_of
from tests.training.problems import new_run, settings_for, tiny_field, train_ball


def test_psnr_of_an_error():
    assert psnr_of(0.01) == 20
    assert psnr_of(0.0) == 100


def test_without_a_terminal_the_log_gets_lines(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(reporter, "LOG_EVERY", 0.0)
    with caplog.at_level(logging.INFO, logger="neural_render"):
        train_ball(new_run(tmp_path), settings_for(4, report_every=0.0))
    lines = [record.message for record in caplog.records if record.message.startswith("training ")]
    assert len(lines) == 4
    assert "step 4, " in lines[-1]
    assert all(word in lines[-1] for word in ("dB", "rays/s", "samples/ray", "left"))


def test_of_noisy_targets_the_loss_is_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(reporter, "LOG_EVERY", 0.0)
    with caplog.at_level(logging.INFO, logger="neural_render"):
        settings = settings_for(2, report_every=0.0)
        train_ball(new_run(tmp_path), settings, field=tiny_field(radiance="exp"))
    lines = [record.message for record in caplog.records if record.message.startswith("training ")]
    assert lines and all("loss" in line and "dB" not in line for line in lines)


def test_the_last_rate_counts_steps_and_not_what_follows_them(tmp_path, monkeypatch):
    ticks, settle, late = itertools.count(), loop.settle, []
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) + sum(late))
    monkeypatch.setattr(reporter, "time", clock)
    monkeypatch.setattr(loop, "settle", lambda *all: [settle(*all), late.append(1e6)])
    run = new_run(tmp_path)
    train_ball(run, settings_for(4, report_every=1e3))
    (line,) = map(json.loads, run.metrics_path.read_text().splitlines())
    assert late and line["rays_per_second"] > line["rays"] / 1e3
