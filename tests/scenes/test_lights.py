"""Light groups: which lights they hold, and that pictures of single lights add up to the file's."""

from pathlib import Path

import numpy as np
import pytest

from neural_render.core.errors import SceneError, SettingError
from neural_render.scenes.lights import (
    LightSwitch,
    SceneGroup,
    file_emission,
    light_groups,
    neutral_emission,
)
from neural_render.scenes.records import LoadedScene, SceneLight, Triple
from tests.scenes.readers.scenes import load, mitsuba, pixels_file, sky
from tests.scenes.small_scenes import BULB, COLORS, LAMP, seen, write_scene

ALL = ("lamp", "bulb", "sun", "environment")


def light(name: str, *color: float) -> SceneLight:
    r, g, b = map(float, color)
    return SceneLight(name=name, kind="area", emitter=name, color=(r, g, b))


def scene_of(*names: str) -> LoadedScene:
    """A scene that is nothing but its lights' names."""
    return LoadedScene(
        path=Path("scene.xml"),
        format="test",
        scene=None,
        lights=tuple(light(name, 1, 1, 1) for name in names),
        cameras=(),
        low=(0.0, 0.0, 0.0),
        high=(1.0, 1.0, 1.0),
        objects=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        up=(0.0, 0.0, 1.0),
        max_depth=2,
        warnings=(),
    )


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ([], {"a": "a", "b": "b", "c": "c"}),
        (["all=*"], {"all": "abc"}),
        (["room=c+a"], {"room": "ca", "b": "b"}),
        (["one=b", "rest=*"], {"one": "b", "rest": "ac"}),
        (["room=a+b+c", "rest=*"], {"room": "abc"}),
        (["a=b", "b=a"], {"a": "b", "b": "a", "c": "c"}),
    ],
)
def test_groups_are_as_stated(stated: list[str], expected: dict[str, str]) -> None:
    groups = light_groups(scene_of("a", "b", "c"), stated)
    found = {group.name: "".join(light.name for light in group.lights) for group in groups}
    assert found == expected


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (["a"], ["scene.groups", "'a'", "name=light1+light2"]),
        (["1=a"], ["'1=a'"]),
        (["x=a+d"], ["'d' is not a light of scene.xml", "it has a, b"]),
        (["x="], ["'' is not a light"]),
        (["x=a", "y=a"], ["'a'", "named twice"]),
        (["x=a+a"], ["'a'", "named twice"]),
        (["x=a", "x=b"], ["x", "two groups"]),
        (["b=a"], ["b", "two groups"]),
    ],
)
def test_groups_that_cannot_be_are_refused(stated: list[str], words: list[str]) -> None:
    with pytest.raises(SettingError) as raised:
        light_groups(scene_of("a", "b"), stated)
    assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize(
    "lights",
    [
        (light("a", 6, 8, 10),),
        (light("red", 3, 0, 0),),
        (light("a", 6, 8, 10), light("b", 3, 4, 5)),
        (light("red", 3, 0, 0), light("green", 0, 2, 0)),
        (light("lamp", 9, 6, 3), light("sky", 1, 1, 1)),
        (light("a", 0, 0, 0), light("b", 1, 2, 3)),
    ],
)
def test_a_groups_colour_gives_its_lights_back(lights: tuple[SceneLight, ...]) -> None:
    group = SceneGroup(name="g", lights=lights)
    for own in lights:
        shown = np.multiply(group.neutral(own), group.color)
        np.testing.assert_allclose(shown, own.color)
        if own.color == (1, 1, 1):
            assert len(set(group.neutral(own))) == 1, "a picture can only be dimmed"


def test_one_light_can_have_any_colour() -> None:
    group = SceneGroup(name="red", lights=(light("red", 3, 0, 0),))
    assert group.neutral(group.lights[0]) == (1, 1, 1)


def sum_of_groups(scene: LoadedScene, groups: tuple[SceneGroup, ...], paths: int) -> np.ndarray:
    switch, total = LightSwitch(scene), np.zeros(3)
    for group in groups:
        switch.set(neutral_emission(group))
        total = total + seen(scene, paths) * group.color
    return total


@pytest.mark.parametrize(
    "stated", [[], ["all=*"], ["room=lamp+environment"]], ids=["each", "all", "some"]
)
def test_groups_add_up_to_the_files_light(tmp_path: Path, stated: list[str]) -> None:
    scene = load(write_scene(tmp_path, *ALL))
    assert sorted(light.name for light in scene.lights) == sorted(ALL)
    expected = seen(scene, 400)
    found = sum_of_groups(scene, light_groups(scene, stated), 400)
    np.testing.assert_allclose(found.mean((0, 1)), expected.mean((0, 1)), rtol=0.02)
    LightSwitch(scene).set(file_emission(scene))
    np.testing.assert_allclose(seen(scene, 400).mean((0, 1)), expected.mean((0, 1)), rtol=0.01)


def test_an_environments_picture_is_dimmed_with_its_group(tmp_path: Path) -> None:
    mitsuba()
    scene = load(write_scene(tmp_path, "lamp"), environment=sky(tmp_path))
    expected = seen(scene, 400)
    found = sum_of_groups(scene, light_groups(scene, ["all=*"]), 400)
    np.testing.assert_allclose(found.mean((0, 1)), expected.mean((0, 1)), rtol=0.03)


def test_a_lamp_with_a_texture_is_dimmed_with_its_group(tmp_path: Path) -> None:
    mitsuba()
    pixels_file(tmp_path / "glow.exr", np.ones((4, 4, 3)) * [1.0, 0.5, 2.0])
    path = write_scene(tmp_path, "bulb", "lamp")
    red, glow = (
        f'<rgb name="radiance" value="{", ".join(map(str, LAMP))}"/>',
        (
            '<texture type="bitmap" name="radiance"><string name="filename" value="glow.exr"/>'
            '<boolean name="raw" value="true"/></texture>'
        ),
    )
    path.write_text(path.read_text(encoding="utf-8").replace(red, glow), encoding="utf-8")
    scene = load(path)
    expected = seen(scene, 400)
    found = sum_of_groups(scene, light_groups(scene, ["all=*"]), 400)
    np.testing.assert_allclose(found.mean((0, 1)), expected.mean((0, 1)), rtol=0.03)


@pytest.mark.parametrize("name", ALL)
def test_a_lights_emission_is_a_colour_and_off_is_black(tmp_path: Path, name: str) -> None:
    scene = load(write_scene(tmp_path, *ALL))
    switch = LightSwitch(scene)
    switch.set({})
    assert seen(scene, 4).max() == 0
    switch.set({name: (1.0, 1.0, 1.0)})
    white = seen(scene, 16)
    for color in ((4.0, 0.0, 0.0), (1.0, 2.0, 0.5)):
        switch.set({name: color})
        np.testing.assert_allclose(seen(scene, 16), white * color, rtol=1e-4, atol=1e-6)
    assert white.max() > 0


def test_environments_are_told_as_they_are(tmp_path: Path) -> None:
    mitsuba()
    scene = load(write_scene(tmp_path), environment=sky(tmp_path))
    (light,) = [light for light in scene.lights if light.kind == "environment"]
    picture, turn = LightSwitch(scene).environment(light)
    expected = np.linspace(2, 0.2, 8)[:, None, None] * np.ones((8, 16, 3))
    expected[:, :4, 0] += 1
    np.testing.assert_allclose(picture, expected, rtol=0.01)
    np.testing.assert_allclose(np.array(turn) @ np.array(turn).T, np.eye(3), atol=1e-6)


def test_the_files_colours_are_found(tmp_path: Path) -> None:
    scene = load(write_scene(tmp_path, *ALL))
    found: dict[str, Triple] = file_emission(scene)
    assert found["bulb"] == pytest.approx(BULB) and found["lamp"] == pytest.approx(LAMP)
    assert found == {name: pytest.approx(COLORS[name]) for name in ALL}


def test_a_sky_that_is_computed_is_dimmed_and_shown(tmp_path: Path) -> None:
    mitsuba()
    path = write_scene(tmp_path, "lamp")
    sun = '<vector name="sun_direction" x="0.3" y="0.6" z="0.4"/>'
    computed = f'<emitter type="sunsky">{sun}</emitter></scene>'
    path.write_text(path.read_text().replace("</scene>", computed))
    scene = load(path)
    (light,) = [light for light in scene.lights if light.kind == "environment"]
    switch = LightSwitch(scene)
    switch.set({light.name: (1.0, 1.0, 1.0)})
    whole = seen(scene, 64)
    switch.set({light.name: (0.25, 0.25, 0.25)})
    np.testing.assert_allclose(seen(scene, 64), whole / 4, rtol=1e-3, atol=1e-6)
    picture, turn = switch.environment(light)
    np.testing.assert_array_equal(turn, np.eye(3))
    rows, columns, _ = picture.shape
    row, column = np.unravel_index(picture.max(-1).argmax(), (rows, columns))
    v, u = (row + 0.5) * np.pi / rows, (column + 0.5) * 2 * np.pi / columns
    at = [np.sin(u) * np.sin(v), np.cos(v), -np.cos(u) * np.sin(v)]
    np.testing.assert_allclose(at, np.array([0.3, 0.6, 0.4]) / np.sqrt(0.61), atol=0.02)
    assert picture.min() >= 0


def test_a_light_that_cannot_be_dimmed_is_named(tmp_path: Path) -> None:
    mitsuba()
    path = write_scene(tmp_path, "lamp")
    red = f'<rgb name="radiance" value="{", ".join(map(str, LAMP))}"/>'
    board = '<texture type="checkerboard" name="radiance"/>'
    path.write_text(path.read_text().replace(red, board))
    with pytest.raises(SceneError, match="what the light lamp emits cannot be dimmed"):
        LightSwitch(load(path))
