"""The colours that stand for plain numbers, and the numbers that stand for colours."""

from collections.abc import Callable

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.color import magma, quantised, viridis

# From the published tables, at 0, 1/2 and 1.
TABLES = {
    magma: [(0.0015, 0.0005, 0.0139), (0.7164, 0.2150, 0.4753), (0.9871, 0.9914, 0.7495)],
    viridis: [(0.2670, 0.0049, 0.3294), (0.1281, 0.5651, 0.5509), (0.9932, 0.9062, 0.1439)],
}


def luminance(srgb: Float[Tensor, "values 3"]) -> Float[Tensor, " values"]:
    return srgb @ torch.tensor([0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colors", [magma, viridis])
def test_ends_and_middle_are_those_of_the_published_map(colors: Callable[[Tensor], Tensor]) -> None:
    found = colors(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(found, torch.tensor(TABLES[colors]), atol=0.03, rtol=0)


@pytest.mark.parametrize("colors", [magma, viridis])
def test_more_is_lighter(colors: Callable[[Tensor], Tensor]) -> None:
    steps = luminance(colors(torch.linspace(0, 1, 64))).diff()
    assert (steps > 0).all()


def test_values_outside_are_clamped_and_shapes_kept() -> None:
    values = torch.tensor([[-1.0, 0.0], [1.0, 7.0]])
    colors = magma(values)
    assert colors.shape == (2, 2, 3)
    assert torch.equal(colors[0, 0], colors[0, 1]) and torch.equal(colors[1, 0], colors[1, 1])


def test_quantising_rounds_to_the_nearest_and_clamps() -> None:
    values = torch.tensor([-1.0, 0.0, 0.49 / 255, 0.51 / 255, 0.5, 1.0, 9.0])
    assert quantised(values).tolist() == [0, 0, 0, 1, 128, 255, 255]


def test_levels_survive_quantising() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(quantised(levels.float() / 255), levels)
