"""Normals of bodies whose surfaces are known."""

import math

import pytest
import torch
from torch import Tensor

from neural_render.core.projection import Projection
from neural_render.core.transforms import look_at
from neural_render.rendering import RenderingSettings, build_renderer, render_image
from neural_render.rendering.normals import image_normals, surface_normals
from tests.rendering.analytic import CPU, SphereField, frame
from tests.rendering.test_images import camera


class SoftBall(SphereField):
    """A ball that gets denser inwards, smoothly, beginning at its radius."""

    def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
        return self.inside * (self.radius - (points - 0.5).norm(dim=-1)).clamp(min=0)


def directions(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)


def test_a_ball_faces_away_from_its_middle() -> None:
    outwards = directions(500)
    found = surface_normals(
        SoftBall(0.3, 1e3, None), 0.5 + 0.28 * outwards, torch.full((500,), 0.01)
    )
    assert (found * outwards).sum(-1).amin() > math.cos(math.radians(1))
    assert (found.norm(dim=-1) - 1).abs().amax() < 1e-5


def test_where_density_does_not_change_there_is_no_normal() -> None:
    points = torch.tensor([[0.5, 0.5, 0.5], [0.95, 0.95, 0.95]])  # inside, and far outside
    found = surface_normals(SphereField(0.3, 1e4, None), points, torch.full((2,), 0.01))
    assert not found.any()


def test_normals_are_the_fields_and_not_its_cubes() -> None:
    """The cube holds a ball where the frame of the field has an ellipsoid, flat along x."""
    squeeze = Projection(matrix=(4.0, 0.0, 0.0, -1.5, *torch.eye(4).flatten()[4:].tolist()))
    on_ball = 0.28 * directions(200)
    points = 0.5 + on_ball / torch.tensor([4.0, 1.0, 1.0])
    found = surface_normals(SoftBall(0.3, 1e3, None), points, torch.full((200,), 0.002), squeeze)
    expected = torch.nn.functional.normalize(on_ball * torch.tensor([4.0, 1.0, 1.0]), dim=-1)
    assert (found * expected).sum(-1).amin() > math.cos(math.radians(1.5))


@pytest.mark.parametrize("size", [(31, 21)])
def test_a_picture_of_normals(backend: str, size: tuple[int, int]) -> None:
    """The middle of a ball faces the camera, its rim sideways, and the empty corner nowhere."""
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    field, cameras = SoftBall(0.2, 3e5, (0.9, 0.1, 0.3)), camera(*size)
    image = render_image(renderer, field, cameras, 0, torch.zeros(3))
    normals = image_normals(renderer, field, cameras, 0, image.distance)
    assert normals.shape == (21, 31, 3)
    assert normals[10, 15].tolist() == pytest.approx([1, 0, 0], abs=0.06)
    pose = look_at(
        torch.tensor([2.0, 0.5, 0.5]), torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.0, 0.0, 1.0])
    )
    rim = normals[10, :, :] @ pose[:, 0]  # along the picture's x axis
    seen = image.opacity[10] > 0.5
    assert rim[seen][0] < -0.6 and rim[seen][-1] > 0.6
    assert not normals[0, 0].any()
