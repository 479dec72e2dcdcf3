"""Photos of a textured corner of a room, or of nothing but a far wall, small enough for tests.

Structure from motion works on them in seconds: three planes and a few standing cards, all covered
with smooth random spots, seen by pinhole cameras.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FOCAL_PX = 320, 240, 300.0
_TEXELS = 768
# Origin and two edges of each textured square: a wall, a floor and cards between.
_CARDS = np.array(
    [
        [[-3, -2, 5], [6, 0, 0], [0, 4, 0]],
        [[-3, 1.2, 1], [6, 0, 0], [0, 0, 4]],
        [[-1.7, -0.6, 3.4], [1.2, 0, 0.5], [0, 1.5, 0]],
        [[0.5, -0.3, 2.8], [1.1, 0, -0.4], [0, 1.5, 0]],
    ],
    dtype=np.float64,
)


def walk(count: int, step: float = 0.16) -> list[np.ndarray]:
    """Poses (world from camera) of a walk to the right, looking at one point."""
    poses = []
    for index in range(count):
        position = np.array([(index - (count - 1) / 2) * step, 0.03 * (index % 3), 0.0])
        poses.append(_looking(position, np.array([0.0, 0.2, 4.0])))
    return poses


def turn(count: int, degrees: float = 4.0) -> list[np.ndarray]:
    """Poses of a camera that turns on the spot."""
    angles = np.radians(degrees) * (np.arange(count) - (count - 1) / 2)
    return [_looking(np.zeros(3), np.array([np.sin(a), 0.05, np.cos(a)])) for a in angles]


def photo(pose: np.ndarray, *, contrast: float = 1.0, size: tuple[int, int] = (WIDTH, HEIGHT)):
    """``uint8 [height width 3]``: what a camera there sees."""
    width, height = size
    x, y = np.meshgrid(
        (np.arange(width) + 0.5 - width / 2) / FOCAL_PX,
        (np.arange(height) + 0.5 - height / 2) / FOCAL_PX,
    )
    directions = np.stack([x, y, np.ones_like(x)], axis=-1) @ pose[:, :3].T
    image, nearest = np.full((height, width, 3), 0.5), np.full((height, width), np.inf)
    for index, (origin, right, down) in enumerate(_CARDS):
        normal = np.cross(right, down)
        with np.errstate(divide="ignore"):
            distance = ((origin - pose[:, 3]) @ normal) / (directions @ normal)
        with np.errstate(invalid="ignore"):
            at = pose[:, 3] + distance[..., None] * directions - origin
        u, v = at @ right / (right @ right), at @ down / (down @ down)
        hit = (distance > 0) & (distance < nearest) & (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
        nearest[hit] = distance[hit]
        image[hit] = _look_up(_texture(index), u[hit], v[hit])
    return np.round(255 * (0.5 + contrast * (image - 0.5))).clip(0, 255).astype(np.uint8)


def write_photos(folder: Path, poses: list[np.ndarray], **options: Any) -> Path:
    """The folder, now with a JPEG for each pose in ``images/``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index, pose in enumerate(poses):
        image = Image.fromarray(photo(pose))
        image.save(folder / "images" / f"{index:03}.jpg", quality=95, **options)
    return folder


def write_video(path: Path, images: list[np.ndarray], *, turned: int = 0, matrix: str = "") -> Path:
    """The path, now an H.264 video of the images; players turn it by ``turned`` degrees.

    ``matrix``: PyAV's name of the colour matrix that it has and states.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "12"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        if matrix:
            stream.codec_context.colorspace = STATED[matrix]
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if matrix:
                frame = frame.reformat(format="yuv420p", dst_colorspace=matrix)
                frame.colorspace = STATED[matrix]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _looking(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    forward = target - position
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward, position], axis=1)


# FFmpeg's numbers of colour matrices (AVColorSpace).
STATED = {"ITU709": 1, "ITU601": 5, "SMPTE170M": 6}


@cache
def _texture(index: int) -> np.ndarray:
    """Random spots of several sizes, from dark to bright."""
    numbers = np.random.default_rng(index)
    total = np.zeros((_TEXELS, _TEXELS, 3), dtype=np.float32)
    for cells in (24, 48, 96, 192):
        spots = numbers.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        large = Image.fromarray(spots).resize((_TEXELS, _TEXELS), Image.Resampling.BICUBIC)
        total += np.asarray(large, dtype=np.float32) / 255 - 0.5
    return (0.5 + 0.7 * total).clip(0, 1)


def _look_up(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The texture's colours between its texels."""
    x, y = u * (_TEXELS - 1), v * (_TEXELS - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = np.minimum(left + 1, _TEXELS - 1), np.minimum(top + 1, _TEXELS - 1)
    a, b = (x - left)[:, None], (y - top)[:, None]
    upper = texture[top, left] * (1 - a) + texture[top, right] * a
    lower = texture[below, left] * (1 - a) + texture[below, right] * a
    return upper * (1 - b) + lower * b
