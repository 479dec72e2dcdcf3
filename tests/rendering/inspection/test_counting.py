"""How many samples rays take: none where nothing is, few before what is solid, all through fog."""

import torch

from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.rendering.inspection.counting import image_counts
from tests.rendering.analytic import CPU, SphereField, frame
from tests.rendering.test_images import camera

STEP = 0.01


def counted(density: float, empty: bool = False) -> torch.Tensor:
    renderer = build_renderer(RenderingSettings(step=STEP), frame(), CPU)
    if empty:
        renderer.occupancy.bits.zero_()
    return image_counts(renderer, SphereField(0.2, density, (1.0, 1.0, 1.0)), camera(31, 21), 0)


def test_rays_through_fog_take_all_samples() -> None:
    """The cube is 1 wide and 1.5 away: a hundred steps of 0.01."""
    counts = counted(0.0)
    assert counts.shape == (21, 31)
    assert abs(int(counts[10, 15]) - 100) <= 1


def test_rays_end_at_what_is_solid() -> None:
    """The ball begins 0.3 into the cube."""
    assert abs(int(counted(5e3)[10, 15]) - 31) <= 2


def test_an_infinite_density_is_as_solid_and_harms_no_other_ray() -> None:
    assert torch.equal(counted(torch.inf), counted(1e6))
    assert torch.equal(counted(1e20), counted(1e6))


def test_empty_cells_cost_nothing() -> None:
    assert int(counted(1.0, empty=True).max()) == 0
