"""Writes a tiny capture whose every pixel is known: a shaded, striped sphere on a clear background.

Pure numpy and Pillow, so that any test may use it: ``write_blender_capture(tmp_path / "tiny")``.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CAMERA_DISTANCE = 4.0
CAMERA_ANGLE_X = 0.69
SPHERE_RADIUS = 1.0
SUPERSAMPLING = 4


def write_blender_capture(
    folder: Path, num_train: int = 12, num_test: int = 3, size: int = 48
) -> Path:
    """The folder, now a NeRF-synthetic capture: RGBA PNGs and ``transforms_{train,test}.json``.

    The sphere has radius 1 at the origin; z is up; the cameras look at the origin from distance 4,
    so that the silhouette is well inside the image.
    """
    for split, num_views, phase in (("train", num_train, 0.0), ("test", num_test, 0.37)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        frames = []
        for index, pose in enumerate(camera_poses(num_views, phase)):
            name = f"{split}/r_{index}"
            Image.fromarray(sphere_image(pose, size)).save(folder / f"{name}.png")
            frames.append({"file_path": f"./{name}", "transform_matrix": pose.tolist()})
        content = {"camera_angle_x": CAMERA_ANGLE_X, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder


def camera_poses(num_views: int, phase: float = 0.0) -> np.ndarray:
    """``[views 4 4]`` world_from_camera on a spiral, in Blender's axes (x right, y up, z back)."""
    poses = np.zeros((num_views, 4, 4))
    for index in range(num_views):
        height = 0.8 - 1.4 * (index + phase) / num_views
        turn = 2.399963 * (index + phase)
        ring = np.sqrt(1 - height * height)
        backward = np.array([ring * np.cos(turn), ring * np.sin(turn), height])
        right = np.array([-np.sin(turn), np.cos(turn), 0.0])
        up = np.cross(backward, right)
        poses[index, :3] = np.stack([right, up, backward, CAMERA_DISTANCE * backward], axis=1)
        poses[index, 3, 3] = 1
    return poses


def sphere_image(pose: np.ndarray, size: int) -> np.ndarray:
    """``uint8 [size size 4]``: straight colour and opacity of the sphere, averaged per pixel."""
    fine = size * SUPERSAMPLING
    focal = 0.5 * fine / np.tan(0.5 * CAMERA_ANGLE_X)
    steps = (np.arange(fine) + 0.5 - 0.5 * fine) / focal
    x, y = np.meshgrid(steps, -steps)
    directions = np.stack([x, y, -np.ones_like(x)], axis=-1) @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    opacity, color = trace_sphere(pose[:3, 3], directions)
    blocks = (size, SUPERSAMPLING, size, SUPERSAMPLING)
    alpha = opacity.reshape(blocks).mean(axis=(1, 3))
    premultiplied = (color * opacity[..., None]).reshape(*blocks, 3).mean(axis=(1, 3))
    straight = premultiplied / np.maximum(alpha, 1e-6)[..., None]
    image = np.concatenate([straight, alpha[..., None]], axis=-1)
    return np.round(255 * image.clip(0, 1)).astype(np.uint8)


def trace_sphere(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(opacity [...], color [... 3])`` of unit rays: stripes over the normal, lit from above."""
    along = -(directions @ origin)
    discriminant = along**2 - origin @ origin + SPHERE_RADIUS**2
    hit = (discriminant > 0) & (along > 0)
    distance = along - np.sqrt(np.maximum(discriminant, 0))
    normal = (origin + distance[..., None] * directions) / SPHERE_RADIUS
    light = 0.35 + 0.65 * np.maximum(normal @ np.array([0.36, 0.48, 0.8]), 0)
    stripes = 0.5 + 0.4 * np.sin(5.0 * normal)
    return hit.astype(np.float64), stripes * light[..., None]
