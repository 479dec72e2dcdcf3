import math

import pytest
import torch
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens, project, rays_through_pixels
from neural_render.core.flight.paths import (
    fit_orbit,
    focus_of,
    is_forward_facing,
    orbit_path,
    path_cameras,
    reframed,
    spiral_path,
    up_of,
)
from neural_render.core.transforms import look_at, rotation_from_vector


def cameras_at(
    positions: Tensor, targets: Tensor, up: Tensor, lens: Lens = Lens.PERSPECTIVE
) -> Cameras:
    number = len(positions)
    return Cameras(
        world_from_camera=look_at(positions, targets.expand_as(positions), up.expand_as(positions)),
        focal_px=torch.full((number, 2), 80.0),
        center_px=torch.tensor([[31.0, 25.0]]).repeat(number, 1),
        distortion=torch.zeros((number, 6)),
        lens=torch.full((number,), int(lens)),
        width=torch.full((number,), 64),
        height=torch.full((number,), 48),
    )


def on_dome(number: int, center: Tensor, up: Tensor, uneven: float = 0.0) -> Cameras:
    """Cameras of distance 4, 10 to 50 degrees high; ``uneven`` crowds them to one side."""
    turn = torch.linspace(0, 2 * math.pi, number + 1)[:-1]
    turn = turn + uneven * turn.sin()
    height = torch.deg2rad(30 + 20 * (3 * turn).sin())
    side = torch.nn.functional.normalize(
        torch.linalg.cross(up, torch.tensor([0.3, 0.5, -0.2])), dim=0
    )
    other = torch.linalg.cross(up, side)
    ring = turn.cos()[:, None] * side + turn.sin()[:, None] * other
    offset = height.cos()[:, None] * ring + height.sin()[:, None] * up
    return cameras_at(center + 4 * offset, center, up)


CENTER = torch.tensor([1.0, -2.0, 0.5])
TILTED = torch.nn.functional.normalize(torch.tensor([0.2, 0.9, 0.3]), dim=0)
FORWARD = cameras_at(
    torch.tensor([[0.1 * x, 0.1 * y, 0.0] for x in range(-2, 3) for y in range(-1, 2)]),
    torch.tensor([0.0, 0.0, 3.0]),
    torch.tensor([0.0, -1.0, 0.0]),
)


@pytest.mark.parametrize("uneven", [0.0, 0.8])
def test_up_and_focus_are_found(uneven: float) -> None:
    cameras = on_dome(40, CENTER, TILTED, uneven)
    torch.testing.assert_close(up_of(cameras).float(), TILTED, atol=1e-5, rtol=0)
    torch.testing.assert_close(focus_of(cameras).float(), CENTER, atol=1e-5, rtol=0)


def test_up_of_tilted_cameras_is_about_the_mean() -> None:
    cameras = on_dome(40, CENTER, TILTED)
    generator = torch.Generator().manual_seed(0)
    roll = torch.randn((40, 3), generator=generator) * torch.tensor([0.0, 0.0, 0.3])
    poses = cameras.world_from_camera.clone()
    poses[..., :3] = poses[..., :3] @ rotation_from_vector(roll)
    rolled = Cameras(**(vars(cameras) | {"world_from_camera": poses}))
    assert (up_of(rolled).float() @ TILTED).item() > math.cos(math.radians(8))


def test_up_without_any_hint_is_z() -> None:
    positions = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    ups = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    assert up_of(cameras_at(positions, torch.zeros(3), ups)).tolist() == [0.0, 0.0, 1.0]


def test_orbit_turns_once_around_the_focus() -> None:
    photos = on_dome(41, CENTER, TILTED)
    film = orbit_path(photos, 8)
    offsets = film.world_from_camera[..., 3] - CENTER
    torch.testing.assert_close(offsets.norm(dim=-1), torch.full((8,), 4.0), atol=1e-4, rtol=0)
    heights = offsets @ TILTED
    assert heights.std() < 1e-4
    assert math.degrees(math.asin(heights[0].item() / 4)) == pytest.approx(30, abs=3)
    ring = torch.nn.functional.normalize(offsets - heights[:, None] * TILTED, dim=-1)
    steps = (ring * ring.roll(-1, 0)).sum(-1)
    torch.testing.assert_close(steps, torch.full((8,), math.cos(math.pi / 4)), atol=1e-4, rtol=0)
    # Frame 0 has the azimuth of the first photo.
    first = photos.world_from_camera[0, :, 3] - CENTER
    first = torch.nn.functional.normalize(first - (first @ TILTED) * TILTED, dim=0)
    torch.testing.assert_close(ring[0], first, atol=1e-4, rtol=0)


def test_orbit_sees_the_focus_in_the_middle_and_up_upward() -> None:
    film = orbit_path(on_dome(20, CENTER, TILTED), 5)
    index = torch.arange(5)
    pixels, depth = project(film, index, CENTER.repeat(5, 1))
    torch.testing.assert_close(pixels, torch.tensor([[32.0, 24.0]]).repeat(5, 1), atol=1e-3, rtol=0)
    assert (depth > 0).all()
    above, _ = project(film, index, (CENTER + 0.5 * TILTED).repeat(5, 1))
    assert (above[:, 1] < 24).all()
    torch.testing.assert_close(above[:, 0], torch.full((5,), 32.0), atol=1e-3, rtol=0)


def test_orbit_of_a_partial_capture_swings_along_its_arc() -> None:
    """Photos from a third of the circle, in any order: never a frame from where nobody was."""
    turn = torch.deg2rad(torch.tensor([100.0, 20.0, 60.0, 120.0, 0.0, 80.0, 40.0]) + 150)
    ring = torch.stack([turn.cos(), turn.sin(), 0 * turn], dim=-1)
    photos = cameras_at(2 * ring, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    orbit = fit_orbit(photos)
    assert math.degrees(orbit.sweep_rad) == pytest.approx(120, abs=0.01)
    positions = orbit_path(photos, 8).world_from_camera[..., 3]
    angles = torch.rad2deg(torch.atan2(positions[:, 1], positions[:, 0])) % 360
    expected = [150.0, 150 + 60 * (1 - 0.5**0.5), 210.0, 270 - 60 * (1 - 0.5**0.5), 270.0]
    assert angles.tolist() == pytest.approx(expected + expected[3:0:-1], abs=0.01)
    alone = fit_orbit(photos[:1])
    assert math.degrees(alone.sweep_rad) == pytest.approx(20)
    middle = orbit_path(photos[:1], 4).world_from_camera[1, :, 3]
    torch.testing.assert_close(middle, 2 * ring[0], atol=1e-3, rtol=0)


def test_orbit_of_a_capture_from_inside_looks_outward() -> None:
    turn = torch.linspace(0, 2 * math.pi, 13)[:-1]
    ring = torch.stack([turn.cos(), turn.sin(), 0 * turn], dim=-1)
    film = orbit_path(cameras_at(ring, 3 * ring, torch.tensor([0.0, 0.0, 1.0])), 6)
    positions, forward = film.world_from_camera[..., 3], film.world_from_camera[..., 2]
    torch.testing.assert_close(positions.norm(dim=-1), torch.ones(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(forward, positions, atol=1e-4, rtol=0)


def test_orbit_from_straight_above_is_still_a_turn() -> None:
    above = cameras_at(
        torch.tensor([[0.0, 0.0, 2.0]]), torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])
    )
    orbit = fit_orbit(above)
    assert orbit.start.isfinite().all() and orbit.start.norm().item() == pytest.approx(1)
    film = orbit_path(above, 4)
    assert film.world_from_camera.isfinite().all()
    rotation = film.world_from_camera[..., :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).expand(4, 3, 3))


def test_spiral_looks_at_the_focus_from_near_the_photos() -> None:
    assert is_forward_facing(FORWARD) and not is_forward_facing(on_dome(9, CENTER, TILTED))
    film = spiral_path(FORWARD, 30)
    positions = film.world_from_camera[..., 3]
    assert positions[:, :2].abs().max() < 0.25
    assert positions[:, 0].amax() > 0.1 and positions[:, 1].amax() > 0.05
    pixels, _ = project(film, torch.arange(30), torch.tensor([[0.0, 0.0, 3.0]]).repeat(30, 1))
    torch.testing.assert_close(pixels, torch.tensor([[32.0, 24.0]]).repeat(30, 1), atol=0.2, rtol=0)
    # It closes: the step from the last frame to the first is like all others.
    steps = (positions.roll(-1, 0) - positions).norm(dim=-1)
    assert steps[-1] < 1.2 * steps.amax()


def test_spiral_takes_a_stated_focus_distance() -> None:
    film = spiral_path(FORWARD, 12, focus_distance=10.0)
    pixels, _ = project(film, torch.arange(12), torch.tensor([[0.0, 0.0, 10.0]]).repeat(12, 1))
    torch.testing.assert_close(pixels, torch.tensor([[32.0, 24.0]]).repeat(12, 1), atol=0.2, rtol=0)


def test_parallel_axes_have_a_focus_ahead() -> None:
    positions = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    forward = torch.tensor([0.0, 0.0, 1.0])
    cameras = cameras_at(positions, forward + positions, torch.tensor([0.0, -1.0, 0.0]))
    assert focus_of(cameras)[2] > 1
    assert spiral_path(cameras, 5).world_from_camera.isfinite().all()
    assert orbit_path(cameras[:1], 5).world_from_camera.isfinite().all()


def test_spiral_of_a_partial_capture_stays_at_its_middle() -> None:
    turn = torch.deg2rad(torch.tensor([0.0, 100.0, 50.0, 25.0, 75.0]))
    ring = torch.stack([turn.cos(), turn.sin(), 0 * turn], dim=-1)
    film = spiral_path(cameras_at(ring, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])), 10)
    assert (film.world_from_camera[..., 3] - ring[2]).norm(dim=-1).amax() < 0.4


def test_spiral_around_an_object_stays_at_the_first_photo() -> None:
    photos = on_dome(20, CENTER, TILTED)
    film = spiral_path(photos, 10)
    offsets = film.world_from_camera[..., 3] - photos.world_from_camera[0, :, 3]
    assert 0.1 < offsets.norm(dim=-1).amax() < 1.2


def test_path_cameras_have_the_usual_size_and_view() -> None:
    photos = on_dome(5, CENTER, TILTED)
    photos.width[0], photos.height[0] = 48, 64
    photos.focal_px[1] = 1000.0
    photos.distortion[:] = 0.1
    film = orbit_path(photos, 3)
    assert film.width.tolist() == [64] * 3 and film.height.tolist() == [48] * 3
    assert film.focal_px.unique().tolist() == [80.0]
    assert film.distortion.abs().max() == 0
    assert film.center_px[0].tolist() == [32.0, 24.0]


def test_fisheye_captures_get_a_pinhole_of_bounded_width() -> None:
    photos = on_dome(5, CENTER, TILTED)
    photos.lens[:] = int(Lens.FISHEYE)
    film = path_cameras(photos.world_from_camera, photos)
    assert film.lens.tolist() == [int(Lens.PERSPECTIVE)] * 5
    half_width = math.atan(32 / film.focal_px[0, 0].item())
    assert half_width == pytest.approx(32 / 80, rel=1e-3)
    photos.focal_px[:] = 10.0
    wide = path_cameras(photos.world_from_camera, photos)
    assert math.degrees(2 * math.atan(32 / wide.focal_px[0, 0].item())) == pytest.approx(100)


def test_reframing_keeps_the_vertical_view_and_square_pixels() -> None:
    film = orbit_path(on_dome(5, CENTER, TILTED), 2)
    wide = reframed(film, 480, 96)
    index = torch.zeros(2, dtype=torch.long)
    before = rays_through_pixels(film, index, torch.tensor([[32.0, 0.0], [32.0, 48.0]]))
    after = rays_through_pixels(wide, index, torch.tensor([[240.0, 0.0], [240.0, 96.0]]))
    torch.testing.assert_close(before.directions, after.directions, atol=1e-6, rtol=0)
    assert wide.focal_px[0, 0] == wide.focal_px[0, 1]
