"""The painted water, land, rocks and trees, and the sky that lights the scene.

Painters return sRGB colours `[rows columns 3]` in [0, 1]; the sky is scene-linear.
"""

from collections.abc import Callable

import numpy as np
from brushes import around, canvas, inside, mix, plane, ramp, rgb
from terrain import Array, fbm, height, smoothstep

SEA_SPAN = 1.0
"""Half the side of the square that the island's and the sea's textures cover."""


def sea() -> Array:
    """Turquoise shallows that deepen away from the shore, and a line of foam along it."""
    u, v = canvas(768, 768)
    x, y = SEA_SPAN * (2 * u - 1), SEA_SPAN * (2 * v - 1)
    ground = height(x, y)
    blurred = sum(
        height(x + r * np.cos(a), y + r * np.sin(a))
        for r in (0.05, 0.11, 0.17)
        for a in np.arange(8) * np.pi / 4
    )
    depth = -(0.25 * ground + 0.75 * blurred / 24)
    patches = fbm(plane(u, v, 9.0, 9.0), 4, seed=41)
    colour = ramp(
        depth + 0.008 * patches,
        [(-0.01, "9be8d3"), (0.008, "5fd3c6"), (0.028, "2cabb8"), (0.045, "1587a5")],
    )
    edge = smoothstep(0.68, 0.88, np.hypot(x, y) + 0.03 * patches)
    colour = mix(colour, rgb("0b5f86"), 0.85 * edge)
    wander = 0.010 * fbm(plane(u, v, 22.0, 22.0), 3, seed=42)
    foam = inside(ground + wander, -0.017, 0.02, 0.006)
    return mix(colour, rgb("f4fbf6"), 0.85 * foam)


def island() -> Array:
    """Sand at the water, meadow above it, rock where it is steep, and a footpath."""
    u, v = canvas(768, 768)
    x, y = SEA_SPAN * (2 * u - 1), SEA_SPAN * (2 * v - 1)
    ground = height(x, y)
    step = 0.008
    slope = np.hypot(
        (height(x + step, y) - height(x - step, y)) / (2 * step),
        (height(x, y + step) - height(x, y - step)) / (2 * step),
    )
    speckle = fbm(plane(u, v, 70.0, 70.0), 3, seed=51)
    patches = fbm(plane(u, v, 12.0, 12.0), 4, seed=52)
    sand = ramp(0.5 * speckle + patches, [(-0.8, "e0bd82"), (0.0, "efd6a4"), (0.8, "f8e8c6")])
    grass = ramp(0.55 * speckle + patches, [(-0.7, "4f8a3a"), (0.0, "76ad48"), (0.7, "a9cc5e")])
    strata = np.sin(ground * 190 + 3.0 * patches) * 0.35 + 0.5 * speckle + 0.4 * patches
    rock = ramp(strata, [(-0.8, "8a7263"), (0.0, "b59c85"), (0.8, "dcc9ad")])
    beach = 1 - smoothstep(0.10, 0.22, np.hypot(x + 0.52, y + 0.22) + 0.05 * patches)
    meadow = smoothstep(0.032, 0.056, ground + 0.012 * patches) * (1 - beach)
    colour = mix(mix(sand, grass, meadow), rock, smoothstep(0.75, 1.15, slope + 0.2 * patches))
    return mix(colour, rgb("ecd3a3"), 0.9 * footpath(x, y, patches))


def footpath(x: Array, y: Array, patches: Array) -> Array:
    """1 on the path that winds from the lighthouse to the jetty."""
    along = np.clip((x + 0.2) / 0.5, 0.0, 1.0)
    middle = 0.40 - 0.22 * along**2 + 0.035 * np.sin(9 * along)
    width = 0.020 + 0.006 * patches
    on_path = 1 - smoothstep(width, width + 0.012, np.abs(y - middle))
    return on_path * inside(x, -0.2, 0.28, 0.02)


def stone() -> Array:
    """Warm grey rock."""
    u, v = canvas(256, 128)
    grain = fbm(around(u, v, 2.5, 5.0), 5, seed=91)
    return ramp(grain, [(-0.6, "76685f"), (0.0, "a39384"), (0.6, "cdbda8")])


def blossom() -> Array:
    """Cherry blossom, dappled."""
    u, v = canvas(256, 128)
    dapple = fbm(around(u, v, 4.0, 9.0), 3, seed=95)
    return ramp(dapple, [(-0.6, "e0799c"), (0.0, "f4a6bf"), (0.6, "fdd3de")])


def pine() -> Array:
    """Dark needles, lighter at the tips."""
    u, v = canvas(256, 64)
    dapple = fbm(around(u, v, 5.0, 6.0), 3, seed=96)
    return ramp(dapple + v - 0.5, [(-0.7, "1f5540"), (0.0, "2f7350"), (0.7, "5b9a5c")])


def sky() -> Array:
    """Scene-linear radiance of the sky, latitude-longitude, zenith in the first row."""
    u, v = canvas(256, 128)
    angle, latitude = 2 * np.pi * u, np.pi * (v - 0.5)
    flat = np.cos(latitude)
    direction = np.stack([flat * np.sin(angle), flat * np.cos(angle), np.sin(latitude)], axis=-1)
    up = direction[..., 2]
    zenith, horizon, below = np.array([0.42, 0.62, 1.0]), np.array([1.0, 0.86, 0.72]), 0.30
    colour = mix(horizon, zenith, smoothstep(0.0, 0.75, up) ** 0.7)
    colour = mix(colour, below * horizon, 1 - smoothstep(-0.12, 0.02, up))
    clouds = smoothstep(-0.05, 0.5, fbm(direction * np.array([1.6, 1.6, 3.2]), 3, seed=99))
    colour = mix(colour, np.array([1.25, 1.2, 1.15]), 0.7 * clouds * smoothstep(0.0, 0.2, up))
    return 0.75 * colour


TEXTURES: dict[str, Callable[[], Array]] = {
    painter.__name__: painter for painter in (sea, island, stone, blossom, pine)
}
