"""How often each light group is learned."""

import pytest

from neural_render.core.lights import LightGroup, Lighting
from neural_render.scenes.source import group_shares


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
