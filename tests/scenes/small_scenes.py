"""A ball on a floor under three kinds of lights, as Mitsuba's XML, and pictures of it."""

from pathlib import Path
from typing import Any

import numpy as np

from neural_render.scenes.records import LoadedScene
from tests.scenes.readers.scenes import mitsuba

LAMP = (6.0, 8.0, 10.0)
BULB = (2.0, 3.0, 1.0)
SKY = (0.3, 0.4, 0.5)
LIGHTS = {
    "lamp": '<shape type="rectangle" id="lamp"><transform name="to_world"><scale value="0.5"/>'
    '<lookat origin="0, 0, 3" target="0, 0, 0" up="0, 1, 0"/></transform>'
    '<bsdf type="diffuse"><rgb name="reflectance" value="0"/></bsdf>'
    '<emitter type="area"><rgb name="radiance" value="{}"/></emitter></shape>',
    "bulb": '<emitter type="point" id="bulb"><point name="position" x="2" y="-2" z="2"/>'
    '<rgb name="intensity" value="{}"/></emitter>',
    "sun": '<emitter type="directional" id="sun"><vector name="direction" x="0" y="1" z="-1"/>'
    '<rgb name="irradiance" value="{}"/></emitter>',
    "environment": '<emitter type="constant" id="sky"><rgb name="radiance" value="{}"/></emitter>',
}
COLORS = {"lamp": LAMP, "bulb": BULB, "sun": (1.0, 2.0, 3.0), "environment": SKY}
BALL = '<shape type="sphere" id="ball"><point name="center" x="0" y="0" z="1"/>{}</shape>'
FLOOR = (
    '<shape type="rectangle" id="floor"><transform name="to_world"><scale value="3"/></transform>'
    "{}</shape>"
)
DIFFUSE = (
    '<bsdf type="twosided"><bsdf type="diffuse"><rgb name="reflectance" value="{}"/></bsdf></bsdf>'
)
BOX = (
    '<shape type="cube" id="box"><transform name="to_world"><scale value="4"/></transform>'
    f"{DIFFUSE.format('0.5')}</shape>"
)
CAMERA = (
    '<sensor type="perspective" id="{name}"><float name="fov" value="40"/>'
    '<string name="fov_axis" value="x"/><transform name="to_world">'
    '<lookat origin="{origin}" target="0, 0, 1" up="0, 0, 1"/></transform>'
    '<film type="hdrfilm"><integer name="width" value="{width}"/>'
    '<integer name="height" value="{height}"/></film></sensor>'
)
FRONT = CAMERA.format(name="front", origin="0, -6, 3", width=64, height=48)


def write_scene(folder: Path, *lights: str, more: str = FRONT) -> Path:
    """A scene file with lights of ``LIGHTS`` (no words: the lamp) and further elements."""
    text = "".join(
        LIGHTS[name].format(", ".join(map(str, COLORS[name]))) for name in lights or ("lamp",)
    )
    text += BALL.format(DIFFUSE.format("0.8, 0.6, 0.4")) + FLOOR.format(DIFFUSE.format("0.5"))
    path = folder / "ball.xml"
    path.write_text(f'<scene version="3.0.0">{more}{text}</scene>', encoding="utf-8")
    return path


def seen(scene: LoadedScene, paths: int = 64, seed: int = 0) -> np.ndarray:
    """A small scene-linear picture of the ball under the lights as they are switched."""
    mi: Any = mitsuba()
    sensor = mi.load_dict(
        {
            "type": "perspective",
            "fov": 40,
            "to_world": mi.ScalarTransform4f().look_at([0, -6, 3], [0, 0, 1], [0, 0, 1]),
            "film": {"type": "hdrfilm", "width": 16, "height": 16, "rfilter": {"type": "box"}},
        }
    )
    tracer = mi.load_dict({"type": "path", "max_depth": 3})
    picture = mi.render(scene.scene, sensor=sensor, integrator=tracer, spp=paths, seed=seed)
    return np.array(picture, np.float64)[..., :3]
