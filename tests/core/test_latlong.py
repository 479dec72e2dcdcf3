"""Directions in a latitude-longitude picture (what Mitsuba sees is in test_environment)."""

import math

import torch

from neural_render.core.lenses.latlong import look_up

RANDOM = torch.Generator().manual_seed(1)
DIRECTIONS = torch.nn.functional.normalize(torch.randn(300, 3, generator=RANDOM), dim=1).double()


def test_directions_of_texels_give_the_texels() -> None:
    """Rows from pole to pole, columns by their middles."""
    picture = torch.rand(5, 8, 2, generator=RANDOM).double()
    row, column = (x.flatten() for x in torch.meshgrid(*map(torch.arange, (5, 8)), indexing="ij"))
    down, across = math.pi * row / 4, math.tau * (column + 0.5) / 8
    x, z = down.sin() * across.sin(), -down.sin() * across.cos()
    seen = look_up(picture, torch.stack([x, down.cos(), z], 1).double())
    inner = (row > 0) & (row < 4)  # all of a pole's texels lie in one direction
    torch.testing.assert_close(seen[inner], picture.flatten(0, 1)[inner], rtol=0, atol=1e-6)


def test_one_colour_is_seen_all_around() -> None:
    seen = look_up(torch.full((2, 4, 3), 0.25), DIRECTIONS.float())
    assert torch.equal(seen, torch.full((300, 3), 0.25))


def test_it_is_differentiable_in_texels_and_directions() -> None:
    picture = torch.rand(4, 8, 2, generator=RANDOM).double().requires_grad_()
    directions = DIRECTIONS[:6].clone().requires_grad_()
    assert torch.autograd.gradcheck(look_up, (picture, directions))
