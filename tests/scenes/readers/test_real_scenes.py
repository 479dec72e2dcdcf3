"""Real scenes: what they are lit by, how large they are, and that they can be traced."""

from pathlib import Path

import numpy as np
import pytest

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.opening import load_scene
from neural_render.scenes.records import LoadedScene
from neural_render.scenes.settings import SceneSettings
from tests.scenes.readers.scenes import load, mitsuba

SCENES = {
    "mitsuba/cbox.xml": (["light"], 1, 6),
    "mitsuba/simple.xml": (["light1", "light2"], 1, 2),
    "redner/teapot.xml": (["teapot_1", "teapot_4", "teapot_5"], 1, 2),
    "redner/teapot_specular.xml": ([f"teapot_specular_{number}" for number in (1, 4, 5)], 1, 3),
    "redner/bunny_box.xml": (["bunny_box_1"], 1, 8),
    "redner/cbox/cbox.xml": (["light"], 1, 8),
    "DamagedHelmet/DamagedHelmet.gltf": (["environment", "key", "node_damagedHelmet__6514"], 0, 8),
    "cow.glb": (["environment", "key"], 0, 8),
    "spot/spot.obj": (["environment", "key"], 0, 8),
    "redner/teapot.obj": (["environment", "key"], 0, 8),
    "mitsuba/meshes/bunny.ply": (["environment", "key"], 0, 8),
    "mitsuba/meshes/suzanne.ply": (["environment", "key"], 0, 8),
}


def mean_light(scene: LoadedScene) -> float:
    """The mean of a small picture from the file's camera, or of the whole from ahead."""
    mi = mitsuba()
    middle = (np.array(scene.low) + np.array(scene.high)) / 2
    radius = float(np.linalg.norm(np.array(scene.high) - np.array(scene.low)) / 2)
    place = mi.ScalarTransform4f().look_at(
        origin=(middle + np.array([0, 0.5, 2.5]) * radius).tolist(),
        target=middle.tolist(),
        up=[0, 1, 0],
    )
    if scene.cameras:
        matrix = np.eye(4)
        matrix[:3] = np.array(scene.cameras[0].world_from_camera) * [-1, -1, 1, 1]
        place = mi.ScalarTransform4f(matrix.tolist())
    film = {"type": "hdrfilm", "width": 16, "height": 16}
    sensor = mi.load_dict({"type": "perspective", "fov": 40, "to_world": place, "film": film})
    integrator = mi.load_dict({"type": "path", "max_depth": scene.max_depth})
    image = np.array(mi.render(scene.scene, sensor=sensor, integrator=integrator, spp=16))
    assert np.isfinite(image).all()
    return float(image.mean())


@pytest.mark.parametrize("name", SCENES)
def test_real_scenes_are_read_and_lit(real_data: Path, name: str) -> None:
    names, num_cameras, max_depth = SCENES[name]
    scene = load(real_data / "scenes" / name)
    assert [light.name for light in scene.lights] == names
    assert len(scene.cameras) == num_cameras and scene.max_depth == max_depth
    assert len(scene.scene.emitters()) == len(names)
    assert not any("cannot be expressed" in warning for warning in scene.warnings)
    assert mean_light(scene) > 0.01


def test_the_programs_own_scene_is_read() -> None:
    mitsuba()
    scene = load_scene(SceneSettings())
    names = ["environment", "flame", "key_light", "rim_light"]
    assert [light.name for light in scene.lights] == names
    assert scene.max_depth == 12 and len(scene.cameras) == 1 and scene.warnings == ()


def test_a_scene_that_lacks_its_meshes_names_them(real_data: Path) -> None:
    with pytest.raises(SceneError, match=r"the mesh models/Mesh019.obj.* and 35 more"):
        load(real_data / "scenes/redner/living-room-3-scene.xml")


def test_an_environment_lights_the_helmet(real_data: Path) -> None:
    scenes = real_data / "scenes"
    scene = load(
        scenes / "DamagedHelmet/DamagedHelmet.gltf", environment=str(scenes / "environment.exr")
    )
    assert [light.name for light in scene.lights] == ["environment", "node_damagedHelmet__6514"]
    assert scene.warnings == ()
    # Only what glows is a light, not the whole helmet.
    areas = {shape.is_emitter(): float(shape.surface_area()) for shape in scene.scene.shapes()}
    assert areas[True] < areas[False]
