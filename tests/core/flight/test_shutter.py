"""Between the frames of a path the camera moves as the path does."""

import math
from dataclasses import replace

import pytest
import torch

from neural_render.core.cameras import Cameras
from neural_render.core.flight.shutter import around
from neural_render.core.transforms import look_at
from tests.rendering.test_images import camera

STEP_RAD = math.radians(4.0)


def circle(number: int) -> Cameras:
    """Cameras that look at the middle of a circle of radius 2, ``STEP_RAD`` apart."""
    angle = torch.arange(number) * STEP_RAD
    positions = torch.stack([2 * angle.cos(), 2 * angle.sin(), torch.zeros(number)], dim=-1)
    poses = look_at(positions, torch.zeros(number, 3), torch.tensor([0.0, 0.0, 1.0]))
    return replace(camera(8, 6)[torch.zeros(number, dtype=torch.long)], world_from_camera=poses)


@pytest.mark.parametrize(
    ("index", "error"), [(0, 4e-3), (1, 1e-3), (4, 2e-5), (7, 1e-3), (8, 4e-3)]
)
def test_on_a_circle_it_stays_on_the_circle(index: int, error: float) -> None:
    """Beyond the ends it goes on straight: that is an error of the second order."""
    path, offsets = circle(9), torch.tensor([-0.5, -0.2, 0.0, 0.3, 0.5])
    moved = around(path, index, offsets)
    angle = (index + offsets) * STEP_RAD
    expected = torch.stack([2 * angle.cos(), 2 * angle.sin(), torch.zeros(5)], dim=-1)
    assert (moved.world_from_camera[..., 3] - expected).norm(dim=-1).amax() < error
    ahead = -torch.nn.functional.normalize(expected, dim=-1)
    assert (moved.world_from_camera[..., 2] - ahead).norm(dim=-1).amax() < max(error, 1e-5)
    torch.testing.assert_close(moved.world_from_camera[2], path.world_from_camera[index])


def test_a_zoom_goes_on_within_a_frame() -> None:
    path = circle(5)
    path = replace(path, focal_px=path.focal_px * (1.1 ** torch.arange(5))[:, None])
    found = around(path, 2, torch.tensor([0.5])).focal_px
    torch.testing.assert_close(found, path.focal_px[2:3] * 1.1**0.5, rtol=1e-4, atol=0)


def test_what_stands_still_stays_where_it_is() -> None:
    one, many = circle(1), circle(5)
    found = around(one, 0, torch.tensor([-0.5, 0.5]))
    assert torch.equal(found.world_from_camera, one.world_from_camera.repeat(2, 1, 1))
    found = around(many, 3, torch.zeros(2))
    assert torch.equal(found.world_from_camera, many.world_from_camera[[3, 3]])
