"""The painted textures of everything that was built: wood, walls, sails, silk.

Painters return sRGB colours `[rows columns 3]` in [0, 1].
"""

from collections.abc import Callable

import numpy as np
from brushes import around, canvas, inside, mix, plane, ramp, rgb
from terrain import Array, fbm, smoothstep


def walnut() -> Array:
    """Turned walnut for the plinth, grain running round it."""
    u, v = canvas(1024, 128)
    grain = fbm(around(u, v + 0.04 * fbm(around(u, v, 2.0, 2.0), 3), 2.2, 26.0), 4, seed=21)
    figure = fbm(around(u, v, 1.2, 1.5), 3, seed=22)
    return ramp(0.62 * grain + 0.4 * figure, [(-0.6, "5b331c"), (0.0, "8a5430"), (0.6, "b9814e")])


def planks() -> Array:
    """Weathered boards, eight along u."""
    u, v = canvas(256, 128)
    board = np.floor(u * 8)
    grain = fbm(np.stack([u * 60, v * 5 + board * 3.1, board * 0.0], axis=-1), 3, seed=31)
    shade = fbm(np.stack([board * 1.7, board * 0.0, board * 0.0], axis=-1), 2, seed=32)
    colour = ramp(0.5 * grain + 0.8 * shade, [(-0.5, "8c6844"), (0.0, "b08a5e"), (0.5, "cfae80")])
    gap = 1 - inside(u * 8 % 1.0, 0.06, 0.94, 0.05)
    return mix(colour, rgb("5d432b"), gap)


def tower() -> Array:
    """The lighthouse: a red spiral on white, windows that climb with it, and a door."""
    u, v = canvas(768, 512)
    wear = fbm(around(u, v, 3.0, 6.0), 4, seed=61)
    turn = (v * 2.6 - u) % 1.0
    stripe = inside(turn, 0.0, 0.44, 0.012) + inside(turn, 1.0, 2.0, 0.012)
    colour = mix(rgb("f7f2e6") + 0.03 * wear[..., None], rgb("d5342c"), np.clip(stripe, 0, 1))
    for place, (left, bottom) in enumerate([(0.70, 0.40), (0.20, 0.42), (0.45, 0.66), (0.95, 0.7)]):
        frame = inside((u - left + 0.5) % 1.0, 0.5, 0.56, 0.004)
        colour = mix(colour, rgb("fdf8ea"), frame * inside(v, bottom, bottom + 0.11, 0.005))
        pane = inside((u - left + 0.5) % 1.0, 0.51, 0.55, 0.004)
        pane = pane * inside(v, bottom + 0.015, bottom + 0.095, 0.005)
        colour = mix(colour, rgb("2b4a66" if place % 2 else "31566f"), pane)
    door = inside(u, 0.70, 0.79, 0.004) * (1 - smoothstep(0.17, 0.18, v))
    colour = mix(colour, rgb("fdf8ea"), door)
    panel = inside(u, 0.712, 0.778, 0.004) * (1 - smoothstep(0.155, 0.165, v))
    return np.clip(mix(colour, rgb("2f6f74"), panel), 0, 1)


def wall() -> Array:
    """Plaster with a blue-shuttered window and a band of stone at the foot."""
    u, v = canvas(256, 256)
    wear = fbm(plane(u, v, 8.0, 8.0), 4, seed=71)
    colour = ramp(wear, [(-0.7, "eadfc8"), (0.0, "f7efdd"), (0.7, "fdf8ec")])
    colour = mix(colour, rgb("a89580") + 0.1 * wear[..., None], 1 - smoothstep(0.10, 0.14, v))
    for centre in (0.27, 0.73):
        across, up = np.abs(u - centre), inside(v, 0.36, 0.80, 0.012)
        colour = mix(colour, rgb("3f7fa6"), up * (1 - smoothstep(0.15, 0.17, across)))
        colour = mix(colour, rgb("fdf8ec"), up * (1 - smoothstep(0.085, 0.10, across)))
        pane = inside(v, 0.40, 0.76, 0.012) * inside(across, 0.012, 0.072, 0.008)
        colour = mix(colour, rgb("34495c"), pane)
    return np.clip(colour, 0, 1)


def tiles() -> Array:
    """Terracotta roof tiles in staggered rows."""
    u, v = canvas(256, 256)
    row = np.floor(v * 7)
    column = np.floor(u * 10 + 0.5 * (row % 2))
    tint = fbm(np.stack([column * 1.3, row * 1.9, 0 * row], axis=-1), 2, seed=81)
    colour = ramp(tint, [(-0.6, "a8432b"), (0.0, "c95c39"), (0.6, "e2855a")])
    lip = 1 - smoothstep(0.05, 0.25, v * 7 % 1.0)
    gap = 1 - inside((u * 10 + 0.5 * (row % 2)) % 1.0, 0.07, 0.93, 0.06)
    return mix(colour, rgb("7d2f20"), np.clip(0.7 * lip + 0.5 * gap, 0, 1))


def balloon() -> Array:
    """Twelve gores in four colours and a patterned belt."""
    u, v = canvas(768, 384)
    gores = [rgb(code) for code in ("f4b93c", "ee6a4d", "f7efdf", "2f9aa0")]
    place = u * 12
    colour = np.zeros((*u.shape, 3))
    for k in range(12):
        colour += inside(place, k, k + 1, 0.04)[..., None] * gores[k % 4]
    colour += (1 - inside(place, 0, 12, 0.04))[..., None] * 0.5 * (gores[0] + gores[3])
    belt = inside(v, 0.50, 0.68, 0.006)
    zigzag = np.abs((place % 1.0) - 0.5) * 2
    colour = mix(colour, rgb("274b6d"), belt)
    colour = mix(colour, rgb("f8e3a1"), inside(v - 0.08 * zigzag, 0.525, 0.575, 0.008))
    return np.clip(mix(colour, rgb("c9483a"), 1 - smoothstep(0.10, 0.11, v)), 0, 1)


def parasol() -> Array:
    """Ten yellow and white wedges."""
    u, v = canvas(320, 64)
    wedge = inside(u * 10 % 2.0, 0.0, 1.0, 0.03) + inside(u * 10 % 2.0, 2.0, 3.0, 0.03)
    colour = mix(rgb("fdf6e6"), rgb("f2a93b"), np.clip(wedge, 0, 1))
    return mix(colour, rgb("e0563f"), 1 - smoothstep(0.10, 0.14, v))


def gingham() -> Array:
    """A blue picnic cloth."""
    u, v = canvas(128, 128)
    warp, weft = inside(u * 5 % 1.0, 0.0, 0.5, 0.05), inside(v * 5 % 1.0, 0.0, 0.5, 0.05)
    return mix(rgb("fbf8f1"), rgb("2f66a8"), 0.5 * warp + 0.5 * weft)


def sail() -> Array:
    """Cream sailcloth with a coral band and a disc."""
    u, v = canvas(128, 128)
    seams = inside(v * 6 % 1.0, 0.0, 0.05, 0.03)
    colour = mix(rgb("fbf3e0"), rgb("dccbaa"), 0.6 * seams)
    colour = mix(colour, rgb("e8624a"), inside(v, 0.10, 0.28, 0.015))
    return mix(colour, rgb("2f9aa0"), 1 - smoothstep(0.085, 0.10, np.hypot(u - 0.42, v - 0.44)))


def hull() -> Array:
    """Navy with a white stripe under each rail and a red bottom (v runs rail to rail)."""
    _, v = canvas(16, 128)
    side = np.abs(v - 0.5) * 2
    colour = mix(rgb("c23a30"), rgb("1f4d7a"), smoothstep(0.42, 0.46, side))
    return mix(colour, rgb("fbf6ea"), inside(side, 0.78, 0.90, 0.02))


def wicker() -> Array:
    """Woven basket."""
    u, v = canvas(256, 64)
    weave = np.sin(2 * np.pi * 16 * u) * np.sign(np.sin(2 * np.pi * 3 * v))
    return ramp(weave, [(-1.0, "8f6235"), (0.0, "b98850"), (1.0, "dcb47a")])


TEXTURES: dict[str, Callable[[], Array]] = {
    painter.__name__: painter
    for painter in (
        walnut, planks, tower, wall, tiles, balloon, parasol, gingham, sail, hull, wicker,
    )
}  # fmt: skip
