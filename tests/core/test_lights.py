"""Dials: what a user may say of lights, and what is mixed from it."""

import math
import re

import pytest
import torch

from neural_render.core.errors import SettingError
from neural_render.core.lights import LightGroup, Lighting, MovingLight, check_dials

LIGHTING = Lighting(
    groups=(
        LightGroup(name="key", color=(4.0, 2.0, 1.0), scale=10.0),
        LightGroup(name="sky", color=(1.0, 1.0, 1.0), scale=0.5),
    )
)


def test_a_number_is_a_multiple_of_the_files_colour_and_a_list_replaces_it() -> None:
    assert LIGHTING.emission({}) == ((4.0, 2.0, 1.0), (1.0, 1.0, 1.0))
    assert LIGHTING.emission({"key": 0.5}) == ((2.0, 1.0, 0.5), (1.0, 1.0, 1.0))
    assert LIGHTING.emission({"key": [0.0, 1.0, 2.0], "sky": 3}) == (
        (0.0, 1.0, 2.0),
        (3.0, 3.0, 3.0),
    )


def test_lights_add_up() -> None:
    values = torch.tensor([0.1, 0.2, 0.3, 1.0, 2.0, 3.0])
    mixed = LIGHTING.mixed(values, LIGHTING.emission({"sky": [2.0, 0.0, 4.0]}))
    assert mixed.tolist() == pytest.approx([4.0 + 1.0, 4.0, 3.0 + 6.0])


def test_an_unknown_light_names_those_that_there_are() -> None:
    with pytest.raises(SettingError, match=r"lights\.kye is not a light of this run: it has key, "):
        LIGHTING.emission({"kye": 2.0})
    with pytest.raises(SettingError, match=r"lights\.key .*: it was made from photos"):
        Lighting().emission({"key": 2.0})


@pytest.mark.parametrize(
    ("dial", "sentence"),
    [
        (-1.0, "lights.key=-1.0 must be finite and nowhere below 0"),
        (math.nan, "lights.key=nan must be finite"),
        ([1.0, math.inf, 1.0], "lights.key=[1.0,inf,1.0] must be finite"),
        ([1.0, 1.0], "lights.key=[1.0,1.0] is not a brightness or a colour: give a number"),
        ([1.0], "lights.key=[1.0] is not a brightness or a colour"),
        ("2", "lights.key=2 is not a brightness or a colour"),
        (True, "lights.key=True is not a brightness or a colour"),
        ({"a": 1}, "is not a brightness or a colour"),
    ],
)
def test_what_is_no_light_is_one_sentence(dial: object, sentence: str) -> None:
    with pytest.raises(SettingError, match=re.escape(sentence)):
        check_dials({"key": dial})


def test_dark_and_bright_are_fine() -> None:
    check_dials({"key": 0, "sky": [0.0, 1e6, 2]})


def test_conditions_of_a_light_that_moves() -> None:
    light = MovingLight(
        group="key", kind="position", low=(0.0, 0.0, -2.0), high=(2.0, 4.0, 2.0), at=(1.0, 2.0, 0.0)
    )
    found = light.conditions(torch.tensor([[2.0, 2.0, 0.0]]))
    pi = math.pi
    assert found[0].tolist() == pytest.approx(
        [1, 0, 0, 1, 0, 0, 0, 0, 0, math.sin(pi), 0, 0, math.cos(pi), 1, 1], abs=1e-6
    )
