"""Everything that swims or flies. Heights are from the water."""

import numpy as np
from shapes import (
    Array,
    Mesh,
    arc,
    ball,
    merge,
    placed,
    revolve,
    surface,
    tube,
    turned,
)

BOAT = (-0.08, -0.30)
BALLOON = (0.36, -0.12, 0.76)
BOTTLE = (0.36, -0.50)
WHALE = (0.34, 0.66)
BUOY = (-0.32, -0.63)


def boat() -> dict[str, Mesh]:
    """A small sloop at anchor."""

    def beam(s: Array) -> Array:
        return 0.058 * (1 - np.abs(s) ** 2.4)

    def hull(u: Array, v: Array) -> Array:
        s, a = np.sin(np.pi * (u - 0.5)), np.pi * v
        rail = 0.045 + 0.022 * s**2
        below = (0.075 - 0.02 * s**2) * np.sin(a)
        return np.stack([0.17 * s, beam(s) * np.cos(a), rail - below], axis=-1)

    def deck(u: Array, v: Array) -> Array:
        s = np.sin(np.pi * (u - 0.5))
        across = beam(s) * (2 * v - 1)
        return np.stack([0.17 * s, across, 0.044 + 0.022 * s**2], axis=-1)

    def canvas(foot: float, head: float, length: float) -> Mesh:
        def position(u: Array, v: Array) -> Array:
            x = foot + length * u * (1 - v)
            belly = 0.05 * np.sin(np.pi * u) * np.sin(np.pi * np.minimum(v + 0.15, 1.0))
            return np.stack([x, belly, 0.09 + (head - 0.09) * v], axis=-1)

        return surface(position, 10, 10)

    mast = tube((0.02, 0, 0), (0.02, 0, 0.40), 0.006)
    boom = tube((0.02, 0, 0.085), (-0.14, 0, 0.085), 0.005)
    parts = {
        "hull": surface(hull, 24, 12),
        "timber": merge([surface(deck, 24, 2), mast, boom]),
        "sails": merge([canvas(0.012, 0.38, -0.145), canvas(0.03, 0.34, 0.115)]),
    }
    return {name: placed(mesh, (*BOAT, 0), turn=2.45, scale=1.3) for name, mesh in parts.items()}


def balloon() -> dict[str, Mesh]:
    """A hot-air balloon with its basket."""

    def envelope(u: Array, v: Array) -> Array:
        polar = np.pi * (1 - v)
        lower = np.clip(-np.cos(polar), 0, 1)
        radius = 0.2 * np.sin(polar) * (1 - 0.22 * lower**2) + 0.035 * (1 - v) ** 6
        radius = radius * (1 + 0.03 * np.abs(np.sin(6 * 2 * np.pi * u)))
        z = 0.2 * np.cos(polar) - 0.07 * lower**2
        return np.stack(
            [radius * np.cos(2 * np.pi * u), radius * np.sin(2 * np.pi * u), z], axis=-1
        )

    corners = [(0.03 * np.cos(a), 0.03 * np.sin(a)) for a in np.pi / 4 + np.arange(4) * np.pi / 2]
    ropes = [tube((x, y, -0.26), (1.1 * x, 1.1 * y, -0.37), 0.005) for x, y in corners]
    basket = turned(
        [[(0.0, -0.43), (0.036, -0.43)], [(0.036, -0.43), (0.044, -0.37)],
         [(0.044, -0.37), (0.036, -0.37)], [(0.036, -0.37), (0.0, -0.40)]], 24,
    )  # fmt: skip
    parts = {"balloon": surface(envelope, 72, 28), "basket": basket, "timber": merge(ropes)}
    return {name: placed(mesh, BALLOON) for name, mesh in parts.items()}


def bottle() -> dict[str, Mesh]:
    """A corked bottle afloat, with a letter in it. Its glass is one closed solid, wall and all."""
    outer = [(0.0, 0.0), *arc((0.07, 0.02), 0.02, -90, 0, 5), (0.09, 0.19)]
    outer += [(0.083, 0.225), (0.062, 0.255), (0.042, 0.275), (0.036, 0.29), (0.036, 0.335)]
    outer += [*arc((0.036, 0.345), 0.01, -60, 60, 5), (0.036, 0.358), (0.026, 0.358)]
    inner = [(0.026, 0.29), (0.034, 0.268), (0.054, 0.246), (0.074, 0.217), (0.08, 0.19)]
    inner += [(0.08, 0.03), (0.07, 0.016), (0.0, 0.016)]
    cork = turned([[(0.0255, 0.315), (0.031, 0.385)], [(0.031, 0.385), (0.0, 0.385)]], 24)
    letter = revolve([(0.034, 0.03), (0.034, 0.2)], 24)
    ribbon = revolve([(0.036, 0.10), (0.036, 0.125)], 24)
    parts = {"bottle": revolve(outer + inner, 48), "cork": cork, "letter": letter, "ribbon": ribbon}
    at = (*BOTTLE, -0.035)
    return {name: placed(mesh, at, turn=0.5, tilt=0.45, scale=1.2) for name, mesh in parts.items()}


def whale() -> dict[str, Mesh]:
    """A back and a fluke, breaking the surface."""

    def stem(u: Array, v: Array) -> Array:
        angle, thick = 2 * np.pi * u, 0.040 * (1 - v) ** 1.5 + 0.012
        x, y = 1.1 * thick * np.cos(angle), 0.09 * v**2 + thick * np.sin(angle)
        return np.stack([x, y, 0.18 * v - 0.03], axis=-1)

    def fluke(u: Array, v: Array) -> Array:
        angle, s = 2 * np.pi * u, 2 * v - 1
        taper = np.sqrt(np.clip(1 - s**2, 0, 1))
        chord = 0.036 * taper * (1 - 0.45 * np.exp(-((s / 0.16) ** 2)))
        sweep = 0.075 * np.abs(s) ** 1.5 - 0.015 * np.exp(-((s / 0.2) ** 2))
        thick = 0.012 * taper
        y, z = sweep + chord * np.cos(angle), thick * np.sin(angle) - 0.03 * s**2
        return np.stack([0.135 * s, y, z], axis=-1)

    tail = placed(surface(fluke, 16, 24), (0, 0.095, 0.155), tilt=0.55)
    back = placed(ball(1.0, None, 28), (0, -0.20, -0.035), scale=(0.075, 0.16, 0.09))
    whole = merge([surface(stem, 16, 8), tail, back])
    return {"whale": placed(whole, (*WHALE, 0), turn=1.08)}


def buoy() -> dict[str, Mesh]:
    """A red and white float with a brass mast."""
    float_profile = [
        [(0.0, -0.05), (0.06, -0.02), (0.07, 0.01)],
        [(0.07, 0.01), (0.025, 0.12)],
        [(0.025, 0.12), (0.0, 0.12)],
    ]
    mast = merge([tube((0, 0, 0.1), (0, 0, 0.17), 0.007), placed(ball(0.022), (0, 0, 0.18))])
    parts = {"buoy": turned(float_profile, 32), "brass": mast}
    return {name: placed(mesh, (*BUOY, 0), tilt=0.12) for name, mesh in parts.items()}
