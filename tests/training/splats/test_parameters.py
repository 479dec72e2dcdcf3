"""The steps that splats take."""

import torch

from neural_render.kernels.splats.records import Splats
from neural_render.training.splats.parameters import RATE_END, RATES, SplatParameters


def splats(num: int, value: float) -> Splats:
    """Splats whose every number is the same."""
    shapes = {"means": (3,), "scales": (3,), "rotations": (4,), "opacities": (), "colors": (4, 3)}
    return Splats(**{name: torch.full((num, *shape), value) for name, shape in shapes.items()})


def test_a_first_step_is_the_rate_and_places_move_by_their_unit() -> None:
    """Adam's first step is the rate, whatever the gradient."""
    unit = torch.tensor([0.5, 8.0])
    parameters = SplatParameters(splats(2, 1.0), unit)
    parameters.step(splats(2, 3.0), done=0.0)
    moved = parameters.splats()
    torch.testing.assert_close(
        1 - moved.means, RATES["offsets"] * unit[:, None].expand(2, 3), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(1 - moved.scales, torch.full((2, 3), RATES["scales"]))
    torch.testing.assert_close(1 - moved.colors[:, 0], torch.full((2, 3), RATES["plain"]))
    turning = torch.full((2, 3, 3), RATES["turning"])
    torch.testing.assert_close(1 - moved.colors[:, 1:], turning, rtol=1e-3, atol=0)


def test_steps_become_smaller() -> None:
    first, last = (SplatParameters(splats(1, 0.0), torch.ones(1)) for _ in range(2))
    first.step(splats(1, 1.0), done=0.0)
    last.step(splats(1, 1.0), done=1.0)
    torch.testing.assert_close(last.splats().scales, RATE_END * first.splats().scales)


def test_a_splat_that_is_replaced_begins_anew() -> None:
    parameters = SplatParameters(splats(3, 1.0), torch.ones(3))
    parameters.step(splats(3, 1.0), done=0.0)
    parameters.replace(torch.tensor([1]), splats(1, 5.0), torch.tensor([0.25]))
    found = parameters.splats()
    assert bool((found.means[1] == 5).all()) and float(found.opacities[1]) == 5
    assert bool((found.means[0] != 1).all())
    for moments in parameters.moments.values():
        assert not moments.first[1].any() and moments.first[0].any()
