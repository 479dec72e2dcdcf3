"""A small capture of textured boxes on a textured floor, ray-cast by numpy, and ways to break it.

Its cameras stand in an arc with irregular heights, distances and rolls, so that none of the
world's symmetries hides a fault.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FOCAL_PX = 240, 180, 190.0
NUM_PHOTOS = 16
BOXES = (((-0.5, -0.4, 0.0), (0.3, 0.5, 0.9)), ((0.5, -0.7, 0.0), (1.1, -0.1, 0.5)))
OPENGL = np.diag([1.0, -1, -1, 1])
CELLS = 64


def write_textured_capture(folder: Path) -> Path:
    """The folder, now a capture in transforms.json: 16 photos whose names count from 0 to 15."""
    numbers = np.random.default_rng(7)
    textures = numbers.random((3, CELLS, CELLS, 3))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    for index, pose in enumerate(camera_poses(numbers)):
        name = f"images/{index}.png"
        Image.fromarray(photograph(pose, textures)).save(folder / name)
        frames.append({"file_path": name, "transform_matrix": (pose @ OPENGL).tolist()})
    write_frames(folder, frames)
    return folder


@cache
def unbroken_capture(base: Path) -> Path:
    """Such a capture in ``base``, once for all tests; what opening it finds is kept beside it."""
    return write_textured_capture(base / "textured")


def write_frames(folder: Path, frames: list[dict[str, Any]], focal_px: float = FOCAL_PX) -> None:
    """``transforms.json`` with these frames; images are as large as they are."""
    content = {"fl_x": focal_px, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))


def camera_poses(numbers: np.random.Generator) -> np.ndarray:
    """``[photos 4 4]`` world_from_camera, x right, y down, z forward; z is up in the world."""
    poses = np.tile(np.eye(4), (NUM_PHOTOS, 1, 1))
    for index in range(NUM_PHOTOS):
        turn = 0.13 * index + 0.03 * numbers.standard_normal()
        distance, height = numbers.uniform(2.6, 3.2), numbers.uniform(0.8, 1.9)
        place = np.array([distance * np.cos(turn), distance * np.sin(turn), height])
        target = np.array([0.1, -0.1, 0.3]) + 0.1 * numbers.standard_normal(3)
        forward = (target - place) / np.linalg.norm(target - place)
        right = np.cross(forward, [0.1 * numbers.standard_normal(), 0.0, 1.0])
        right /= np.linalg.norm(right)
        poses[index, :3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
        poses[index, :3, 3] = place
    return poses


def photograph(pose: np.ndarray, textures: np.ndarray) -> np.ndarray:
    """``uint8 [height width 3]``: floor and boxes, twice as fine and averaged."""
    x, y = np.meshgrid(np.arange(2 * WIDTH) + 0.5, np.arange(2 * HEIGHT) + 0.5)
    plane = np.stack([x / 2 - WIDTH / 2, y / 2 - HEIGHT / 2, np.full_like(x, FOCAL_PX)], axis=-1)
    directions = (plane @ pose[:3, :3].T).reshape(-1, 3)
    directions[np.abs(directions) < 1e-9] = 1e-9
    origin = pose[:3, 3]
    nearest = np.full(len(directions), np.inf)
    color = np.full((len(directions), 3), 0.6)
    _cover(color, nearest, -origin[2] / directions[:, 2], origin, directions, 2, textures[0])
    for box, texture in zip(BOXES, textures[1:], strict=True):
        first, last = ((np.array(corner) - origin) / directions for corner in box)
        enter, leave = np.minimum(first, last), np.maximum(first, last).min(1)
        for axis in range(3):
            front = (enter.argmax(1) == axis) & (enter.max(1) < leave)
            distance = np.where(front, enter[:, axis], -1.0)
            _cover(color, nearest, distance, origin, directions, axis, texture)
    image = color.reshape(HEIGHT, 2, WIDTH, 2, 3).mean((1, 3))
    return np.round(255 * image).astype(np.uint8)


def _cover(color, nearest, distance, origin, directions, axis, texture) -> None:
    """Paints a surface across ``axis`` where it is the nearest one in front."""
    seen = (distance > 0) & (distance < nearest) & (distance < 30)
    points = origin + distance[seen, None] * directions[seen]
    flat = np.delete(points, axis, axis=1)
    value = 0.5 * painted(texture, 7 * flat) + 0.5 * painted(texture, 19 * flat + 5)
    color[seen] = value * (0.6 + 0.2 * axis)
    nearest[seen] = distance[seen]


def painted(texture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Smooth colours: the texture's cells, interpolated and repeated."""
    cell = np.floor(points).astype(np.int64)
    part = points - cell
    part = part * part * (3 - 2 * part)
    mixed = np.zeros((len(points), 3))
    for right in (0, 1):
        for down in (0, 1):
            weight = np.abs(1 - right - part[:, 0]) * np.abs(1 - down - part[:, 1])
            i, j = (cell[:, 0] + right) % CELLS, (cell[:, 1] + down) % CELLS
            mixed += weight[:, None] * texture[i, j]
    return mixed


def broken(
    whole: Path,
    folder: Path,
    change: Callable[[np.ndarray], np.ndarray],
    focal_px: float = FOCAL_PX,
) -> Path:
    """A capture with the whole one's photos, whose matrices [photos 4 4] were changed."""
    frames = json.loads((whole / "transforms.json").read_text())["frames"]
    matrices = change(np.array([frame["transform_matrix"] for frame in frames]))
    folder.mkdir(parents=True, exist_ok=True)
    for frame, matrix in zip(frames, matrices, strict=True):
        frame["file_path"] = str(whole / frame["file_path"])
        frame["transform_matrix"] = matrix.tolist()
    write_frames(folder, frames, focal_px)
    return folder
