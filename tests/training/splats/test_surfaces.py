"""Where splats begin, on a wall that is known."""

import torch

from neural_render.core.cameras import Cameras
from neural_render.rendering import Image
from neural_render.training.splats.surfaces import FAR_RADIUS, Places, places_seen, spacing

SIDE, FOCAL, DEPTH = 40, 50.0, 2.0


def wall_camera() -> Cameras:
    """One in the middle of the field's cube that looks along z."""
    pose = torch.eye(4)[None, :3].clone()
    pose[0, :, 3] = 0.5
    return Cameras(
        world_from_camera=pose,
        focal_px=torch.full((1, 2), FOCAL),
        center_px=torch.full((1, 2), SIDE / 2),
        distortion=torch.zeros(1, 6),
        lens=torch.zeros(1, dtype=torch.int64),
        width=torch.tensor([SIDE]),
        height=torch.tensor([SIDE]),
    )


def wall(opacity: torch.Tensor) -> tuple[Image, torch.Tensor]:
    """A red wall at a depth, as far as it is opaque, and its picture."""
    y, x = torch.meshgrid(*(2 * [torch.arange(SIDE) + 0.5 - SIDE / 2]), indexing="ij")
    distance = DEPTH * (1 + (x**2 + y**2) / FOCAL**2).sqrt()
    color = torch.tensor([0.8, 0.1, 0.2]) * opacity[..., None]
    image = Image(color=color, opacity=opacity, distance=distance.where(opacity > 0, 0.0))
    return image, torch.cat([color, opacity[..., None]], dim=-1)


def seen(opacity: torch.Tensor, count: int = 300) -> Places:
    """What is picked of the wall."""
    image, picture = wall(opacity)
    return places_seen(wall_camera(), 0, image, picture, count, torch.Generator().manual_seed(1))


def test_places_lie_on_the_wall_and_have_its_colour() -> None:
    opacity = torch.ones(SIDE, SIDE)
    opacity[:, :10] = 0.3
    places = seen(opacity)
    assert len(places) == 300
    torch.testing.assert_close(places.points[:, 2], torch.full((300,), 0.5 + DEPTH))
    torch.testing.assert_close(places.colors, torch.tensor([0.8, 0.1, 0.2]).expand(300, 3))
    assert len(places.pixel.unique()) == 300
    assert int((places.pixel % SIDE).min()) >= 10
    # A pixel of the wall is depth over focal wide; looked at from aside, its own rays are closer.
    assert 0.8 < (places.size * FOCAL / DEPTH).mean() < 1.05


def test_where_two_surfaces_mix_there_are_fewer_places() -> None:
    """A mean distance lies between them."""
    image, picture = wall(torch.ones(SIDE, SIDE))
    image.distance[:, :20] *= 0.5
    generator = torch.Generator().manual_seed(1)
    places = places_seen(wall_camera(), 0, image, picture, 400, generator)
    column = places.pixel % SIDE
    on_edge = ((column == 19) | (column == 20)).float().mean()
    assert on_edge < 0.5 * 2 / SIDE


def test_what_is_far_beyond_the_cube_lies_on_a_ball_around_it() -> None:
    """There it is known to be opaque, and no distance is."""
    image, picture = wall(torch.ones(SIDE, SIDE))
    image.distance[:] = 0
    places = places_seen(wall_camera(), 0, image, picture, 50, torch.Generator().manual_seed(1))
    assert len(places) == 50
    torch.testing.assert_close((places.points - 0.5).norm(dim=1), torch.full((50,), FAR_RADIUS))


def test_nothing_is_picked_where_nothing_is() -> None:
    assert len(seen(torch.zeros(SIDE, SIDE))) == 0


def test_spacing_is_that_of_a_lattice_near_and_far() -> None:
    """Cells grow with pixels: a lattice twice as coarse, seen from twice as far, is as crowded."""
    step = torch.arange(60) / 60
    near = torch.stack([*torch.meshgrid(step, step, indexing="ij"), torch.zeros(60, 60)], dim=-1)
    points = torch.cat([near.view(-1, 3), 5 + 16 * near.view(-1, 3)])
    size = torch.cat([torch.full((3600,), 0.004), torch.full((3600,), 0.064)])
    zeros = torch.zeros(7200, dtype=torch.int64)
    places = Places(
        points=points, directions=points, size=size, colors=points, view=zeros, pixel=zeros
    )
    found = spacing(places)
    for part, true in ((found[:3600], 1 / 60), (found[3600:], 16 / 60)):
        assert 0.7 * true < float(part.median()) < 1.4 * true
