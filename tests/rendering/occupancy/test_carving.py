"""Carving: what rays pass on their way to a ball is empty, nothing near it and nothing behind."""

import math

import pytest
import torch

from neural_render.core.rays import Rays
from neural_render.kernels.cells import NUM_CELLS
from neural_render.kernels.morton import morton_decode, morton_encode
from neural_render.kernels.specs import MORTON_RESOLUTION as SIDE
from neural_render.rendering.emptiness.carving import cells_around, cells_of, empty_cells

RADIUS = 0.25
MIDDLE = torch.full((3,), 0.5)
NEAR = 1.0 / SIDE


def rays_of(origins: torch.Tensor, directions: torch.Tensor) -> Rays:
    directions = torch.nn.functional.normalize(directions, dim=1)
    return Rays(origins=origins, directions=directions, footprint=torch.zeros(len(origins)))


def distance_to_ball(rays: Rays) -> torch.Tensor:
    """Of the ball in the middle, 0 for a miss; rays begin outside of it."""
    to_middle = rays.origins - MIDDLE
    along = (to_middle * rays.directions).sum(1)
    inside = along**2 - (to_middle**2).sum(1) + RADIUS**2
    distance = -along - inside.clamp(min=0).sqrt()
    return torch.where((inside > 0) & (distance > 0), distance, 0.0)


def centers() -> torch.Tensor:
    """Of all cells in their order."""
    return (morton_decode(torch.arange(NUM_CELLS)) + 0.5) / SIDE


def carved(rays: Rays, distance: torch.Tensor) -> torch.Tensor:
    (empty,) = empty_cells(rays, distance, [1.0], torch.Generator().manual_seed(1))
    return empty


def cell(x: float, y: float, z: float) -> int:
    return int(cells_of(torch.tensor([[x, y, z]]))[0])


def column(empty: torch.Tensor, y: float = 0.503, z: float = 0.503) -> torch.Tensor:
    """The cells along x at a height and a depth."""
    x = torch.arange(SIDE)
    other = torch.tensor([int(y * SIDE), int(z * SIDE)]).expand(SIDE, 2)
    return empty[morton_encode(torch.cat([x[:, None], other], dim=1))]


def test_cells_are_those_of_points() -> None:
    points = torch.tensor(
        [[0.0, 0.0, 0.0], [0.999, 0.0, 0.5], [1.0, 0.5, 0.5], [-1e-6, 0.5, 0.5], [math.nan, 0, 0]]
    )
    expected = morton_encode(torch.tensor([[0, 0, 0], [127, 0, 64]]))
    assert cells_of(points).tolist() == [*expected.tolist(), NUM_CELLS, NUM_CELLS, NUM_CELLS]


def at_the_ball(origins: torch.Tensor, generator: torch.Generator) -> Rays:
    """Through random points of the middle of the cube."""
    targets = torch.rand(origins.shape, generator=generator) * 0.8 + 0.1
    return rays_of(origins, targets - origins)


def test_from_all_around_a_ball_is_left() -> None:
    generator = torch.Generator().manual_seed(0)
    outward = torch.nn.functional.normalize(torch.randn((1 << 16, 3), generator=generator), dim=1)
    rays = at_the_ball(0.5 + 1.5 * outward, generator)
    empty = carved(rays, distance_to_ball(rays))
    from_middle = (centers() - MIDDLE).norm(dim=1)
    # A cell reaches sqrt(3) / 2 of its side from its centre.
    assert not empty[from_middle < RADIUS + 0.8 * NEAR].any(), "no cell of the ball is emptied"
    around = (from_middle > RADIUS + 4 * NEAR) & (from_middle < 0.35)
    assert empty[around].float().mean() > 0.9


def test_from_one_side_what_is_behind_a_ball_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.rand((1 << 16, 3), generator=generator) * 0.2 + torch.tensor([-1.0, 0.4, 0.4])
    rays = at_the_ball(start, generator)
    empty = carved(rays, distance_to_ball(rays))
    place = centers()
    behind = (place[:, 0] > 0.6) & ((place[:, 1:] - 0.5).norm(dim=1) < 0.15)
    assert not empty[behind].any()
    in_front = (place[:, 0] > 0.05) & (place[:, 0] < 0.2)
    seen = in_front & ((place[:, 1:] - 0.5).abs().amax(1) < 0.2)
    assert empty[seen].float().mean() > 0.9


def test_surface_cells_and_their_neighbours_stay() -> None:
    """A bundle of rays along x that end at 0.5: empty up to two cells before it."""
    at = torch.linspace(0.5, 0.505, 2000)
    rays = rays_of(
        torch.stack([torch.full_like(at, -0.5), at, at], dim=1),
        torch.tensor([[1.0, 0.0, 0.0]]).expand(2000, 3),
    )
    found = column(carved(rays, torch.full((2000,), 1.001)))
    surface = int(0.501 * SIDE)
    assert found[: surface - 1].all()
    assert not found[surface - 1 :].any()


@pytest.mark.parametrize("distance", [0.0, 5.0])
def test_rays_that_miss_empty_all_they_pass(distance: float) -> None:
    """Or hit beyond the cube."""
    rays = rays_of(
        torch.tensor([[-0.5, 0.503, 0.503]]).expand(400, 3),
        torch.tensor([[1.0, 0, 0]]).expand(400, 3),
    )
    empty = carved(rays, torch.full((400,), distance))
    assert column(empty).all()
    assert int(empty.sum()) == SIDE


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rays_along_an_axis_from_inside(axis: int, sign: float) -> None:
    """Two components of the direction are 0; cells behind the origin stay."""
    origin = torch.full((400, 3), 0.503)
    direction = torch.zeros(400, 3)
    direction[:, axis] = sign
    empty = carved(rays_of(origin, direction), torch.zeros(400))
    place = torch.stack([torch.full((SIDE,), int(0.503 * SIDE))] * 3, dim=1)
    place[:, axis] = torch.arange(SIDE)
    start = int(0.503 * SIDE)
    ahead = torch.arange(SIDE) >= start if sign > 0 else torch.arange(SIDE) <= start
    assert torch.equal(empty[morton_encode(place)], ahead)
    assert int(empty.sum()) == int(ahead.sum())


def test_rays_in_the_plane_of_a_side_and_past_the_cube_empty_nothing_else() -> None:
    origins = torch.tensor([[-1.0, 0.0, 0.5], [-1.0, 1.0, 0.5], [-1.0, 2.0, 0.5], [2.0, 0.5, 0.5]])
    rays = rays_of(origins, torch.tensor([[1.0, 0, 0]]).expand(4, 3))
    empty = carved(rays, torch.zeros(4))
    assert set(empty.nonzero()[:, 0].tolist()) <= {
        cell((x + 0.5) / SIDE, 0.001, 0.5) for x in range(SIDE)
    }


def test_a_surface_that_one_ray_meets_is_not_emptied_by_others() -> None:
    """Glancing rays pass the cell; one that ends there keeps it and its neighbours."""
    passing = torch.tensor([[-0.5, 0.503, 0.503]]).expand(400, 3)
    ending = torch.tensor([[0.503, 0.503, -0.5]])
    directions = torch.cat(
        [torch.tensor([[1.0, 0, 0]]).expand(400, 3), torch.tensor([[0.0, 0, 1.0]])]
    )
    rays = rays_of(torch.cat([passing, ending]), directions)
    distance = torch.cat([torch.zeros(400), torch.tensor([1.003])])
    found = column(carved(rays, distance))
    place = int(0.503 * SIDE)
    assert (~found).nonzero()[:, 0].tolist() == [place - 1, place, place + 1]


def test_each_cascade_is_carved_by_itself() -> None:
    """A ball that one cell of the outer cube holds: around it the inner cube is empty."""
    generator = torch.Generator().manual_seed(0)
    outward = torch.nn.functional.normalize(torch.randn((1 << 16, 3), generator=generator), dim=1)
    rays = at_the_ball(0.5 + 1.5 * outward, generator)
    one = carved(rays, distance_to_ball(rays))
    small = Rays(
        origins=(rays.origins - 0.5) / 4 + 0.5,
        directions=rays.directions,
        footprint=rays.footprint,
    )
    distance = distance_to_ball(rays) / 4
    generator = torch.Generator().manual_seed(1)
    inner, outer = empty_cells(small, distance, [0.25, 1.0], generator)
    assert (inner == one).float().mean() > 0.999, "up to rounding"
    from_middle = (centers() - MIDDLE).norm(dim=1)
    assert not outer[from_middle < RADIUS / 4 + 0.8 * NEAR].any()
    assert outer[(from_middle > RADIUS / 4 + 3 * NEAR) & (from_middle < 0.1)].float().mean() > 0.9


def test_cells_around_a_point_are_its_block_and_those_beside_it() -> None:
    point = torch.tensor([[0.55, 0.03, 0.99], [5.0, 0.5, 0.5]])  # the second lies outside
    (marked,) = cells_around(point, [1.0])
    blocks = (morton_decode(torch.arange(NUM_CELLS)) // 8)[marked].unique(dim=0)
    expected = torch.cartesian_prod(torch.arange(7, 10), torch.arange(2), torch.arange(14, 16))
    assert blocks.tolist() == expected.tolist()
    assert int(marked.sum()) == 512 * len(expected)


def test_cells_around_points_belong_to_the_cube_of_each_side() -> None:
    inner, outer = cells_around(torch.tensor([[0.6, 0.6, 0.6]]), [0.5, 1.0])
    centers_of_inner = (centers() - 0.5) * 0.5 + 0.5
    assert ((centers_of_inner[inner] - 0.6).abs() <= 0.0625).all()
    assert ((centers()[outer] - 0.6).abs() <= 0.125).all()
    nowhere = cells_around(torch.zeros(0, 3), [1.0])
    assert not nowhere.any()
