"""The shape of the island and the noise that everything in the scene is weathered with.

Lengths are scene units; heights are measured from the water.
"""

import numpy as np

Array = np.ndarray

PLINTH_RADIUS = 0.93
SEA_RADIUS = 0.88


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below `low`, 1 above `high`, a cubic in between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def noise(points: Array, seed: int = 0) -> Array:
    """Value noise in [-1, 1] of points `[..., 3]`, one lattice cell per unit."""
    cell = np.floor(points)
    t = points - cell
    t = t * t * (3 - 2 * t)
    cell = cell.astype(np.int64).astype(np.uint64)
    total = np.zeros(points.shape[:-1])
    for corner in range(8):
        bits = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        key = (cell + bits.astype(np.uint64)) * np.array(
            [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64
        )
        hashed = key[..., 0] ^ (key[..., 1] << np.uint64(1)) ^ (key[..., 2] << np.uint64(2))
        hashed = (hashed ^ np.uint64(seed * 7919 + 17)) * np.uint64(0xD6E8FEB86659FD93)
        hashed = (hashed ^ (hashed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        value = (hashed >> np.uint64(40)).astype(float) / 2**23 - 1.0
        total += value * np.prod(np.where(bits == 1, t, 1 - t), axis=-1)
    return total


def fbm(points: Array, num_octaves: int = 4, seed: int = 0) -> Array:
    """A sum of noise octaves, each twice as fine and half as strong; about [-1, 1]."""
    total = np.zeros(points.shape[:-1])
    for octave in range(num_octaves):
        total += 0.5 ** (octave + 1) * noise(points * 2.0**octave + 11.3 * octave, seed + octave)
    return total * 1.4


def capsule(x: Array, y: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
    """Distance from (x, y) to the segment `start`-`stop`."""
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    t = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    return np.hypot(x - start[0] - t * dx, y - start[1] - t * dy)


def height(x: Array, y: Array) -> Array:
    """Ground height above the water: a hill and two arms around a cove that opens to -y."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    flat = np.stack([x, y, np.zeros_like(x)], axis=-1)
    bend = 0.05 * fbm(flat * 4.0, 3, seed=3)
    hill = 1 - smoothstep(0.13, 0.33, np.hypot(x + 0.30, y - 0.30) + bend)
    right = 1 - smoothstep(0.10, 0.34, capsule(x, y, (-0.1, 0.46), (0.50, 0.12)) + bend)
    left = 1 - smoothstep(0.08, 0.30, capsule(x, y, (-0.48, 0.2), (-0.46, -0.32)) + bend)
    base = 0.19 * hill + 0.15 * right + 0.13 * left
    roughness = 0.02 + 0.06 * hill * (1 - hill)
    return base - 0.045 + roughness * fbm(flat * 7.0, 4, seed=5) * smoothstep(0.02, 0.1, base)


def ground(x: float, y: float) -> float:
    """Ground height at one place."""
    return float(height(np.array([x]), np.array([y]))[0])
