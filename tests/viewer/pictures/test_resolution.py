"""How coarse pictures are: as coarse as the machine needs, without jumping about."""

import pytest

from neural_render.viewer.pictures.resolution import FACTORS, Costs, Pace, sharper

PIXELS = 400 * 400


def factor_after(seconds_per_pixel: float, pace: Pace, pictures: int = 20) -> float:
    factor = pace.moving_factor(PIXELS)
    for _ in range(pictures):
        num_pixels = round(PIXELS / factor**2)
        pace.took(num_pixels, seconds_per_pixel * num_pixels)
        factor = pace.moving_factor(PIXELS)
    return factor


def test_a_fast_machine_gets_all_pixels():
    assert factor_after(1e-7, Pace(0.1, Costs())) == 1


def test_a_slow_machine_gets_as_many_as_there_is_time_for():
    factor = factor_after(1e-5, Pace(0.1, Costs()))  # 1.6 s for all
    assert factor == 4
    assert factor_after(1.0, Pace(0.1, Costs())) == FACTORS[-1]


def test_a_machine_that_gets_slower_or_faster_is_followed():
    pace = Pace(0.1, Costs())
    assert factor_after(1e-7, pace) == 1
    assert factor_after(1e-5, pace) == 4
    assert factor_after(1e-7, pace) == 1


def test_a_size_that_is_about_right_is_kept():
    pace = Pace(0.1, Costs())
    factor = factor_after(1e-5, pace)
    for noise in (0.9, 1.1, 0.95, 1.15, 0.85):
        num_pixels = round(PIXELS / factor**2)
        pace.took(num_pixels, noise * 1e-5 * num_pixels)
        assert pace.moving_factor(PIXELS) == factor


@pytest.mark.parametrize("begin", FACTORS)
def test_pictures_get_sharper_until_they_are_whole(begin):
    steps, factor = 0, begin
    while factor > 1:
        finer = sharper(factor)
        assert finer <= factor / 2 or finer == 1
        factor, steps = finer, steps + 1
    assert steps <= 4


def test_visitors_learn_from_each_other_and_kinds_of_pictures_do_not_mix():
    costs = Costs()
    first, second, slow = Pace(0.1, costs), Pace(0.1, costs), Pace(0.1, costs, "slow")
    for _ in range(9):
        first.took(100, 1e-3)
        slow.took(100, 1e-1)
    assert second.expected(100) == pytest.approx(1e-3)
    assert slow.expected(100) == pytest.approx(1e-1)
    assert costs.expected("new", 100) == pytest.approx(1e-1)
