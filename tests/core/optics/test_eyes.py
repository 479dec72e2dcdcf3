"""Panoramas, fisheyes and two eyes: directions and disparities in closed form."""

import math
from dataclasses import replace

import pytest
import torch

from neural_render.core.cameras import Cameras, Lens, image_directions, image_rays, project
from neural_render.core.optics.eyes import (
    eye_pair,
    fisheyes,
    panoramas,
    pinholes,
    ray_origins,
    widest_angle_rad,
)
from neural_render.core.transforms import look_at
from tests.rendering.test_images import camera

UP = torch.tensor([0.0, 0.0, 1.0])
EYES = 0.3


def looking(toward: tuple[float, float, float], width: int = 16, height: int = 8) -> Cameras:
    position = torch.tensor([[1.0, 2.0, 3.0]])
    poses = look_at(position, position + torch.tensor([toward]), UP)
    return replace(camera(width, height), world_from_camera=poses)


@pytest.mark.parametrize("pitch", [0.0, -0.7, 0.7])
def test_a_panoramas_pixels_look_where_they_should(pitch: float) -> None:
    """Column and row are azimuth, to the right, and elevation, whatever the camera's pitch."""
    seen = panoramas(looking((0.0, 1.0, pitch)), UP)
    rays = image_rays(seen, 0)
    azimuth = (torch.arange(16) + 0.5) / 16 * math.tau - math.pi
    elevation = math.pi / 2 - (torch.arange(8) + 0.5) / 8 * math.pi
    level = elevation.cos()[:, None]
    expected = torch.stack(
        [level * azimuth.sin(), level * azimuth.cos(), elevation.sin()[:, None].expand(8, 16)], -1
    )
    torch.testing.assert_close(rays.directions.view(8, 16, 3), expected, atol=1e-5, rtol=0)
    assert torch.equal(rays.origins, torch.tensor([[1.0, 2.0, 3.0]]).expand(128, 3))


@pytest.mark.parametrize(("toward", "ahead"), [((0.0, 0.0, -1.0), -1.0), ((0.0, 0.0, 1.0), 1.0)])
def test_who_looks_straight_down_has_ahead_above_in_the_picture(
    toward: tuple[float, float, float], ahead: float
) -> None:
    camera = looking(toward)
    seen = panoramas(camera, UP)
    above = -camera.world_from_camera[0, :, 1]  # what is up in the picture
    torch.testing.assert_close(seen.world_from_camera[0, :, 2], -ahead * above, atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.world_from_camera[0, :, 1], -UP)


def test_a_fisheye_measures_angles() -> None:
    seen = fisheyes(camera(20, 10), math.radians(180))
    directions = image_directions(seen, 0)[0].view(10, 20, 3)
    assert seen.lens.tolist() == [int(Lens.FISHEYE)]
    angle = torch.acos(directions[5, 10:, 2])
    offset = torch.hypot(torch.arange(10) + 0.5, torch.tensor(0.5))
    torch.testing.assert_close(angle, offset * math.pi / 10, atol=1e-3, rtol=0)
    assert widest_angle_rad(seen) == pytest.approx(math.hypot(10, 5) * math.pi / 10)


def test_a_pinhole_has_the_field_of_view_it_is_given() -> None:
    wide = pinholes(camera(20, 10), math.radians(90))
    assert wide.focal_px.tolist() == [[pytest.approx(5.0)] * 2]
    assert pinholes(camera(20, 10), 0.0).focal_px.tolist() == [[40.0, 40.0]]


@pytest.mark.parametrize("convergence", [0.0, 4.0])
def test_disparity_is_focal_times_distance_over_depth(convergence: float) -> None:
    middle = looking((0.0, 1.0, 0.0))
    left, right = eye_pair(middle, EYES, convergence)
    depths = torch.tensor([2.0, 4.0, 50.0])
    points = middle.world_from_camera[0, :, 3] + depths[:, None] * torch.tensor([0.1, 1.0, 0.05])
    first = torch.zeros(3, dtype=torch.long)
    seen, found = project(left.cameras, first, points)
    other, _ = project(right.cameras, first, points)
    torch.testing.assert_close(found, depths)
    expected = 40.0 * EYES * (1 / depths - (1 / convergence if convergence else 0.0))
    torch.testing.assert_close((seen - other)[:, 0], expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(seen[:, 1], other[:, 1])


def test_rays_of_a_stereo_panorama_start_across_their_direction() -> None:
    """At the ends of the segment between the eyes; straight up and down in its middle."""
    left, right = eye_pair(panoramas(looking((0.0, 1.0, 0.0)), UP), EYES, 0.0)
    assert (left.circle, right.circle) == (-EYES / 2, EYES / 2)
    assert torch.equal(left.cameras.world_from_camera, right.cameras.world_from_camera)
    angles = torch.linspace(-3, 3, 7)
    level = torch.stack([angles.sin(), torch.zeros(7), angles.cos()], dim=-1)
    origins = ray_origins(level, right.circle)
    expected = torch.stack([angles.cos(), torch.zeros(7), -angles.sin()], dim=-1) * EYES / 2
    torch.testing.assert_close(origins, expected)
    torch.testing.assert_close(ray_origins(level, left.circle), -expected)
    steep = torch.tensor([[0.0, math.sin(e), math.cos(e)] for e in (0.5, 1.0, 1.2, 1.4, -1.57)])
    apart = ray_origins(steep, right.circle).norm(dim=-1) / (EYES / 2)
    assert apart.tolist()[:2] == pytest.approx([1, 1]) and 0 < apart[2] < 1
    assert apart[3:].tolist() == pytest.approx([0, 0], abs=1e-6)
