"""The budget and what follows from it."""

import pytest
import torch

from neural_render.core.errors import SettingError
from neural_render.training import schedules
from neural_render.training.settings import TrainingSettings, check_settings

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_budget_in_steps_ignores_the_clock():
    settings = TrainingSettings(num_steps=200, max_seconds=1.0)
    assert schedules.budget_fraction(settings, 50, seconds=1e9) == 0.25


def test_a_budget_in_seconds_ignores_the_steps():
    assert (
        schedules.budget_fraction(TrainingSettings(max_seconds=80.0), 10**9, seconds=20.0) == 0.25
    )


def test_learning_rate_holds_then_falls_exponentially_to_its_end():
    settings = TrainingSettings(learning_rate=0.1, learning_rate_hold=0.5, learning_rate_end=0.01)
    rates = [schedules.learning_rate(settings, fraction) for fraction in (0.0, 0.5, 0.75, 1.0, 1.2)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001])


def test_coarse_start_ends_by_step_or_by_budget():
    settings = TrainingSettings()
    long = [schedules.step_scale(settings, step, 0.0) for step in (1, 400, 401, 1000, 1001)]
    assert long == [4, 4, 2, 2, 1]
    short = [schedules.step_scale(settings, 1, fraction) for fraction in (0.26, 0.28, 0.68)]
    assert short == [4, 2, 1]
    assert schedules.step_scale(TrainingSettings(coarse_start=False), 1, 0.0) == 1


def test_batch_grows_only_where_the_budget_is_long():
    def sizes(settings):
        return [schedules.num_samples(settings, f, CPU) for f in (0.0, 0.3, 0.6, 1.0)]

    assert sizes(TrainingSettings(max_seconds=60.0)) == [1 << 14, 23170, 1 << 15, 1 << 15]
    assert sizes(TrainingSettings(max_seconds=300.0)) == [1 << 14, 1 << 15, 1 << 16, 1 << 16]
    assert sizes(TrainingSettings(max_seconds=1200.0))[-1] == 1 << 17
    assert sizes(TrainingSettings(max_seconds=1200.0, samples_per_step=1000)) == [1000] * 4
    assert schedules.num_samples(TrainingSettings(), 0.0, GPU) == 1 << 18


def test_occupancy_forgets_slowly_after_a_quarter_of_the_budget():
    settings = TrainingSettings(occupancy_decay_late=0.9)
    plans = [schedules.plan_step(settings, 2000, f, CPU) for f in (0.0, 0.24, 0.25, 1.0)]
    assert [plan.occupancy_decay for plan in plans] == [None, None, 0.9, 0.9]


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        (TrainingSettings(max_seconds=90.0), 17),
        (TrainingSettings(max_seconds=300.0), 18),
        (TrainingSettings(max_seconds=1200.0), 19),
        (TrainingSettings(num_steps=5000), 17),
        (TrainingSettings(num_steps=20000), 18),
        (TrainingSettings(num_steps=100000), 19),
    ],
)
def test_table_size_follows_the_budget(settings, rows):
    assert schedules.auto_log2_rows(settings, CPU) == rows
    assert schedules.auto_log2_rows(settings, GPU) == 19


def test_occupancy_is_updated_fully_at_first_then_in_stripes():
    full = [step for step in range(1, 600) if schedules.occupancy_due(step) == (True, True)]
    assert full == [16, 32, 64, 128, 256]
    striped = [step for step in range(1, 100) if schedules.occupancy_due(step) == (True, False)]
    assert striped == [48, 80, 96]


def test_clock_counts_nothing_while_it_stands():
    clock = schedules.Clock(threads=2, wall=5.0, cpu=3.0)
    assert (clock.seconds("wall"), clock.seconds("cpu")) == (5.0, 3.0)
    clock.start()
    spin(20000)
    with clock.paused():
        before = clock.wall, clock.cpu
        spin(20000)
        assert (clock.wall, clock.cpu) == before
        assert before[0] > 5.0 and before[1] > 3.0
    spin(20000)
    clock.stop()
    assert clock.wall > before[0]
    assert clock.cpu - 3.0 < clock.wall - 5.0


def spin(count: int) -> int:
    return sum(range(count))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clock": "sun"}, r"training\.clock=sun is not one of wall, cpu"),
        ({"background": "green"}, r"training\.background=green is not one of random, white"),
        ({"loss": "l1"}, r"training\.loss=l1 is not one of auto, huber, relative"),
        ({"relative_epsilon": 0.0}, r"training\.relative_epsilon=0\.0 must be above 0"),
        ({"distance_weight": -2.0}, r"training\.distance_weight=-2\.0 must be a number not below"),
        ({"num_steps": 0, "max_seconds": 0.0}, r"both 0: give one"),
        ({"num_steps": -1}, r"training\.num_steps=-1 must be a number not below 0"),
        ({"max_seconds": float("nan")}, r"training\.max_seconds=nan must be a number"),
        ({"max_seconds": float("inf")}, r"training\.max_seconds=inf must be a number"),
        ({"roulette": -0.5}, r"training\.roulette=-0\.5 must be a number not below 0"),
        ({"roulette": -2.0}, r"training\.roulette=-2\.0 must be a number not below 0"),
        ({"roulette": float("nan")}, r"training\.roulette=nan must be a number not below 0"),
        ({"roulette": float("inf")}, r"training\.roulette=inf must be a number not below 0"),
        ({"learning_rate": 0.0}, r"training\.learning_rate=0\.0 must be above 0"),
        ({"checkpoint_every": -5.0}, r"training\.checkpoint_every=-5\.0 must be above 0"),
        ({"ema_decay": 1.0}, r"training\.ema_decay=1\.0 must be at least 0 and below 1"),
        ({"error_sampling": 1.0}, r"training\.error_sampling=1\.0 must be .* at most 0\.95"),
        ({"error_sampling": float("nan")}, r"training\.error_sampling=nan must be at least 0"),
    ],
)
def test_senseless_settings_are_named(changes, words):
    with pytest.raises(SettingError, match=words):
        check_settings(TrainingSettings(**changes))


def test_default_settings_make_sense():
    check_settings(TrainingSettings())
