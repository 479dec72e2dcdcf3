"""The light that moves: where it may be, and that moved it lights like one that stands there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.core.errors import SettingError
from neural_render.core.lights import MovingLight
from neural_render.scenes.lights import LightSwitch, light_groups
from neural_render.scenes.moving import LOWEST, REACH, MovingPlaces, moving_places
from neural_render.scenes.records import LoadedScene, Triple
from neural_render.scenes.settings import SceneSettings
from tests.scenes.readers.scenes import load
from tests.scenes.small_scenes import COLORS, seen, write_scene

FILE = {"bulb": 'x="2" y="-2" z="2"', "sun": 'x="0" y="1" z="-1"'}
ELSEWHERE: dict[str, list[Triple]] = {
    "bulb": [(-2.0, -1.0, 3.0)],
    "sun": [(0.5, 0.3, -1.0), (0.0, 0.0, -1.0), (3.0, -1.0, -0.5)],
}


def places_of(scene: LoadedScene, moving: str, *groups: str) -> tuple[MovingPlaces, ...]:
    settings = SceneSettings(moving=moving)
    return moving_places(scene, light_groups(scene, list(groups)), settings)


@pytest.mark.parametrize("name", ["bulb", "sun"])
def test_a_moved_light_lights_like_one_that_stands_there(tmp_path: Path, name: str) -> None:
    path = write_scene(tmp_path, name)
    scene = load(path)
    switch = LightSwitch(scene)
    (light,) = scene.lights
    before = seen(scene)
    for x, y, z in ELSEWHERE[name]:
        text = path.read_text(encoding="utf-8")
        there = tmp_path / "there.xml"
        there.write_text(text.replace(FILE[name], f'x="{x}" y="{y}" z="{z}"'), encoding="utf-8")
        expected = seen(load(there))
        switch.set({name: COLORS[name]})
        switch.place(light, (x, y, z))
        found = seen(scene)
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02 * expected.max())
        assert np.abs(expected - before).mean() > 0.05 * before.mean(), "it matters"
    switch.place(light, light.at)
    np.testing.assert_allclose(seen(scene), before, rtol=0.02, atol=0.02 * before.max())


def test_directions_shine_from_above_the_horizon(tmp_path: Path) -> None:
    scene = load(write_scene(tmp_path, "lamp", "sun"))
    assert places_of(scene, "") == ()
    (places,) = places_of(scene, "sun")
    assert (places.kind, places.group) == ("direction", "sun")
    np.testing.assert_allclose(places.at, np.array([0, 1, -1]) / np.sqrt(2), atol=1e-6)
    found = places.draw(4000, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    assert np.all(found >= np.array(places.low) - 1e-9)
    assert np.all(found <= np.array(places.high) + 1e-9)
    assert -1 <= found[:, 2].min() < -0.98 and found[:, 2].max() <= -LOWEST
    np.testing.assert_allclose(found[:, :2].mean(axis=0), 0, atol=0.05)
    assert set(places.description) == {"group", "kind", "low", "high", "at"}


def test_positions_are_around_the_scene(tmp_path: Path) -> None:
    scene = load(write_scene(tmp_path, "lamp", "bulb"))
    (places,) = places_of(scene, "bulb")
    assert (places.kind, places.at) == ("position", (2, -2, 2))
    found = places.draw(4000, np.random.default_rng(1))
    low, high = np.array(scene.low), np.array(scene.high)
    middle, half = (low + high) / 2, (high - low) / 2
    reached = (found - middle) / (REACH * half)
    assert 0.99 < reached.max() <= 1 and -1 <= reached.min() < -0.99
    np.testing.assert_allclose(
        [places.low, places.high], [middle - REACH * half, middle + REACH * half]
    )


def test_positions_reach_the_lights_own_place(tmp_path: Path) -> None:
    """However high it hangs over however flat a scene."""
    path = write_scene(tmp_path, "lamp", "bulb")
    text = path.read_text(encoding="utf-8").replace(FILE["bulb"], 'x="0" y="0" z="40"')
    path.write_text(text, encoding="utf-8")
    (places,) = places_of(load(path), "bulb")
    assert places.low[2] < 0 and places.high[2] > 40.3
    light = MovingLight(**places.description)
    assert light.conditions(torch.tensor([places.at]))[0, :3].abs().max() < 1


def test_a_group_moves_by_its_name(tmp_path: Path) -> None:
    scene = load(write_scene(tmp_path, "lamp", "bulb"))
    (places,) = places_of(scene, "key", "key=bulb")
    assert (places.group, places.light.name) == ("key", "bulb")
    (places,) = places_of(scene, "bulb", "key=bulb")
    assert (places.group, places.light.name) == ("key", "bulb")


@pytest.mark.parametrize(
    ("moving", "groups"),
    [
        ("lamp", []),
        ("gone", []),
        ("bulb", ["all=*"]),
        ("all", ["all=*"]),
        ("bulb", ["two=bulb+sun"]),
    ],
)
def test_lights_that_cannot_move(tmp_path: Path, moving: str, groups: list[str]) -> None:
    scene = load(write_scene(tmp_path, "lamp", "bulb", "sun"))
    with pytest.raises(SettingError, match=rf"scene.moving={moving} must be .*: it has bulb, sun"):
        places_of(scene, moving, *groups)
    still = load(write_scene(tmp_path, "lamp"))
    with pytest.raises(SettingError, match="it has none"):
        places_of(still, "lamp")
