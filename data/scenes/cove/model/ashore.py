"""Everything that stands on the island. Heights are from the water."""

import numpy as np
from shapes import (
    Array,
    Mesh,
    ball,
    box,
    merge,
    placed,
    revolve,
    ring,
    surface,
    tube,
    turned,
)
from terrain import fbm, ground, height

LIGHTHOUSE = (-0.30, 0.30)
COTTAGES = ((0.19, 0.41, 0.5, 1.05), (0.46, 0.13, 1.9, 0.9))
PINES = ((-0.54, 0.12, 1.0), (-0.45, 0.0, 0.75), (-0.06, 0.54, 0.9), (-0.41, 0.5, 0.65))
BLOSSOMS = ((0.36, 0.29, 1.1), (0.03, 0.38, 0.85), (0.55, 0.26, 0.75))
"""x, y, then turn in radians for cottages, then scale."""
PARASOL = (-0.50, -0.24)
JETTY = (0.20, 0.05)
JETTY_TURN = 4.2


def lighthouse() -> dict[str, Mesh]:
    """Tower, gallery, lantern and copper roof; the flame inside is a sphere in the scene file."""
    foot = ground(*LIGHTHOUSE) - 0.02
    at = (*LIGHTHOUSE, foot)
    taper = [(0.088 + 0.047 * (1 - t) ** 1.8, 0.05 + 0.53 * t) for t in np.linspace(0, 1, 9)]
    base = turned([[(0.165, -0.05), (0.16, 0.045)], [(0.16, 0.045), (0.12, 0.055)]])
    slab = turned(
        [
            [(0.088, 0.55), (0.128, 0.58)],
            [(0.128, 0.58), (0.128, 0.60)],
            [(0.128, 0.60), (0, 0.60)],
        ]
    )
    curb = turned([[(0.075, 0.60), (0.075, 0.625)], [(0.075, 0.625), (0.0, 0.625)]])
    rails = [placed(ring(0.12, 0.006), (0, 0, z)) for z in (0.63, 0.655)]
    for angle in np.arange(8) * np.pi / 4:
        x, y = 0.12 * np.cos(angle), 0.12 * np.sin(angle)
        rails.append(tube((x, y, 0.60), (x, y, 0.655), 0.006))
    roof = turned(
        [
            [(0.0, 0.745), (0.098, 0.735)],
            [(0.098, 0.735), (0.085, 0.765), (0.06, 0.795), (0.03, 0.82), (0.012, 0.85), (0, 0.85)],
        ]
    )
    finial = placed(ball(0.020), (0, 0, 0.865))
    lantern = revolve([(0.066, 0.62), (0.066, 0.74)], 32)
    lamp = turned([[(0.03, 0.625), (0.012, 0.645)], [(0.012, 0.645), (0.012, 0.66)]], 16)
    parts = {
        "tower": revolve(taper, 48),
        "stone": base,
        "trim": merge([slab, curb]),
        "brass": merge([*rails, finial, lamp]),
        "copper": roof,
        "lantern": lantern,
    }
    return {name: placed(mesh, at) for name, mesh in parts.items()}


def cottage(x: float, y: float, turn: float, scale: float) -> dict[str, Mesh]:
    """Plastered walls with gables, a tiled roof and a chimney."""
    length, depth, tall, pitch = 0.22, 0.15, 0.11, 0.75
    rise = 0.5 * depth * np.tan(pitch)

    def gable(side: int) -> Mesh:
        def position(u: Array, v: Array) -> Array:
            across = side * depth * (u - 0.5) * (1 - v)
            return np.stack([0 * u + side * length / 2, across, tall + rise * v], axis=-1)

        flat = surface(position, 1, 1)
        plain = np.broadcast_to([0.03, 0.5], flat.uvs.shape)
        return Mesh(points=flat.points, normals=flat.normals, uvs=plain, faces=flat.faces)

    slope = 0.5 * depth / np.cos(pitch) + 0.03
    half = placed(box((length + 0.05, slope, 0.014)), (0, -slope / 2, 0))
    sides = [placed(half, (0, 0, tall + rise), turn=t, tilt=pitch) for t in (0.0, np.pi)]
    chimney = placed(box((0.032, 0.032, 0.09)), (0.06, 0.03, tall + 0.03))
    parts = {
        "walls": merge([placed(box((length, depth, tall)), (0, 0, 0)), gable(1), gable(-1)]),
        "roofs": merge(sides),
        "stone": merge([chimney, placed(box((length + 0.03, depth + 0.03, 0.08)), (0, 0, -0.075))]),
    }
    at = (x, y, ground(x, y) + 0.005)
    return {name: placed(mesh, at, turn=turn, scale=scale) for name, mesh in parts.items()}


def pine(x: float, y: float, scale: float) -> dict[str, Mesh]:
    """A fir of three skirts."""
    skirts = [
        turned([[(0, z), (r, z - 0.012)], [(r, z - 0.012), (r * 0.45, z + 0.05), (0, z + 0.1)]], 18)
        for r, z in ((0.085, 0.06), (0.066, 0.115), (0.045, 0.17))
    ]
    at = (x, y, ground(x, y) - 0.01)
    return {
        "pines": placed(merge(skirts), at, scale=scale),
        "timber": placed(tube((0, 0, 0), (0, 0, 0.07), 0.016), at, scale=scale),
    }


def blossom(x: float, y: float, scale: float) -> dict[str, Mesh]:
    """A cherry tree: a few round clouds on a short trunk."""
    clouds = []
    for k, (dx, dy, dz, r) in enumerate(
        [(0, 0, 0.16, 0.075), (0.06, 0.02, 0.125, 0.05), (-0.05, 0.035, 0.13, 0.052),
         (0.0, -0.055, 0.125, 0.05)]
    ):  # fmt: skip
        bumps = lambda unit, k=k: 0.16 * fbm(unit * 3.0 + 5.0 * k, 3, seed=7)  # noqa: E731
        clouds.append(placed(ball(r, bumps, 18), (dx, dy, dz)))
    at = (x, y, ground(x, y) - 0.01)
    return {
        "blossoms": placed(merge(clouds), at, scale=scale, turn=3 * x),
        "timber": placed(tube((0, 0, 0), (0.005, 0, 0.12), 0.013), at, scale=scale),
    }


def beach() -> dict[str, Mesh]:
    """Parasol and picnic cloth on the sand."""
    x, y = PARASOL
    at = (x, y, ground(x, y))
    canopy = turned([[(0.135, 0.154), (0.10, 0.185), (0.05, 0.205), (0.0, 0.213)]], 40)
    under = turned([[(0.0, 0.209), (0.05, 0.201), (0.10, 0.181), (0.135, 0.154)]], 40)

    def cloth(u: Array, v: Array) -> Array:
        east, north = x + 0.03 + 0.10 * u + 0.03 * v, y - 0.16 + 0.10 * v - 0.03 * u
        return np.stack([east, north, height(east, north) + 0.008], axis=-1)

    knob = placed(ball(0.011, None, 12), (0, 0, 0.216))
    return {
        "parasol": placed(merge([canopy, under]), at, tilt=0.18, turn=0.6),
        "brass": placed(knob, at, tilt=0.18, turn=0.6),
        "timber": placed(tube((0, 0, -0.02), (0, 0, 0.21), 0.007), at, tilt=0.18, turn=0.6),
        "cloth": surface(cloth, 8, 8),
    }


def jetty() -> dict[str, Mesh]:
    """Planks and posts from the meadow into the cove."""
    deck = placed(box((0.34, 0.085, 0.014)), (0, 0, 0.045))
    post = turned([[(0.010, -0.04), (0.010, 0.085)], [(0.010, 0.085), (0.0, 0.085)]], 10)
    posts = [placed(post, (x, y, 0)) for x in (-0.16, 0.0, 0.16) for y in (-0.044, 0.044)]
    parts = {"planks": deck, "timber": merge(posts)}
    return {name: placed(mesh, (*JETTY, 0), turn=JETTY_TURN) for name, mesh in parts.items()}
