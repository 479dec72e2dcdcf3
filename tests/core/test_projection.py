"""Projective maps: points, rays and distances tell the same story."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from neural_render.core.projection import IDENTITY_PROJECTION, Projection, forward_projection
from neural_render.core.rays import Rays
from neural_render.core.transforms import rotation_from_vector

POSITION = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
ROTATION = rotation_from_vector(torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64))
TO_CUBE = forward_projection(
    rotation=ROTATION, position=POSITION, slopes=((-0.8, 0.6), (-0.5, 0.7)), near=2.0
)


def world(local: list[list[float]]) -> torch.Tensor:
    """Points given in the axes of the view."""
    return torch.tensor(local, dtype=torch.float64) @ ROTATION.T + POSITION


def forward_rays(count: int = 20) -> Rays:
    """Rays from near the middle of the view, all of which go forward."""
    generator = torch.Generator().manual_seed(1)
    local = torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5
    origins = local @ ROTATION.T + POSITION
    local = torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5
    local[:, 2] = 1.0
    directions = torch.nn.functional.normalize(local @ ROTATION.T, dim=1)
    return Rays(origins=origins, directions=directions, footprint=torch.ones(count).double())


def test_the_corners_of_the_view_are_those_of_the_cube() -> None:
    corners = world([[-1.6, -1.0, 2.0], [1.2, 1.4, 2.0], [-0.8 * 4, 0.7 * 4, 4.0], [0, 0, 2e9]])
    images = TO_CUBE.apply(corners)
    expected = [[0, 0, 0], [1, 1, 0], [0, 1, 0.5], [0.8 / 1.4, 0.5 / 1.2, 1]]
    assert torch.allclose(images, torch.tensor(expected, dtype=torch.float64))
    assert torch.allclose(TO_CUBE.inverse().apply(images[:3]), corners[:3])


def test_points_of_a_ray_lie_on_its_image_where_the_distances_say() -> None:
    rays = forward_rays()
    image = TO_CUBE.apply_to_rays(rays)
    assert torch.allclose(image.rays.directions.norm(dim=1), torch.ones(20).double())
    assert (image.rays.origins[:, 2].abs() < 1e-12).all()  # they begin on the first plane
    assert (image.rays.footprint == 0).all()
    for distance in (3.0, 10.0, 500.0):
        along = torch.full((20,), distance, dtype=torch.float64)
        direct = TO_CUBE.apply(rays.origins + distance * rays.directions)
        there = image.image_distance(along)
        reached = image.rays.origins + there[:, None] * image.rays.directions
        assert torch.allclose(direct, reached)
        assert torch.allclose(image.ray_distance(there), along)


def test_a_ray_that_starts_in_the_scene_starts_there() -> None:
    rays = forward_rays()
    inside = Rays(
        origins=rays.origins + 9 * rays.directions,
        directions=rays.directions,
        footprint=rays.footprint,
    )
    image = TO_CUBE.apply_to_rays(inside)
    assert torch.allclose(image.rays.origins, TO_CUBE.apply(inside.origins))
    one = torch.ones(20).double()
    assert torch.allclose(image.ray_distance(image.image_distance(one)), one)


def test_unknown_distances_stay_unknown() -> None:
    image = TO_CUBE.apply_to_rays(forward_rays(3))
    unknown = torch.tensor([0.0, torch.inf, 5.0], dtype=torch.float64)
    assert (image.image_distance(unknown) == 0).tolist() == [True, True, False]
    beyond = image.ray_distance(torch.tensor([0.0, 1e3, 0.1], dtype=torch.float64))
    assert beyond.isfinite().all() and beyond[0] == 0 and beyond[1] > 1e3


def test_rays_that_do_not_go_forward_miss_the_cube() -> None:
    forward = forward_rays(3)
    local = torch.tensor([[0.0, 0, -1], [1, 0, 0], [0, 1, -1e-9]], dtype=torch.float64)
    rays = Rays(origins=forward.origins, directions=local @ ROTATION.T, footprint=forward.footprint)
    image = TO_CUBE.apply_to_rays(rays)
    assert image.rays.origins.isfinite().all()
    assert (image.rays.origins[:, 2] < 0).all() and (image.rays.directions[:, 2] < 0).all()
    assert (image.ray_distance(torch.ones(3).double()) == 0).all()


def test_rays_are_differentiable_also_where_some_go_backward() -> None:
    rays = forward_rays(4)
    directions = rays.directions.clone()
    directions[2] *= -1

    def images(origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rays = Rays(origins=origins, directions=directions, footprint=torch.zeros(4).double())
        image = TO_CUBE.apply_to_rays(rays).rays
        return image.origins, image.directions

    inputs = (rays.origins.clone().requires_grad_(), directions.requires_grad_())
    assert torch.autograd.gradcheck(images, inputs)


def test_the_identity_is_known() -> None:
    assert IDENTITY_PROJECTION.is_identity and not TO_CUBE.is_identity
    assert Projection() == IDENTITY_PROJECTION
    points = torch.rand(5, 3)
    assert torch.equal(IDENTITY_PROJECTION.apply(points), points)
    with pytest.raises(AssertionError, match="leaves rays as they are"):
        IDENTITY_PROJECTION.apply_to_rays(forward_rays())


class _FromTheHost(TorchDispatchMode):
    """How many tensors were made of Python's numbers inside."""

    found = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.found += func.overloadpacket.__name__ == "lift_fresh"
        return func(*args, **(kwargs or {}))


def test_a_device_is_told_a_projection_once() -> None:
    """Also by a film, which wants no gradients: a host would wait for each telling."""
    projection, rays = Projection(matrix=(*TO_CUBE.matrix[:15], 0.25)), forward_rays()
    with torch.inference_mode(), _FromTheHost() as first:
        projection.apply_to_rays(rays)
    origins = rays.origins.clone().requires_grad_()
    with _FromTheHost() as again:
        seen = projection.apply_to_rays(replace(rays, origins=origins))
        projection.apply(origins)
    assert first.found > 0 and again.found == 0
    seen.rays.origins.sum().backward()
    assert origins.grad is not None and origins.grad.any()
