"""How often each light group is learned."""

import pytest
import torch

from neural_render.core.lights import LightGroup, Lighting
from neural_render.scenes.source import group_shares, on_host


def lighting(*given: float) -> Lighting:
    """Groups that give so much of the file's light, however it is made up of colour and scale."""
    return Lighting(
        groups=tuple(
            LightGroup(name=f"light_{index}", color=(2.0, 2.0, 2.0), scale=light / 2)
            for index, light in enumerate(given)
        )
    )


def test_bright_groups_are_learned_more_often() -> None:
    assert group_shares(lighting(3, 1)) == pytest.approx([0.625, 0.375])


def test_dim_groups_are_learned_all_the_same() -> None:
    assert group_shares(lighting(1, 1e-9)) == pytest.approx([0.75, 0.25])
    assert group_shares(lighting(0, 0)) == [0.5, 0.5]


def test_one_group_has_it_all() -> None:
    assert group_shares(lighting(7)) == [1.0]


class OfADevice(torch.Generator):
    """A generator as a GPU has it."""

    device = torch.device("cuda")


def test_rays_are_drawn_by_the_host_whatever_learns_from_them() -> None:
    own, others = torch.Generator().manual_seed(3), OfADevice().manual_seed(3)
    assert on_host(own, 100) is own
    numbers = [
        torch.rand(4, generator=on_host(others, drawn)).tolist() for drawn in (0, 0, 100, 4096)
    ]
    assert numbers[0] == numbers[1] and len({tuple(four) for four in numbers}) == 3
