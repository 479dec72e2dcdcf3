"""Training that is watched ends with the same weights, does not count the time, and can pause."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from neural_render.core.errors import SettingError, UserError
from neural_render.core.protocols import Field
from neural_render.rendering import render_image
from neural_render.training import schedules
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.watching.audience import (
    NOBODY,
    Watchers,
    audience_of,
    check_audience,
)
from neural_render.viewer.settings import ViewerSettings
from neural_render.viewer.stage import Report, Stage
from tests.training.problems import CPU, new_run, settings_for, tiny_field, train_ball
from tests.training.test_training import assert_same_weights
from tests.viewer.balls import BallStage, cameras_around, surroundings
from tests.viewer.raw_browser import RawBrowser

SETTINGS = ViewerSettings(show=True, port=28300)


class Eyes:
    """An audience that draws what there is after every step, and remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.pictures: list[torch.Tensor] = []
        self.reports: list[Report] = []

    def begin(self, stage: Callable[[], Stage]) -> None:
        self.stages.append(stage())

    def told(self, reports: Sequence[Report]) -> None:
        self.reports += reports

    def is_waiting(self, step: int) -> bool:
        return True

    def serve(self, step: int, stopped: Callable[[], bool]) -> None:
        (stage,) = self.stages
        self.pictures.append(picture_of(stage, stage.field))
        assert not stopped()


def picture_of(stage: Stage, field: Field) -> torch.Tensor:
    """What the stage shows where its field is this one."""
    cameras = cameras_around(distance=2.0).in_frame(stage.frame.world_from_field.inverse())
    return render_image(stage.renderer, field, cameras, 0, stage.background).color


def test_what_is_watched_ends_with_the_same_weights(tmp_path):
    alone, watched, eyes = new_run(tmp_path / "a"), new_run(tmp_path / "b"), Eyes()
    settings = settings_for(20, report_every=0.0)
    train_ball(alone, settings)
    train_ball(watched, settings, audience=eyes)
    assert_same_weights(alone, watched)
    assert len(eyes.pictures) == 20


def test_what_is_seen_is_the_average_as_it_grows(tmp_path):
    run, eyes = new_run(tmp_path), Eyes()
    train_ball(run, settings_for(30, report_every=0.0), audience=eyes)
    first, last = eyes.pictures[0], eyes.pictures[-1]
    assert (first - last).abs().mean() > 0.01
    (stage,) = eyes.stages
    saved = picture_of(stage, load_for_rendering(run, CPU).field)
    assert torch.equal(picture_of(stage, stage.field), saved)  # also of tables that are rounded
    assert [report.step for report in eyes.reports] == list(range(1, 31))
    assert eyes.reports[-1].psnr > eyes.reports[0].psnr
    assert 0 < eyes.reports[10].fraction < 1 and eyes.reports[10].seconds_left > 0
    assert eyes.stages[0].background.tolist() == [1, 1, 1]


def test_noise_hides_how_good_the_fit_is(tmp_path):
    eyes = Eyes()
    settings = settings_for(2, report_every=0.0)
    train_ball(new_run(tmp_path), settings, field=tiny_field(radiance="exp"), audience=eyes)
    assert all(report.psnr != report.psnr for report in eyes.reports)
    assert eyes.stages[0].is_linear


class SlowEyes(Eyes):
    """An audience that takes an hour for each picture."""

    def __init__(self, clock: "Hours") -> None:
        super().__init__()
        self.clock = clock

    def serve(self, step: int, stopped: Callable[[], bool]) -> None:
        self.clock.passed += 3600.0


class Hours:
    """A clock that can be moved on."""

    def __init__(self) -> None:
        self.passed = 0.0

    def perf_counter(self) -> float:
        return time.perf_counter() + self.passed

    def process_time(self) -> float:
        return time.process_time() + self.passed


def test_the_clock_of_training_stands_while_pictures_are_made(tmp_path, monkeypatch):
    hours = Hours()
    monkeypatch.setattr(schedules, "time", hours)
    progress, _ = train_ball(new_run(tmp_path), settings_for(3), audience=SlowEyes(hours))
    assert hours.passed == 3 * 3600
    assert progress.train_seconds < 3600 and progress.train_cpu_seconds < 3600


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator[Watchers]:
    """An open page, before any visitor."""
    run = new_run(tmp_path)
    with Watchers(SETTINGS, surroundings(tmp_path), run) as opened:
        opened.begin(BallStage)
        yield opened


def test_without_visitors_nothing_waits(watchers):
    assert not watchers.is_waiting(1)


def test_pictures_have_their_share_of_the_time(watchers):
    (viewer,) = watchers.viewers
    visitor = RawBrowser(viewer)
    visitor.look_from()
    visitor.serve(lambda: bool(visitor.pictures()))
    visitor.look_from(position=(2.4, 0.0, 0.0))
    while not viewer.is_wanted(1):
        viewer.wait(0.1)
    watchers.serve(1, lambda: False)  # takes in that somebody moved, and draws
    began = time.perf_counter()
    visitor.look_from(position=(2.3, 0.0, 0.0))
    while not viewer.is_wanted(1):
        viewer.wait(0.1)
    watchers.rest(10.0)  # as after a picture that took ten seconds
    assert not watchers.is_waiting(1)
    assert began + 10.0 <= watchers.next_at <= time.perf_counter() + 10.0
    watchers.rest(0.0)
    assert watchers.is_waiting(1)
    visitor.close()


def test_whoever_pauses_training_holds_it_until_it_is_stopped(watchers):
    (viewer,) = watchers.viewers
    viewer.paused = True
    assert watchers.is_waiting(1)
    asked: list[None] = []

    def stopped() -> bool:
        asked.append(None)
        return len(asked) > 2

    watchers.serve(1, stopped)
    assert len(asked) == 3
    assert viewer.paused


def test_whoever_lets_training_go_on_ends_the_pause(watchers):
    (viewer,) = watchers.viewers
    visitor = RawBrowser(viewer)
    visitor.look_from()
    visitor.picture()
    visitor.set("Pause", True)
    visitor.settle()
    assert viewer.paused
    visitor.set("Pause", True)
    watchers.serve(1, lambda: False)
    assert not viewer.paused
    visitor.close()


def test_the_end_is_said_on_the_page(tmp_path):
    run = new_run(tmp_path / "my runs")
    with Watchers(SETTINGS, surroundings(tmp_path), run) as watchers:
        watchers.begin(BallStage)
        visitor = RawBrowser(watchers.viewers[0])
        visitor.look_from()
        visitor.picture()
        watchers.told([])
    visitor.hear_out()
    assert visitor.heard(f"python scripts/view.py run='{run.path}'`")


def test_nobody_watches_unless_asked(tmp_path):
    run = RunFolder(path=tmp_path)

    def not_asked():
        raise AssertionError

    with audience_of(ViewerSettings(), not_asked, run) as audience:
        assert audience is NOBODY
        assert not audience.is_waiting(1)


def test_what_cannot_be_shown_is_said_before_all_work(monkeypatch):
    check_audience(ViewerSettings(host="203.0.113.7"), 4)  # nothing is asked for
    check_audience(SETTINGS, 1)
    with pytest.raises(SettingError, match="viewer=on shows training in one process, and 2 share"):
        check_audience(SETTINGS, 2)
    with pytest.raises(SettingError, match="is no address of this machine"):
        check_audience(ViewerSettings(show=True, host="203.0.113.7"), 1)
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r"the viewer needs viser"):
        check_audience(SETTINGS, 1)
