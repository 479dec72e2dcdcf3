import math

import pytest

from neural_render.rendering import RenderingSettings, march_spec
from neural_render.rendering.settings import clear_distance
from tests.rendering.analytic import frame


def test_bounded_scenes_have_constant_steps() -> None:
    march = march_spec(RenderingSettings(), frame(1, near=0.1))
    assert march.step == pytest.approx(math.sqrt(3) / 1024)
    assert (march.cone_angle, march.near, march.cascades) == (0.0, 0.1, 1)


def test_unbounded_scenes_have_growing_steps_up_to_the_outermost_cell() -> None:
    march = march_spec(RenderingSettings(), frame(4))
    assert march.step == pytest.approx(math.sqrt(3) / 1024 / 8)
    assert (march.cone_angle, march.max_step) == (1 / 256, 1 / 128)


def test_stated_steps_are_taken() -> None:
    march = march_spec(RenderingSettings(step=0.02, cone_angle=0.0), frame(3))
    assert (march.step, march.cone_angle, march.max_step) == (0.02, 0.0, 0.02)


def test_space_before_lenses_is_cleared_in_sides_of_the_cube_of_interest() -> None:
    assert clear_distance(RenderingSettings(), frame(3, near=0.02)) == 0.02
    assert clear_distance(RenderingSettings(clear_near=0.2), frame(3, near=0.02)) == 0.05
