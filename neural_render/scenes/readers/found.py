"""Lights, cameras and bounds of a loaded ``mitsuba.Scene``, as our records.

Mitsuba's camera looks along +z, its x axis points to the left of the picture and y up; ours has x
right and y down: both change sign.
"""

import math
import re
from typing import Any, Literal

import numpy as np

from neural_render.scenes.records import EMISSIONS, SceneCamera, SceneLight, Triple, triple

ENVIRONMENT = "environment"

_KINDS: dict[str, Literal["area", "environment", "point", "spot", "directional"]] = {
    "AreaLight": "area",
    "PointLight": "point",
    "SpotLight": "spot",
    "Projector": "spot",
    "DirectionalEmitter": "directional",
    "DirectionalArea": "directional",
}
FLAT = 1e-3  # the thickness of what is flat, as a share of its length
MOST_POINTS = 20000  # of a mesh that its thickness is judged by
_WEIGHT = ".sampling_weight"
_ENDINGS = ("_mesh", "_shape", "_emitter")


def plain_identifier(name: str) -> str:
    """Letters, digits and underscores of a name, without what only says that it is a mesh."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    for ending in _ENDINGS:
        plain = plain.removesuffix(ending)
    return f"light_{plain}" if plain[:1].isdigit() else plain


class Names:
    """Names that are given once: a second ``lamp`` is ``lamp_2``."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, wanted: str) -> str:
        """``wanted``, or the first free name made of it."""
        name, number = wanted, 1
        while name in self._given:
            number += 1
            name = f"{wanted}_{number}"
        self._given.add(name)
        return name


def lights_of(scene: Any) -> tuple[SceneLight, ...]:
    """All emitters, sorted by name; nameless ones are given names."""
    import mitsuba

    _name_all(scene)
    # Traverse alters an identifier that a material has too: the shape's own is asked for.
    owners = {shape.emitter().ptr: shape.id() for shape in scene.shapes() if shape.is_emitter()}
    parameters: Any = mitsuba.traverse(scene)
    found = []
    for key in parameters.keys():  # noqa: SIM118  (it is no dictionary)
        if key.endswith(_WEIGHT):
            plugin = parameters.properties[key][2]
            wanted = plain_identifier(owners.get(plugin.ptr, plugin.id())) or "light"
            if plugin.is_environment():
                wanted = ENVIRONMENT
            found.append((wanted, key.removesuffix(_WEIGHT), plugin))
    # Mitsuba's own order differs from run to run.
    found.sort(key=lambda light: (not light[2].is_environment(), _natural(light[0]), light[1]))
    names = Names()
    return tuple(
        SceneLight(
            name=names.give(wanted),
            kind="environment"
            if plugin.is_environment()
            else _KINDS.get(plugin.class_name(), "area"),
            emitter=emitter,
            color=_color(parameters, emitter),
            at=_place(parameters, emitter, plugin.class_name()),
        )
        for wanted, emitter, plugin in found
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts ``lamp_2`` before ``lamp_10``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _name_all(scene: Any) -> None:
    """Names emitters (and shapes that emit) without one: otherwise an address stands in keys."""
    taken = Names()
    emitting = [shape for shape in scene.shapes() if shape.is_emitter()]
    free = [emitter for emitter in scene.emitters() if not is_area(emitter)]
    for thing in (*emitting, *free):
        if thing.id():
            taken.give(thing.id())
    for thing in (*emitting, *free):
        if not thing.id():
            thing.set_id(taken.give("light"))


def is_area(emitter: Any) -> bool:
    """Whether an emitter belongs to a shape."""
    import mitsuba

    return bool(mitsuba.has_flag(emitter.flags(), mitsuba.EmitterFlags.Surface))


def _color(parameters: Any, emitter: str) -> Triple:
    """The emission of a light of one colour; white for one with a texture."""
    known = set(parameters.keys())
    for name in EMISSIONS:
        if f"{emitter}.{name}" in known:
            value = np.array(parameters[f"{emitter}.{name}"], dtype=np.float64).ravel()
            return triple(np.broadcast_to(value, 3) if value.size in (1, 3) else np.ones(3))
    return (1.0, 1.0, 1.0)


def _place(parameters: Any, emitter: str, kind: str) -> Triple:
    """Where a point light is, or in which direction a directional one shines."""
    if kind == "PointLight":
        place = np.array(parameters[f"{emitter}.position"], dtype=np.float64).ravel()
    elif kind == "DirectionalEmitter":
        matrix = np.array(parameters[f"{emitter}.to_world"].matrix, dtype=np.float64)
        place = matrix.reshape(4, 4)[:3, 2]
    else:
        place = np.zeros(3)
    return triple(place)


def cameras_of(scene: Any) -> tuple[tuple[SceneCamera, ...], list[str]]:
    """The pinhole cameras, and in words what is lost of them and of others."""
    names, cameras, lost = Names(), [], []
    for sensor in scene.sensors():
        name = names.give(re.sub(r"\W+", "_", sensor.id(), flags=re.ASCII).strip("_") or "camera")
        kind = sensor.class_name()
        if kind not in ("PerspectiveCamera", "ThinLensCamera"):
            lost.append(f"the camera {name} ({kind})")
            continue
        camera, what = _camera(sensor, name)
        cameras.append(camera)
        lost += [f"{part} of the camera {name}" for part in what]
        if kind == "ThinLensCamera":
            lost.append(f"the aperture of the camera {name}")
    return tuple(cameras), lost


def _camera(sensor: Any, name: str) -> tuple[SceneCamera, list[str]]:
    """A perspective sensor as our record, and what of it is lost."""
    import mitsuba

    parameters: Any = mitsuba.traverse(sensor)
    matrix = np.array(parameters["to_world"].matrix, dtype=np.float64).reshape(4, 4)
    lost = []
    rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
        lost.append("the mirroring")
    offsets = [
        float(np.array(parameters[f"principal_point_offset_{axis}"]).ravel()[0])
        for axis in "xy"
        if f"principal_point_offset_{axis}" in set(parameters.keys())
    ]
    if any(offsets):
        lost.append("the shift of the principal point")
    width, height = (int(side) for side in np.array(parameters["film.size"]).ravel())
    pose = np.concatenate([rotation * [-1, -1, 1], matrix[:3, 3:]], axis=1)
    camera = SceneCamera(
        name=name,
        world_from_camera=tuple((float(x), float(y), float(z), float(at)) for x, y, z, at in pose),
        width=width,
        height=height,
        fov_x_rad=math.radians(float(np.array(parameters["x_fov"]).ravel()[0])),
    )
    return camera, lost


def bounds_of(scene: Any) -> tuple[Triple, Triple]:
    """The corners of the box around all shapes, in world units."""
    low, high = _box(scene)
    return triple(low), triple(high)


def objects_of(scene: Any) -> tuple[Triple, Triple]:
    """The corners of the box around the shapes that are not flat; of all if there are none.

    Floors, walls, backdrops and area lights are flat: none of them is what a picture is of.
    """
    boxes = [_box(shape) for shape in scene.shapes() if not _is_flat(shape)] or [_box(scene)]
    lows, highs = zip(*boxes, strict=True)
    return triple(np.min(lows, axis=0)), triple(np.max(highs, axis=0))


def _is_flat(shape: Any) -> bool:
    """Whether a shape lies in a plane."""
    if shape.class_name() in ("Rectangle", "Disk"):
        return True
    import mitsuba

    parameters: Any = mitsuba.traverse(shape)
    if "vertex_positions" not in parameters:
        return False
    points = np.array(parameters["vertex_positions"], np.float64).reshape(-1, 3)
    if not len(points):
        return True
    points = points[:: max(1, len(points) // MOST_POINTS)]
    extents = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(extents[-1] <= FLAT * extents[0])


def _box(thing: Any) -> tuple[np.ndarray, np.ndarray]:
    box = thing.bbox()
    return np.array(box.min, np.float64).ravel(), np.array(box.max, np.float64).ravel()
