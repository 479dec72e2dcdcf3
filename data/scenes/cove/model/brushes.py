"""What every painter starts from: pixel coordinates, colours, ramps and noise coordinates.

Colours are sRGB in [0, 1]. u runs along columns, v climbs from the last row to the first, both
in [0, 1].
"""

from collections.abc import Sequence

import numpy as np
from terrain import Array, smoothstep


def canvas(columns: int, rows: int) -> tuple[Array, Array]:
    """(u, v) of the pixel centres, each `[rows columns]`."""
    u = (np.arange(columns) + 0.5) / columns
    v = 1 - (np.arange(rows) + 0.5) / rows
    grid_u, grid_v = np.meshgrid(u, v)
    return grid_u, grid_v


def rgb(code: str) -> Array:
    """The colour of a six-digit hexadecimal code."""
    return np.array([int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)])


def mix(first: Array, second: Array, amount: Array) -> Array:
    """From `first` (amount 0) to `second` (amount 1), per pixel."""
    return first + amount[..., None] * (second - first)


def ramp(values: Array, stops: Sequence[tuple[float, str]]) -> Array:
    """Colours interpolated between (value, colour code) stops."""
    places = [place for place, _ in stops]
    colours = np.stack([rgb(code) for _, code in stops])
    return np.stack([np.interp(values, places, colours[:, k]) for k in range(3)], axis=-1)


def inside(x: Array, low: float, high: float, soft: float) -> Array:
    """1 between `low` and `high`, 0 outside, with edges `soft` wide."""
    return smoothstep(low - soft, low + soft, x) * (1 - smoothstep(high - soft, high + soft, x))


def around(u: Array, v: Array, scale_u: float, scale_v: float) -> Array:
    """Noise coordinates that close where u wraps round."""
    angle = 2 * np.pi * u
    return np.stack([np.cos(angle) * scale_u, np.sin(angle) * scale_u, v * scale_v], axis=-1)


def plane(u: Array, v: Array, scale_u: float, scale_v: float) -> Array:
    """Noise coordinates on a flat texture."""
    return np.stack([u * scale_u, v * scale_v, np.full_like(u, 0.37)], axis=-1)
