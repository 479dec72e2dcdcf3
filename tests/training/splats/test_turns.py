"""Pinholes that together see what wider lenses do."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.flight.paths import WIDEST_PINHOLE_RAD
from neural_render.training.splats.turns import pinhole_poses
from neural_render.training.splats.views import fitting_cameras
from tests.training.splats.test_views import ring

PANORAMA = (8 / (2 * math.pi), 4 / math.pi)  # pixels per radian of 8x4


def wide(num: int, angle_rad: float, lens: Lens = Lens.FISHEYE) -> Cameras:
    """Cameras of 40x40 pixels with this angle of view, both ways."""
    cameras = ring(num, 40, 40, lens)
    return replace(cameras, focal_px=torch.full((num, 2), 40 / angle_rad))


def panoramas(num: int) -> Cameras:
    return replace(
        ring(num, 8, 4, Lens.EQUIRECTANGULAR), focal_px=torch.tensor([PANORAMA]).repeat(num, 1)
    )


def seen(poses: Tensor, directions: Tensor) -> Tensor:
    """Which directions lie in one of the square pinholes, or nearly."""
    local = torch.einsum("dw,pwc->pdc", directions, poses[:, :, :3])
    edge = math.tan(WIDEST_PINHOLE_RAD / 2) * local[..., 2:] + 1e-4
    return ((local[..., :2].abs() < edge).all(-1) & (local[..., 2] > 0)).any(0)


def everywhere(count: int = 4000) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)


def test_six_pinholes_see_a_whole_panorama() -> None:
    poses = pinhole_poses(panoramas(2))
    assert len(poses) == 12
    assert torch.equal(poses[:6, :, 3], panoramas(2).world_from_camera[:1, :, 3].expand(6, 3))
    assert bool(seen(poses[:6], everywhere()).all())


@pytest.mark.parametrize("degrees", [180.0, 220.0])
def test_a_wide_fisheye_is_seen_to_its_edges_and_not_far_beyond(degrees: float) -> None:
    camera, half = wide(1, math.radians(degrees)), math.radians(degrees / 2)
    poses = pinhole_poses(camera)
    assert len(poses) == 5
    local = everywhere() @ camera.world_from_camera[0, :, :3]
    angle = local[:, 2].acos()
    found = seen(poses, everywhere())
    assert bool(found[angle < math.radians(70)].all())
    assert float(found[angle < half].float().mean()) > 0.9
    assert not bool(found[angle > half + math.radians(15)].any())


@pytest.mark.parametrize(
    "cameras", [ring(3), wide(3, math.radians(90.0)), wide(3, 2.0, Lens.PERSPECTIVE)]
)
def test_narrow_lenses_and_pinholes_stay_as_they_are(cameras: Cameras) -> None:
    assert torch.equal(pinhole_poses(cameras), cameras.world_from_camera)


def test_splats_are_fitted_to_all_that_a_panorama_shows() -> None:
    found = fitting_cameras(panoramas(3), 18, 1000, torch.Generator().manual_seed(0))
    assert len(found) == 18 and bool((found.lens == int(Lens.PERSPECTIVE)).all())
    assert torch.equal(found.width, found.height)
    half = (found.width / (2 * found.focal_px[:, 0])).atan()
    torch.testing.assert_close(2 * half, torch.full((18,), WIDEST_PINHOLE_RAD))
    assert bool(seen(found.world_from_camera, everywhere()).all())
