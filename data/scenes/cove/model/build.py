"""Models the cove: `python build.py` writes its meshes, its textures and its sky.

A round wooden plinth carries a bay with a lighthouse, two cottages, a boat, a balloon and a
message in a bottle. Scene units; z up; heights are from the water until the last step, which
lowers everything so that the scene's middle is the origin.
"""

from pathlib import Path

import afloat
import ashore
import craft
import nature
import numpy as np
import OpenImageIO as oiio
from PIL import Image
from shapes import Array, Mesh, arc, ball, merge, placed, ring, surface, turned, write_ply
from terrain import PLINTH_RADIUS, SEA_RADIUS, fbm, height

FOLDER = Path(__file__).parent.parent
WATER_LEVEL = -0.41

ROCKS = (
    (-0.68, -0.44, 0.07), (-0.60, -0.50, 0.045), (0.72, 0.20, 0.06), (0.68, 0.28, 0.08),
    (-0.30, 0.72, 0.09), (-0.42, 0.68, 0.05), (-0.70, 0.30, 0.06), (0.20, 0.00, 0.04),
    (-0.13, 0.13, 0.05), (0.02, -0.72, 0.05), (0.09, -0.73, 0.035),
)  # fmt: skip
"""x, y, radius."""


def landscape() -> dict[str, Mesh]:
    """Plinth, water, island and the rocks in the water."""

    def water(u: Array, v: Array) -> Array:
        radius, angle = SEA_RADIUS * (1 - v), 2 * np.pi * u
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        swell = fbm(np.stack([x * 5.0, y * 8.0, 0 * x], axis=-1), 2, seed=13)
        return np.stack([x, y, 0.008 * swell], axis=-1)

    def land(u: Array, v: Array) -> Array:
        x, y = 0.86 * (2 * u - 1), 0.86 * (2 * v - 1)
        return np.stack([x, y, height(x, y)], axis=-1)

    rim = PLINTH_RADIUS - 0.035
    plinth = turned(
        [
            [(rim - 0.035, -0.17), *arc((rim, -0.15), 0.02, -90, 90, 6), (rim - 0.02, -0.125)],
            [(rim - 0.02, -0.125), (rim - 0.03, -0.10), (rim - 0.025, -0.06)],
            [(rim - 0.025, -0.06), *arc((rim, -0.01), 0.034, -90, 150, 12), (rim - 0.04, -0.03)],
        ],
        120,
    )
    rocks = []
    for k, (x, y, size) in enumerate(ROCKS):
        bumps = lambda unit, k=k: 0.30 * fbm(unit * 1.5 + 9.0 * k, 3, seed=17)  # noqa: E731
        rocks.append(placed(ball(size, bumps, 28), (x, y, 0.1 * size), scale=(1, 1, 0.8)))
    return {
        "plinth": plinth,
        "brass": placed(ring(rim - 0.028, 0.010, 120, 6), (0, 0, -0.085)),
        "sea": top_projected(surface(water, 112, 30)),
        "island": top_projected(trimmed(surface(land, 120, 120))),
        "stone": merge(rocks),
    }


def top_projected(mesh: Mesh) -> Mesh:
    """The mesh with texture coordinates from its x and y."""
    uvs = 0.5 + 0.5 * mesh.points[:, :2] / nature.SEA_SPAN
    return Mesh(points=mesh.points, normals=mesh.normals, uvs=uvs, faces=mesh.faces)


def trimmed(mesh: Mesh) -> Mesh:
    """The mesh without the faces that lie wholly under water."""
    keep = (mesh.points[mesh.faces, 2] > -0.03).any(axis=1)
    used, faces = np.unique(mesh.faces[keep], return_inverse=True)
    return Mesh(
        points=mesh.points[used],
        normals=mesh.normals[used],
        uvs=mesh.uvs[used],
        faces=faces.reshape(-1, 3),
    )


def model() -> dict[str, Mesh]:
    """Every mesh of the scene by name, one material each, in scene coordinates."""
    objects = [landscape(), ashore.lighthouse(), ashore.beach(), ashore.jetty()]
    objects += [ashore.cottage(*place) for place in ashore.COTTAGES]
    objects += [ashore.pine(*place) for place in ashore.PINES]
    objects += [ashore.blossom(*place) for place in ashore.BLOSSOMS]
    objects += [afloat.boat(), afloat.balloon(), afloat.bottle(), afloat.whale(), afloat.buoy()]
    names = sorted({name for parts in objects for name in parts})
    down = (0.0, 0.0, WATER_LEVEL)
    return {
        name: placed(merge([parts[name] for parts in objects if name in parts]), down)
        for name in names
    }


def main() -> None:
    """Writes all assets into the scene's folder."""
    for folder in ("meshes", "textures"):
        (FOLDER / folder).mkdir(exist_ok=True)
    for name, mesh in model().items():
        write_ply(FOLDER / "meshes" / f"{name}.ply", mesh)
    for name, painter in {**craft.TEXTURES, **nature.TEXTURES}.items():
        pixels = np.round(255 * np.clip(painter(), 0, 1)).astype(np.uint8)
        path = FOLDER / "textures" / f"{name}.jpg"
        Image.fromarray(pixels).save(path, quality=90, subsampling=0)
    radiance = oiio.ImageBuf(np.ascontiguousarray(nature.sky(), dtype=np.float32))
    radiance.specmod().attribute("DateTime", "2000:01:01 00:00:00")  # the same bytes every time
    radiance.write(str(FOLDER / "sky.exr"), oiio.HALF)


if __name__ == "__main__":
    main()
