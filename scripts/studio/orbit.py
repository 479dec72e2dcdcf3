"""Cameras around a tabletop scene, and the Blender/NeRF-synthetic files that state them.

Lengths are scene units; the scene's middle is the origin, z points up.
"""

from dataclasses import dataclass

import numpy as np

GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
TARGET_JITTER = 0.02


@dataclass(frozen=True, kw_only=True)
class Orbit:
    """A band of the upper hemisphere that cameras are spread over."""

    lowest_deg: float
    highest_deg: float
    nearest: float
    farthest: float
    first_azimuth: float
    seed: int


# Test cameras stay inside the training cameras' band, and start between two of them.
ORBITS = {
    "train": Orbit(
        lowest_deg=5, highest_deg=70, nearest=3.6, farthest=4.1, first_azimuth=0.0, seed=1
    ),
    "test": Orbit(
        lowest_deg=12, highest_deg=58, nearest=3.6, farthest=4.1, first_azimuth=0.35, seed=2
    ),
}


def orbit_cameras(orbit: Orbit, num_views: int) -> np.ndarray:
    """Camera-to-world matrices `[cameras 4 4]` in OpenGL/Blender axes (x right, y up, z backward).

    A golden-angle spiral, evenly spread in area; distances and targets vary a little.
    """
    random = np.random.default_rng(orbit.seed)
    low, high = np.sin(np.radians([orbit.lowest_deg, orbit.highest_deg]))
    place = (np.arange(num_views) + 0.5) / num_views
    elevation = np.arcsin(low + (high - low) * place)
    azimuth = np.arange(num_views) * GOLDEN_ANGLE + orbit.first_azimuth
    distance = orbit.nearest + (orbit.farthest - orbit.nearest) * random.permutation(place)
    target = random.uniform(-TARGET_JITTER, TARGET_JITTER, (num_views, 3))
    level = np.cos(elevation)
    backward = np.stack(
        [level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1
    )
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    matrices = np.tile(np.eye(4), (num_views, 1, 1))
    matrices[:, :3, 0] = right
    matrices[:, :3, 1] = np.cross(backward, right)
    matrices[:, :3, 2] = backward
    matrices[:, :3, 3] = target + distance[:, None] * backward
    return matrices


def view_name(split: str, index: int) -> str:
    """The image of a view, relative to the capture's folder."""
    return f"{split}/{index:03d}.webp"


def transforms(split: str, matrices: np.ndarray, fov_deg: float) -> dict:
    """The content of `transforms_<split>.json`."""
    frames = [
        {"file_path": view_name(split, index), "transform_matrix": matrix.round(9).tolist()}
        for index, matrix in enumerate(matrices)
    ]
    return {"camera_angle_x": float(np.radians(fov_deg)), "frames": frames}
