"""Rays through a thin lens meet in focus."""

import torch

from neural_render.core.optics.lens import through_lens

FOCUS, FOCAL_PX, APERTURE = 4.0, 100.0, 0.5


def test_rays_of_a_pixel_meet_in_focus_and_spread_elsewhere() -> None:
    """At depth z by the circle of confusion: ``focal * aperture * |z - focus| / (z * focus)``."""
    pixel = torch.nn.functional.normalize(torch.tensor([[0.3, -0.2, 1.0]]), dim=-1)
    angle = torch.linspace(0, 2 * torch.pi, 17)[:-1]
    rim = torch.stack([angle.cos(), angle.sin()], dim=-1) * APERTURE / 2
    origins, directions = through_lens(pixel.expand(16, 3), rim, FOCUS)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(16))

    def seen_at(depth: float) -> torch.Tensor:
        """Where the rays go through a plane, in pixels of the pinhole."""
        points = origins + directions * (depth / directions[:, 2:])
        return FOCAL_PX * points[:, :2] / depth

    torch.testing.assert_close(
        seen_at(FOCUS), FOCAL_PX * torch.tensor([[0.3, -0.2]]).expand(16, 2), rtol=1e-5, atol=1e-4
    )
    for depth in (2.0, 3.0, 9.0):
        places = seen_at(depth)
        across = (places[:, None] - places[None]).norm(dim=-1).amax().item()
        expected = FOCAL_PX * APERTURE * abs(depth - FOCUS) / (depth * FOCUS)
        assert abs(across - expected) < 1e-3 * expected, depth


def test_through_the_middle_it_is_a_pinhole() -> None:
    directions = torch.nn.functional.normalize(torch.rand(9, 3) + torch.tensor([0, 0, 1.0]), dim=-1)
    origins, found = through_lens(directions, torch.zeros(9, 2), FOCUS)
    assert not origins.any()
    torch.testing.assert_close(found, directions)
