import math

import pytest
import torch

from neural_render.core.errors import SettingError
from neural_render.core.rays import Rays
from neural_render.kernels.reference.marching import occupied_intervals
from neural_render.rendering import RenderingSettings, march_spec
from neural_render.rendering.settings import SHORTEST_STEP, clear_distance
from neural_render.training.runs import checkpoint
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


@pytest.mark.parametrize(
    ("step", "cone_angle", "cascades", "near"),
    [(1e-4, -1.0, 1, 0.0), (0.0, 0.0, 4, 0.0), (1e-3, 1e-3, 3, 0.05), (2e-4, 0.5, 2, 0.0)],
)
def test_stated_steps_reach_through_the_cube(
    step: float, cone_angle: float, cascades: int, near: float
) -> None:
    """Where all space is occupied, a ray along the diagonal has a sample at its end, too."""
    march = march_spec(RenderingSettings(step=step, cone_angle=cone_angle), frame(cascades, near))
    direction = torch.full((1, 3), 1 / math.sqrt(3.0), dtype=torch.float64)
    rays = Rays(
        origins=torch.full((1, 3), 1e-6, dtype=torch.float64),
        directions=direction,
        footprint=torch.zeros(1, dtype=torch.float64),
    )
    occupied = torch.full((cascades, 128**3 // 8), 255, dtype=torch.uint8)
    _, end, _ = occupied_intervals(rays, torch.zeros(1, dtype=torch.float64), occupied, march)
    assert float(end.max()) > math.sqrt(3.0) - 2 * march.max_step


def test_steps_that_no_checkpoint_may_have_are_refused() -> None:
    with pytest.raises(SettingError, match="step=5e-07 is too short: give at least 2e-06 of the"):
        march_spec(RenderingSettings(step=5e-7), frame(1))
    march = march_spec(RenderingSettings(step=SHORTEST_STEP), frame(1))
    assert SHORTEST_STEP >= checkpoint.SHORTEST_STEP
    assert march.max_samples_per_ray <= checkpoint.MOST_SAMPLES
