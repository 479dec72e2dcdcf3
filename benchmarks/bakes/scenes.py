"""Small scenes to bake, as Mitsuba's XML with a mesh beside it.

A knotted tube in a box that is open in front, in several materials and numbers of triangles; and
the same knot on a floor, under a sun that moves.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trimesh import Trimesh

TRIANGLES = 100_000
SUN = "sun"  # the light that moves

# The tube follows a (2, 3) torus knot in the plane of the box's back.
KNOT_SCALE, TUBE_RADIUS = 0.22, 0.11
KNOT_HEIGHT = -0.2  # of its middle; the box reaches from -1 to 1 along each axis
SIDES_ASPECT = 8  # segments along the tube for each one around it

DIFFUSE = (
    '<bsdf type="twosided"><bsdf type="diffuse"><rgb name="reflectance" value="{}"/></bsdf></bsdf>'
)
GLOSSY = (
    '<bsdf type="twosided"><bsdf type="roughconductor"><float name="alpha" value="0.1"/>'
    '<string name="material" value="none"/>'
    '<rgb name="specular_reflectance" value="0.9, 0.7, 0.4"/></bsdf></bsdf>'
)
GLASS = '<bsdf type="dielectric"><float name="int_ior" value="1.5"/></bsdf>'
LAMP = (
    '<shape type="rectangle" id="lamp"><transform name="to_world"><scale value="0.25"/>'
    '<rotate x="1" angle="90"/><translate y="0.99"/></transform>'
    '<bsdf type="diffuse"><rgb name="reflectance" value="0"/></bsdf>'
    '<emitter type="area"><rgb name="radiance" value="15"/></emitter></shape>'
)
DAYLIGHT = (
    f'<emitter type="directional" id="{SUN}"><vector name="direction" x="0.4" y="-1" z="-0.5"/>'
    '<rgb name="irradiance" value="2.5"/></emitter>'
    '<emitter type="constant" id="sky"><rgb name="radiance" value="0.15"/></emitter>'
)
CAMERA = (
    '<sensor type="perspective" id="front"><float name="fov" value="39"/>'
    '<transform name="to_world"><lookat origin="{}" target="{}" up="0, 1, 0"/></transform>'
    '<film type="hdrfilm"><integer name="width" value="256"/>'
    '<integer name="height" value="256"/></film></sensor>'
)
WALL = '<shape type="rectangle" id="{}"><transform name="to_world">{}</transform>{}</shape>'
# How Mitsuba's square, which lies in the plane z = 0 and faces +z, becomes each wall.
WALLS = {
    "back": '<translate z="-1"/>',
    "floor": '<rotate x="1" angle="-90"/><translate y="-1"/>',
    "ceiling": '<rotate x="1" angle="90"/><translate y="1"/>',
    "left": '<rotate y="1" angle="90"/><translate x="-1"/>',
    "right": '<rotate y="1" angle="-90"/><translate x="1"/>',
}
TINTS = {"left": (1.0, 0.35, 0.3), "right": (0.35, 1.0, 0.4)}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the knot is made of, how much light the walls reflect, and how long paths must be."""

    knot: str
    albedo: float
    tinted: bool  # whether the walls at the sides have hues
    max_depth: int


MATERIALS = {
    "diffuse": Material(knot=DIFFUSE.format("0.7, 0.5, 0.3"), albedo=0.6, tinted=True, max_depth=8),
    "glossy": Material(knot=GLOSSY, albedo=0.6, tinted=True, max_depth=12),
    "glass": Material(knot=GLASS, albedo=0.6, tinted=True, max_depth=24),
    "bounces": Material(
        knot=DIFFUSE.format("0.95, 0.95, 0.95"), albedo=0.95, tinted=False, max_depth=64
    ),
}


def write_box(folder: Path, material: Material, triangles: int = TRIANGLES) -> Path:
    """A scene file in ``folder``, which is made: the knot in its box under a lamp."""
    walls = []
    for name, placed in WALLS.items():
        tint = TINTS.get(name, (1.0, 1.0, 1.0)) if material.tinted else (1.0, 1.0, 1.0)
        color = ", ".join(f"{material.albedo * channel:g}" for channel in tint)
        walls.append(WALL.format(name, placed, DIFFUSE.format(color)))
    camera = CAMERA.format("0, 0, 4", "0, 0, 0")
    return _written(folder, material, triangles, camera + LAMP + "".join(walls))


def write_moving(folder: Path, triangles: int = TRIANGLES) -> Path:
    """A scene file in ``folder``, which is made: the knot on a floor under sun and a dim sky."""
    material = MATERIALS["diffuse"]
    floor = WALL.format(
        "floor", '<scale value="2"/>' + WALLS["floor"], DIFFUSE.format("0.6, 0.6, 0.6")
    )
    camera = CAMERA.format("0, 1.2, 4", f"0, {KNOT_HEIGHT}, 0")
    return _written(folder, material, triangles, camera + DAYLIGHT + floor)


def knot_mesh(triangles: int) -> "Trimesh":
    """The closed tube of about so many triangles, facing outwards, with the normals of the smooth
    one."""
    import trimesh

    around = max(3, round(math.sqrt(triangles / 2 / SIDES_ASPECT)))
    along = max(3, round(triangles / 2 / around))
    t = np.arange(along)[:, None] * (2 * math.pi / along)
    turn = np.arange(around)[None, :] * (2 * math.pi / around)
    # Outwards from the ring that the torus is wound around, then along the knot.
    out = np.stack([np.cos(3 * t) * np.cos(2 * t), np.cos(3 * t) * np.sin(2 * t), np.sin(3 * t)])
    ring = np.stack([2 * np.cos(2 * t), 2 * np.sin(2 * t), 0 * t])
    wide, flat = 2 + np.cos(3 * t), -3 * np.sin(3 * t)
    tangent = np.stack(
        [
            flat * np.cos(2 * t) - 2 * wide * np.sin(2 * t),
            flat * np.sin(2 * t) + 2 * wide * np.cos(2 * t),
            3 * np.cos(3 * t),
        ]
    )
    tangent /= np.linalg.norm(tangent, axis=0)
    normal = np.cos(turn) * out + np.sin(turn) * np.cross(tangent, out, axis=0)
    points = KNOT_SCALE * (ring + out) + TUBE_RADIUS * normal
    points[1] += KNOT_HEIGHT
    index = np.arange(along * around).reshape(along, around)
    ahead, beside = np.roll(index, -1, axis=0), np.roll(index, -1, axis=1)
    across = np.roll(ahead, -1, axis=1)
    faces = np.concatenate(
        [np.stack([index, across, ahead], axis=-1), np.stack([index, beside, across], axis=-1)]
    )
    return trimesh.Trimesh(
        vertices=points.reshape(3, -1).T,
        faces=faces.reshape(-1, 3),
        vertex_normals=normal.reshape(3, -1).T,
        process=False,
    )


def _written(folder: Path, material: Material, triangles: int, rest: str) -> Path:
    """The scene file of the knot and what is around it."""
    folder.mkdir(parents=True, exist_ok=True)
    knot_mesh(triangles).export(folder / "knot.ply", vertex_normal=True)
    knot = (
        f'<shape type="ply" id="knot"><string name="filename" value="knot.ply"/>{material.knot}'
        "</shape>"
    )
    depth = f'<integer name="max_depth" value="{material.max_depth}"/>'
    text = f'<integrator type="path">{depth}</integrator>{rest}{knot}'
    path = folder / "scene.xml"
    path.write_text(f'<scene version="3.0.0">{text}</scene>\n', encoding="utf-8")
    return path
