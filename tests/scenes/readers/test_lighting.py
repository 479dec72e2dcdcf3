"""What lights a scene that has no light, and an environment that the user gives."""

from pathlib import Path

import numpy as np
import pytest

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.lighting import KEY_RADIANCE, up_axis
from neural_render.scenes.records import SceneCamera
from tests.scenes.readers.scenes import (
    cube,
    load,
    mitsuba,
    picture,
    pixels_file,
    sky,
    write_obj_geometry,
    write_xml,
)

POINT = '<emitter type="point"><rgb name="intensity" value="1"/></emitter>'


def plain(folder: Path) -> Path:
    """A cube without material and light."""
    return write_obj_geometry(folder / "cube.obj", [("", *cube())])


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_an_unlit_scene_gets_the_studio(tmp_path: Path, up: str) -> None:
    scene = load(plain(tmp_path), up=up)
    key = (KEY_RADIANCE,) * 3
    found = [(light.name, light.kind, light.color) for light in scene.lights]
    assert found == [("environment", "environment", (1, 1, 1)), ("key", "area", key)]
    (warning,) = scene.warnings
    assert "no light" in warning and "studio" in warning and f"scene.up={up}" in warning
    np.testing.assert_allclose([scene.low, scene.high], [[-1] * 3, [1] * 3], atol=1e-6)
    parameters = mitsuba().traverse(scene.scene)
    assert "key.emitter.sampling_weight" in parameters
    assert "environment.sampling_weight" in parameters
    # The key stands above and to a side, and the top of the cube is its brightest side.
    (lamp,) = [shape for shape in scene.scene.shapes() if shape.is_emitter()]
    middle = np.array(lamp.bbox().center())
    axis = "xyz".index(up)
    elevation = np.degrees(np.arcsin(middle[axis] / np.linalg.norm(middle)))
    assert 45 < elevation < 55
    above, below = ([0.01, 0.01, 0.01] for _ in range(2))
    above[axis], below[axis] = 6, -6
    if up != "y":  # the pictures' own y points up: a camera cannot look along it
        bright, dark = picture(scene, 16, above)[8, 8], picture(scene, 16, below)[8, 8]
        assert bright.mean() > 2 * dark.mean() > 0


def test_the_studio_is_as_large_as_the_scene(tmp_path: Path) -> None:
    path = plain(tmp_path)
    small = picture(load(path), 64)
    vertices, faces = cube()
    write_obj_geometry(path, [("", vertices * 100, faces)])
    large = picture(load(path), 64, (400, 300, 600))
    np.testing.assert_allclose(large.mean(), small.mean(), rtol=0.02)


def test_a_lit_scene_is_left_as_it_is(tmp_path: Path) -> None:
    scene = load(write_xml(tmp_path))
    assert [light.name for light in scene.lights] == ["lamp"] and scene.warnings == ()


@pytest.mark.parametrize(("up", "axis"), [("x", 0), ("y", 1), ("z", 2)])
def test_an_environment_is_turned_to_the_scenes_up(tmp_path: Path, up: str, axis: int) -> None:
    scene = load(plain(tmp_path), environment=sky(tmp_path), up=up)
    assert [light.name for light in scene.lights] == ["environment"]
    assert scene.warnings == ()
    mi = mitsuba()
    environment = scene.scene.environment()
    brightness = []
    for sign in (1, -1):
        interaction = mi.SurfaceInteraction3f()
        direction = [0.0, 0.0, 0.0]
        direction[axis] = sign
        interaction.wi = [-value for value in direction]
        brightness.append(np.array(environment.eval(interaction)).mean())
    assert brightness[0] > 1.5 and brightness[1] < 0.6


def test_an_environment_is_added_to_the_files_lights_and_replaces_its_own(tmp_path: Path) -> None:
    constant = '<emitter type="constant" id="old"><rgb name="radiance" value="5"/></emitter>'
    scene = load(write_xml(tmp_path, POINT + constant), environment=sky(tmp_path))
    assert [light.name for light in scene.lights] == ["environment", "lamp", "light"]
    (warning,) = scene.warnings
    assert "its own environment" in warning
    assert len(scene.scene.emitters()) == 3


def test_what_is_added_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    """Instances, the file's camera and its integrator are in the new scene too."""
    body = (
        '<integrator type="path"><integer name="max_depth" value="5"/></integrator>'
        '<sensor type="perspective" id="view"/><shape type="shapegroup" id="group">'
        '<shape type="sphere"/></shape><shape type="instance"><ref id="group"/>'
        '<transform name="to_world"><translate x="5"/></transform></shape>'
    )
    scene = load(write_xml(tmp_path, body), environment=sky(tmp_path))
    assert [light.name for light in scene.lights] == ["environment", "lamp"]
    assert scene.high[0] == 6 and float(scene.scene.bbox().max[0]) == 6
    assert "max_depth = 5" in str(scene.scene.integrator())
    assert [sensor.id() for sensor in scene.scene.sensors()] == ["view"]
    there = picture(scene, 16, (5, 0, 6))
    assert there.mean() > 0.1


def test_up_is_the_users_the_formats_the_cameras_or_y() -> None:
    def camera(*down: float) -> SceneCamera:
        rows = tuple((0.0, value, 0.0, 0.0) for value in down)
        return SceneCamera(name="a", world_from_camera=rows, width=1, height=1, fov_x_rad=1.0)

    assert up_axis("x", "z", (camera(0.0, -1.0, 0.0),)) == "x"
    assert up_axis("", "z", (camera(0.0, -1.0, 0.0),)) == "z"
    assert up_axis("", "", (camera(0.1, -0.2, -0.9), camera(0.0, -0.5, -0.5))) == "z"
    assert up_axis("", "", ()) == "y"


def test_environments_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = plain(tmp_path)
    with pytest.raises(SceneError, match=r"scene.environment=.*no.exr does not exist"):
        load(path, environment=str(tmp_path / "no.exr"))
    (tmp_path / "empty.exr").touch()
    with pytest.raises(SceneError, match=r"empty.exr is empty \(0 bytes\)"):
        load(path, environment=str(tmp_path / "empty.exr"))
    (tmp_path / "text.exr").write_text("hello")
    with pytest.raises(SceneError, match=r"text.exr is no picture that Mitsuba reads"):
        load(path, environment=str(tmp_path / "text.exr"))


def test_dark_lights_are_no_light(tmp_path: Path) -> None:
    dark = POINT.replace('"1"', '"0"')
    with pytest.raises(SceneError, match=r"has no light: .* is zero \(light\)"):
        load(write_xml(tmp_path, dark, lit=False))


def test_a_picture_of_bytes_lights_too(tmp_path: Path) -> None:
    mitsuba()
    pixels_file(tmp_path / "sky.png", np.full((4, 8, 3), 128))
    scene = load(plain(tmp_path), environment=str(tmp_path / "sky.png"))
    assert [light.name for light in scene.lights] == ["environment"]
