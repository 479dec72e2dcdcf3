"""Cameras: hand numbers, inversion of distortion, derivatives, footprints, sizes and frames."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from neural_render.core.cameras import (
    Cameras,
    Lens,
    directions_in_camera,
    half_angles_rad,
    image_rays,
    pixel_centers,
    project,
    rays_through_pixels,
)
from neural_render.core.transforms import Similarity, look_at, rotation_from_vector

FLOAT64 = torch.float64
NO_DISTORTION = (0.0,) * 6
# A phone's lens (fox), a strong wide one, and a fisheye (k1 to k4 only).
PHONE = (0.0578421, -0.0805099, 0.0, 0.0, -0.000980296, 0.00015575)
WIDE = (-0.28, 0.07, -0.002, 0.0001, 0.001, -0.0007)
FISHEYE = (0.03, -0.005, 0.002, -0.0004, 0.0, 0.0)


def make_cameras(
    *lenses: tuple[Lens, tuple[float, ...]], dtype: torch.dtype = FLOAT64, size: int = 64
) -> Cameras:
    """One camera per lens, 64x48 pixels, at different places and turns."""
    count = len(lenses)
    turns = torch.linspace(0.1, 0.9, 3 * count, dtype=dtype).view(count, 3)
    places = torch.linspace(-2, 2, 3 * count, dtype=dtype).view(count, 3, 1)
    return Cameras(
        world_from_camera=torch.cat([rotation_from_vector(turns), places], dim=-1),
        focal_px=torch.tensor([[0.8 * size, 0.7 * size]] * count, dtype=dtype),
        center_px=torch.tensor([[0.52 * size, 0.36 * size]] * count, dtype=dtype),
        distortion=torch.tensor([lens[1] for lens in lenses], dtype=dtype),
        lens=torch.tensor([int(lens[0]) for lens in lenses]),
        width=torch.full((count,), size),
        height=torch.full((count,), size * 3 // 4),
    )


def zeros_index(pixels: Tensor) -> Tensor:
    return torch.zeros(len(pixels), dtype=torch.long)


def test_a_pinhole_by_hand() -> None:
    cameras = Cameras(
        world_from_camera=torch.tensor([[[0.0, 0, 1, 5], [1, 0, 0, 6], [0, 1, 0, 7]]]),
        focal_px=torch.tensor([[2.0, 4.0]]),
        center_px=torch.tensor([[2.0, 1.0]]),
        distortion=torch.zeros(1, 6),
        lens=torch.tensor([0]),
        width=torch.tensor([4]),
        height=torch.tensor([2]),
    )
    rays = image_rays(cameras, 0)
    assert len(rays) == 8
    # The first row's last pixel has its centre at (3.5, 0.5): camera direction (0.75, -0.125, 1).
    camera_direction = torch.tensor([0.75, -0.125, 1.0]) / math.sqrt(1 + 0.75**2 + 0.125**2)
    expected = cameras.world_from_camera[0, :, :3] @ camera_direction
    assert torch.allclose(rays.directions[3], expected)
    assert torch.equal(rays.origins[3], torch.tensor([5.0, 6.0, 7.0]))


def test_distortion_is_opencvs_by_hand() -> None:
    k1, k2, k3, k4, p1, p2 = coefficients = (0.1, -0.2, 0.05, 0.03, 0.01, -0.02)
    x, y = 0.5, -0.25
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    cameras = make_cameras((Lens.PERSPECTIVE, coefficients))
    pose = cameras.world_from_camera[0]
    point = pose[:, :3] @ torch.tensor([3 * x, 3 * y, 3.0], dtype=FLOAT64) + pose[:, 3]
    pixel, depth = project(cameras, torch.tensor([0]), point[None])
    wanted = torch.tensor([u, v], dtype=FLOAT64) * cameras.focal_px[0] + cameras.center_px[0]
    assert torch.allclose(pixel[0], wanted, atol=1e-12)
    assert depth[0] == pytest.approx(3)


def test_fisheye_distortion_is_opencvs_by_hand() -> None:
    cameras = make_cameras((Lens.FISHEYE, FISHEYE))
    theta = 1.2
    pose = cameras.world_from_camera[0]
    local = torch.tensor([0.6 * math.sin(theta), -0.8 * math.sin(theta), math.cos(theta)])
    point = pose[:, :3] @ (2 * local.double()) + pose[:, 3]
    pixel, _ = project(cameras, torch.tensor([0]), point[None])
    k1, k2, k3, k4 = FISHEYE[:4]
    bent = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8)
    wanted = bent * torch.tensor([0.6, -0.8], dtype=FLOAT64) * cameras.focal_px[0]
    assert torch.allclose(pixel[0], wanted + cameras.center_px[0], atol=1e-6)


# With all of them at 0.05 the corner of the picture lies beyond a fold.
small = st.floats(-0.03, 0.03)


@given(st.sampled_from(list(Lens)), st.tuples(small, small, small, small, small, small))
def test_project_inverts_rays(lens: Lens, coefficients: tuple[float, ...]) -> None:
    cameras = make_cameras((lens, coefficients))
    pixels = pixel_centers(cameras, 0)
    index = zeros_index(pixels)
    rays = rays_through_pixels(cameras, index, pixels)
    _, _, valid = directions_in_camera(cameras, index, pixels)
    assert valid.all()
    distance = torch.linspace(0.1, 9, len(pixels), dtype=FLOAT64)[:, None]
    found, _ = project(cameras, index, rays.origins + distance * rays.directions)
    assert torch.allclose(found, pixels, atol=1e-8)
    assert torch.allclose(rays.directions.norm(dim=-1), torch.ones(len(pixels), dtype=FLOAT64))


@pytest.mark.parametrize(
    "lens", [(Lens.PERSPECTIVE, PHONE), (Lens.PERSPECTIVE, WIDE), (Lens.FISHEYE, FISHEYE)]
)
def test_round_trip_in_single_precision(lens: tuple[Lens, tuple[float, ...]]) -> None:
    cameras = make_cameras(lens, dtype=torch.float32, size=1024)
    pixels = pixel_centers(cameras, 0)[::97]
    index = zeros_index(pixels)
    rays = rays_through_pixels(cameras, index, pixels)
    found, depth = project(cameras, index, rays.origins + 2 * rays.directions)
    assert torch.allclose(found, pixels, atol=3e-3)  # of 1024: single precision of a 2-unit ray
    assert (depth > 0).all()


def test_a_fisheye_sees_behind_itself() -> None:
    cameras = make_cameras((Lens.FISHEYE, NO_DISTORTION))
    focal, center = cameras.focal_px[0], cameras.center_px[0]
    pixels = (center + torch.tensor([2.0, 0.0], dtype=FLOAT64) * focal)[None]
    directions, _, valid = directions_in_camera(cameras, zeros_index(pixels), pixels)
    expected = torch.tensor([math.sin(2), 0, math.cos(2)], dtype=FLOAT64)
    assert valid.all() and torch.allclose(directions[0], expected)
    rays = rays_through_pixels(cameras, zeros_index(pixels), pixels)
    found, depth = project(cameras, zeros_index(pixels), rays.origins + rays.directions)
    assert torch.allclose(found, pixels) and depth[0] < 0


@pytest.mark.parametrize(
    "lenses",
    [
        [(Lens.PERSPECTIVE, NO_DISTORTION)],
        [(Lens.PERSPECTIVE, WIDE)],
        [(Lens.FISHEYE, FISHEYE)],
        [(Lens.PERSPECTIVE, PHONE), (Lens.FISHEYE, FISHEYE)],
    ],
)
def test_rays_are_differentiable_in_camera_and_pixel(lenses: list) -> None:
    cameras = make_cameras(*lenses)
    index = torch.arange(6) % len(lenses)
    pixels = torch.rand(6, 2, dtype=FLOAT64, generator=torch.Generator().manual_seed(0)) * 40
    pixels[0] = cameras.center_px[0]  # the norm of zero must not spoil a fisheye's derivative

    def trace(poses: Tensor, focal: Tensor, center: Tensor, lens: Tensor, at: Tensor) -> tuple:
        moved = Cameras(
            world_from_camera=poses,
            focal_px=focal,
            center_px=center,
            distortion=lens,
            lens=cameras.lens,
            width=cameras.width,
            height=cameras.height,
        )
        rays = rays_through_pixels(moved, index, at)
        return rays.origins, rays.directions

    inputs = (cameras.world_from_camera, cameras.focal_px, cameras.center_px, cameras.distortion)
    leaves = tuple(tensor.clone().requires_grad_() for tensor in (*inputs, pixels))
    assert torch.autograd.gradcheck(trace, leaves, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("lens", [(Lens.PERSPECTIVE, WIDE), (Lens.FISHEYE, FISHEYE)])
def test_projection_is_differentiable(lens: tuple[Lens, tuple[float, ...]]) -> None:
    cameras = make_cameras(lens)
    rays = image_rays(cameras, 0)
    points = (rays.origins + 3 * rays.directions)[::500].clone().requires_grad_()
    index = zeros_index(points)
    assert torch.autograd.gradcheck(lambda at: project(cameras, index, at), (points,))


@pytest.mark.parametrize(
    "lens",
    [
        (Lens.PERSPECTIVE, NO_DISTORTION),
        (Lens.PERSPECTIVE, WIDE),
        (Lens.FISHEYE, NO_DISTORTION),
        (Lens.FISHEYE, FISHEYE),
    ],
)
def test_footprint_is_a_twelfth_of_the_pixels_solid_angle(
    lens: tuple[Lens, tuple[float, ...]],
) -> None:
    cameras = make_cameras(lens)
    pixels = pixel_centers(cameras, 0)
    index = zeros_index(pixels)
    half = 1e-3
    sides = [
        directions_in_camera(cameras, index, pixels + torch.tensor(step, dtype=FLOAT64))[0]
        for step in ((half, 0), (-half, 0), (0, half), (0, -half))
    ]
    across_x, across_y = (sides[0] - sides[1]) / (2 * half), (sides[2] - sides[3]) / (2 * half)
    solid_angle = torch.linalg.cross(across_x, across_y).norm(dim=-1)
    _, footprint, _ = directions_in_camera(cameras, index, pixels)
    assert torch.allclose(12 * footprint**2, solid_angle, rtol=1e-5)


def test_pixels_beyond_the_fold_are_marked_and_finite() -> None:
    # u(r) = r - r^3 turns back at r = 0.577, u = 0.385: the corners of this image are impossible.
    cameras = make_cameras((Lens.PERSPECTIVE, (-1.0, 0, 0, 0, 0, 0)), dtype=torch.float32)
    pixels = pixel_centers(cameras, 0)
    directions, footprint, valid = directions_in_camera(cameras, zeros_index(pixels), pixels)
    radius = ((pixels - cameras.center_px) / cameras.focal_px).norm(dim=-1)
    possible = 2 / 3**1.5
    assert torch.equal(valid[radius < 0.99 * possible].unique(), torch.tensor([True]))
    assert torch.equal(valid[radius > 1.01 * possible].unique(), torch.tensor([False]))
    assert directions.isfinite().all() and footprint.isfinite().all()


def test_a_fisheyes_impossible_pixels_are_marked_and_finite() -> None:
    cameras = make_cameras((Lens.FISHEYE, (-0.5, 0, 0, 0, 0, 0)))
    pixels = cameras.center_px + torch.tensor([[0.3, 0], [40.0, 40.0]], dtype=FLOAT64)
    directions, footprint, valid = directions_in_camera(cameras, zeros_index(pixels), pixels)
    assert valid.tolist() == [True, False]
    assert directions.isfinite().all() and footprint.isfinite().all()


def test_image_rays_are_the_rays_through_all_pixel_centres() -> None:
    cameras = make_cameras((Lens.PERSPECTIVE, PHONE), (Lens.FISHEYE, FISHEYE))
    for camera in range(2):
        rays = image_rays(cameras, camera)
        pixel = torch.arange(64 * 48)
        y, x = pixel // 64, pixel % 64
        pixels = torch.stack([x, y], dim=-1).double() + 0.5
        wanted = rays_through_pixels(cameras, torch.full((64 * 48,), camera), pixels)
        assert torch.allclose(rays.origins, wanted.origins)
        assert torch.allclose(rays.directions, wanted.directions)
        assert torch.allclose(rays.footprint, wanted.footprint)


def test_resized_cameras_see_the_same() -> None:
    cameras = make_cameras((Lens.PERSPECTIVE, WIDE))
    small_cameras = cameras.resized(16, 12)
    pixels = pixel_centers(small_cameras, 0)
    assert (int(small_cameras.width[0]), int(small_cameras.height[0])) == (16, 12)
    small_rays = rays_through_pixels(small_cameras, zeros_index(pixels), pixels)
    rays = rays_through_pixels(cameras, zeros_index(pixels), 4 * pixels)
    assert torch.allclose(small_rays.directions, rays.directions)
    assert torch.allclose(small_rays.footprint, 4 * rays.footprint)


def test_in_frame_moves_points_with_the_cameras() -> None:
    cameras = make_cameras((Lens.PERSPECTIVE, PHONE))
    field_from_world = Similarity(scale=0.25, translation=(1.0, -2.0, 0.5))
    rays = image_rays(cameras, 0)
    points = rays.origins + 4 * rays.directions
    moved, depth = project(
        cameras.in_frame(field_from_world), zeros_index(points), field_from_world.apply(points)
    )
    assert torch.allclose(moved, pixel_centers(cameras, 0), atol=1e-8)
    assert torch.allclose(4 * depth, project(cameras, zeros_index(points), points)[1])


def test_selecting_cameras_by_slice_and_by_index() -> None:
    cameras = make_cameras(*[(Lens.PERSPECTIVE, (k, 0, 0, 0, 0, 0)) for k in (0.0, 0.1, 0.2)])
    assert len(cameras) == 3 and len(cameras[1:]) == 2
    picked = cameras[torch.tensor([2, 0])]
    assert picked.distortion[:, 0].tolist() == pytest.approx([0.2, 0.0])
    assert picked.to(torch.device("cpu")).world_from_camera.equal(
        cameras.world_from_camera[torch.tensor([2, 0])]
    )


def test_half_angles_of_view() -> None:
    wide = (*(0.0,) * 15, 0.9, 0.0)
    for lens, coefficients in ((Lens.PERSPECTIVE, NO_DISTORTION), (Lens.FOV, wide)):
        camera = make_cameras((lens, coefficients))
        camera = Cameras(**{**vars(camera), "center_px": torch.tensor([[32.0, 24.0]]).double()})
        edges = torch.tensor([[64.0, 24.0], [32.0, 48.0]], dtype=FLOAT64)
        directions, _, _ = directions_in_camera(camera, zeros_index(edges), edges)
        assert torch.allclose(half_angles_rad(camera)[0], directions[:, 2].acos())
    fisheye = make_cameras((Lens.FISHEYE, FISHEYE))
    assert half_angles_rad(fisheye)[0].tolist() == pytest.approx([32 / 51.2, 24 / 44.8])


def test_a_camera_looks_along_z_with_y_down() -> None:
    pose = look_at(torch.tensor([0.0, -5.0, 0.0]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    cameras = make_cameras((Lens.PERSPECTIVE, NO_DISTORTION), dtype=torch.float32)
    cameras = Cameras(**{**vars(cameras), "world_from_camera": pose[None]})
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    pixels, depth = project(cameras, zeros_index(points), points)
    assert depth.tolist() == pytest.approx([5, 5, 5])
    assert torch.allclose(pixels[0], cameras.center_px[0], atol=1e-4)
    assert pixels[1, 0] > pixels[0, 0]  # what is to the right appears to the right
    assert pixels[2, 1] < pixels[0, 1]  # what is above appears above
