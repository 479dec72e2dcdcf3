"""Sub-frames share out pixel, lens and time."""

import math
from itertools import pairwise

import pytest
import torch

from neural_render.core.optics.moments import GAUSSIAN_SIGMA_PX, disc, moments, offset_px


def drawn(side: int, shutter: float = 0.0, pixel_filter: str = "box", seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return moments(side, pixel_filter=pixel_filter, shutter=shutter, generator=generator)


def test_each_has_a_part_of_the_pixel_of_the_lens_and_of_time_to_itself() -> None:
    found = drawn(4, shutter=0.5)
    assert len(found) == 16
    x, y = ({moment.offset_px[axis] for moment in found} for axis in (0, 1))
    assert x == y == {-0.375, -0.125, 0.125, 0.375}
    assert len({moment.offset_px for moment in found}) == 16
    for axis in (0, 1):
        assert {int(16 * moment.lens[axis]) for moment in found} == set(range(16))
    opened = sorted((moment.opens, moment.closes) for moment in found)
    assert opened[0][0] == -0.25 and opened[-1][1] == 0.25
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(opened))
    assert [moment.opens for moment in found] != sorted(moment.opens for moment in found)


def test_they_depend_on_the_seed_alone() -> None:
    assert drawn(3, shutter=1.0) == drawn(3, shutter=1.0) != drawn(3, shutter=1.0, seed=1)


def test_one_alone_is_a_still_picture_through_the_pixels_centre() -> None:
    (only,) = drawn(1)
    assert only.offset_px == (0.0, 0.0) and only.opens == only.closes == 0.0
    (soft,) = drawn(1, pixel_filter="gaussian")
    assert soft.offset_px == (0.0, 0.0)


def test_a_gaussian_filter_has_its_width() -> None:
    offsets = torch.tensor([offset_px((i + 0.5) / 999, "gaussian") for i in range(999)])
    assert offsets.std().item() == pytest.approx(GAUSSIAN_SIGMA_PX, rel=0.03)
    assert offsets.abs().max() < 1.5 and offsets.mean().abs() < 1e-5


def test_the_square_becomes_a_disc_of_even_density() -> None:
    steps = (torch.arange(64) + 0.5) / 64
    points = disc(torch.cartesian_prod(steps, steps))
    radius = points.norm(dim=-1)
    assert radius.max() <= 1
    for share in (0.25, 0.5, 0.75):
        assert (radius < math.sqrt(share)).float().mean().item() == pytest.approx(share, abs=0.02)
    assert points.mean(dim=0).abs().max() < 1e-5
    assert disc(torch.full((1, 2), 0.5)).tolist() == [[0.0, 0.0]]
