"""Light that is added to a scene: an environment that the user gives, or a studio.

The studio, for a scene without any light: an environment (``environment``) that brightens evenly
from 0.1 below to 0.5 above, and a square area light (``key``) of radiance 4 that looks at the
middle from 50 degrees above the horizon, at a third of its distance in half a side. It is so far
away that no camera of a shell is ever behind it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.files import sentence
from neural_render.scenes.readers.found import ENVIRONMENT, Names, is_area, plain_identifier
from neural_render.scenes.readers.parts import SceneParts
from neural_render.scenes.records import SceneCamera, Triple

KEY = "key"
KEY_RADIANCE = 4.0
KEY_DISTANCE = 40.0  # of the scene's radius, from the middle
KEY_SIZE = 40.0 / 3  # half of a side, of the scene's radius
SKY = (0.1, 0.5)  # below, above
_SKY_ROWS = 32


def up_axis(stated: str, of_format: str, cameras: tuple[SceneCamera, ...]) -> str:
    """The axis that points up: the user's, the format's, the cameras', or y."""
    if stated or of_format:
        return stated or of_format
    if not cameras:
        return "y"
    total = sum(-np.array(camera.world_from_camera)[:, 1] for camera in cameras)
    return "xyz"[int(np.argmax(np.abs(total)))]


def with_environment(parts: SceneParts, path: Path, up: str) -> tuple[Any, list[str]]:
    """The scene under a latitude-longitude picture, and in words what that replaced."""
    import mitsuba

    try:
        usable = path.is_file()
        empty = usable and path.stat().st_size == 0
    except OSError as error:
        raise SceneError(
            f"scene.environment={path} cannot be read ({error.strerror}): give an HDR picture"
        ) from error
    if not usable or empty:
        fault = "is empty (0 bytes)" if empty else "does not exist"
        raise SceneError(f"scene.environment={path} {fault}: give an HDR picture, such as an EXR")
    try:
        environment = mitsuba.load_dict(
            {"type": "envmap", "filename": str(path), "to_world": _turned(up)}
        )
    except Exception as error:
        raise SceneError(
            f"scene.environment={path} is no picture that Mitsuba reads ({sentence(error)}): give"
            " an EXR or HDR file"
        ) from error
    replaced = any(emitter.is_environment() for emitter in parts.scene.emitters())
    what = ["its own environment (scene.environment takes its place)"] if replaced else []
    return parts.again({ENVIRONMENT: environment}), what


def with_studio(parts: SceneParts, low: Triple, high: Triple, up: str) -> Any:
    """The scene in the studio that this module's text describes."""
    import mitsuba

    middle = (np.array(low) + np.array(high)) / 2
    radius = float(np.linalg.norm(np.array(high) - np.array(low)) / 2)
    upward = np.eye(3)["xyz".index(up)]
    side, front = np.roll(upward, 1), np.roll(upward, 2)
    toward = 1.2 * upward + 0.6 * side + 0.8 * front
    origin = middle + KEY_DISTANCE * radius * toward / np.linalg.norm(toward)
    place = mitsuba.ScalarTransform4f().look_at(
        origin=origin.tolist(), target=middle.tolist(), up=upward.tolist()
    )
    key = {
        "type": "rectangle",
        "to_world": place @ mitsuba.ScalarTransform4f().scale(KEY_SIZE * radius),
        "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.0}},
        "emitter": {
            "type": "area",
            "radiance": {"type": "rgb", "value": [KEY_RADIANCE] * 3},
        },
    }
    brightness = np.linspace(SKY[1], SKY[0], _SKY_ROWS, dtype=np.float32)
    sky = np.ascontiguousarray(
        np.broadcast_to(brightness[:, None, None], (_SKY_ROWS, 2 * _SKY_ROWS, 3))
    )
    environment = {"type": "envmap", "bitmap": mitsuba.Bitmap(sky), "to_world": _turned(up)}
    return parts.again({KEY: mitsuba.load_dict(key), ENVIRONMENT: mitsuba.load_dict(environment)})


def _turned(up: str) -> Any:
    """The rotation that takes an environment's own up, y, to the scene's."""
    import mitsuba

    turn = mitsuba.ScalarTransform4f()
    if up == "z":
        return turn.rotate([1, 0, 0], 90)
    return turn.rotate([0, 0, 1], -90) if up == "x" else turn


def rebuilt(scene: Any, added: dict[str, Any]) -> Any:
    """A scene of the same meshes, lights and cameras with ``added``; none of them is an instance.

    (An instance does not tell of what.)
    """
    import mitsuba

    names = Names()
    parts: dict[str, Any] = {"type": "scene"}
    for name in (*added, "type"):
        names.give(name)
    free = [part for part in scene.emitters() if not is_area(part)]
    if ENVIRONMENT in added:
        free = [emitter for emitter in free if not emitter.is_environment()]
    for part in (*scene.shapes(), *free, *scene.sensors()):
        parts[names.give(plain_identifier(part.id()) or "part")] = part
    if scene.integrator() is not None:
        parts[names.give("integrator")] = scene.integrator()
    return mitsuba.load_dict({**parts, **added})
