"""A COLMAP model: ``cameras``, ``images`` and ``points3D``, binary or text.

Format: COLMAP's documentation, "Output Format". The files are few lines of ``struct``: pycolmap
would write rigs and frames too, which older readers do not know.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8

from neural_render.captures.readers.colmap.lenses import CAMERA_MODELS
from neural_render.core.files import whole_file
from neural_render.core.transforms import quat_wxyz_from_rotation
from neural_render.export.cameras.lenses import colmap_lens
from neural_render.export.cameras.photographs import Photographs


@dataclass(frozen=True, kw_only=True)
class _Camera:
    """A row of ``cameras``."""

    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class _Image:
    """An entry of ``images``: the pose (quaternion, translation), and what is seen where."""

    pose: tuple[float, ...]
    camera: int
    name: str
    pixels: Float64[np.ndarray, "observations 2"]
    points: Int64[np.ndarray, " observations"]  # from 1 on


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Points with colours; ``tracks`` are rows of image and observation (both from 0 on), those of
    point i between ``offsets`` i and i + 1."""

    positions: Float64[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]
    tracks: Int64[np.ndarray, "observations 2"]
    offsets: Int64[np.ndarray, " ends"]


def write_colmap(
    folder: Path, photos: Photographs, cloud: tuple[np.ndarray, np.ndarray], *, text: bool
) -> tuple[Path, ...]:
    """The three files in ``folder``, written.

    Points are the capture's own with what photos show of them, or, without any, ``cloud``
    (positions and colours), which no photo is said to show.
    """
    cameras, images, points = _model(photos, cloud)
    kind = "txt" if text else "bin"
    parts = {
        "cameras": _cameras_text(cameras) if text else _cameras_bytes(cameras),
        "images": _images_text(images) if text else _images_bytes(images),
        "points3D": _points_text(points) if text else _points_bytes(points),
    }
    paths = []
    for name, content in parts.items():
        paths.append(folder / f"{name}.{kind}")
        with whole_file(paths[-1]) as temporary:
            temporary.write_bytes(content)
    return tuple(paths)


def _model(
    photos: Photographs, cloud: tuple[np.ndarray, np.ndarray]
) -> tuple[list[_Camera], list[_Image], Cloud]:
    """The rows of the three files; photos of one lens share a camera."""
    numbers: dict[_Camera, int] = {}
    points, pixels = _points(photos, cloud)
    images = []
    for index, name in enumerate(photos.files):
        size = int(photos.cameras.width[index]), int(photos.cameras.height[index])
        model, parameters = colmap_lens(photos.cameras, index)
        camera = _Camera(model=model, size=size, parameters=parameters)
        seen = pixels[0] == index
        images.append(
            _Image(
                pose=_pose(photos.cameras.world_from_camera[index].double()),
                camera=numbers.setdefault(camera, len(numbers) + 1),
                name=name,
                pixels=pixels[1][seen] * size,
                points=pixels[2][seen] + 1,
            )
        )
    return list(numbers), images, points


def _points(
    photos: Photographs, cloud: tuple[np.ndarray, np.ndarray]
) -> tuple[Cloud, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The points, and of each observation its image, its place in it and its point."""
    own = photos.points
    if not len(own):
        none = np.zeros(0, dtype=np.int64)
        bare = Cloud(
            positions=cloud[0],
            colors=cloud[1],
            tracks=np.zeros((0, 2), dtype=np.int64),
            offsets=np.zeros(len(cloud[0]) + 1, dtype=np.int64),
        )
        return bare, (none, np.zeros((0, 2)), none)
    index = {name: row for row, name in enumerate(photos.names)}
    image = np.array([index.get(name, -1) for name in own.names], dtype=np.int64)[own.photo]
    kept = image >= 0
    image, place, point = image[kept], own.place[kept], own.point[kept]
    # The number of an observation in its image: how many of that image come before it.
    by_image = np.argsort(image, kind="stable")
    count = np.bincount(image, minlength=len(photos.files))
    rank = np.empty(len(image), dtype=np.int64)
    rank[by_image] = np.arange(len(image)) - np.repeat(np.cumsum(count) - count, count)
    by_point = np.argsort(point, kind="stable")
    ends = np.cumsum(np.bincount(point, minlength=len(own)))
    return (
        Cloud(
            positions=own.positions,
            colors=own.colors,
            tracks=np.stack([image, rank], axis=-1)[by_point],
            offsets=np.concatenate([[0], ends]).astype(np.int64),
        ),
        (image, place, point),
    )


def _pose(world_from_camera: torch.Tensor) -> tuple[float, ...]:
    """Quaternion and translation of the inverse."""
    left, _, right = torch.linalg.svd(world_from_camera[:, :3])
    turn = (left @ right).T  # single precision leaves it a little off a rotation
    shift = -turn @ world_from_camera[:, 3]
    return (*quat_wxyz_from_rotation(turn).tolist(), *shift.tolist())


def _cameras_bytes(cameras: Iterable[_Camera]) -> bytes:
    rows = [
        struct.pack("<iiQQ", number, CAMERA_MODELS[camera.model].number, *camera.size)
        + struct.pack(f"<{len(camera.parameters)}d", *camera.parameters)
        for number, camera in enumerate(cameras, start=1)
    ]
    return struct.pack("<Q", len(rows)) + b"".join(rows)


def _images_bytes(images: Iterable[_Image]) -> bytes:
    kind = np.dtype([("pixel", "<f8", 2), ("point", "<i8")])
    rows = []
    for number, image in enumerate(images, start=1):
        seen = np.empty(len(image.points), dtype=kind)
        seen["pixel"], seen["point"] = image.pixels, image.points
        head = struct.pack("<i7di", number, *image.pose, image.camera)
        name = image.name.encode() + b"\0"
        rows.append(head + name + struct.pack("<Q", len(seen)) + seen.tobytes())
    return struct.pack("<Q", len(rows)) + b"".join(rows)


def _points_bytes(points: Cloud) -> bytes:
    tracks = (points.tracks + np.array([1, 0])).astype("<i4")  # images count from 1
    rows = [struct.pack("<Q", len(points.positions))]
    for index, (place, color) in enumerate(zip(points.positions, points.colors, strict=True)):
        track = tracks[points.offsets[index] : points.offsets[index + 1]]
        rows.append(struct.pack("<q3d3BdQ", index + 1, *place, *color.tolist(), 0.0, len(track)))
        rows.append(track.tobytes())
    return b"".join(rows)


def _cameras_text(cameras: Iterable[_Camera]) -> bytes:
    lines = ["# Camera list with one line of data per camera:"]
    lines.append("#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]")
    for number, camera in enumerate(cameras, start=1):
        lines.append(_line(number, camera.model, *camera.size, *camera.parameters))
    return _text(lines)


def _images_text(images: Iterable[_Image]) -> bytes:
    lines = ["# Image list with two lines of data per image:"]
    lines.append("#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME")
    lines.append("#   POINTS2D[] as (X, Y, POINT3D_ID)")
    for number, image in enumerate(images, start=1):
        lines.append(_line(number, *image.pose, image.camera, image.name))
        seen = zip(image.pixels.tolist(), image.points.tolist(), strict=True)
        lines.append(" ".join(_line(*pixel, point) for pixel, point in seen))
    return _text(lines)


def _points_text(points: Cloud) -> bytes:
    lines = ["# 3D point list with one line of data per point:"]
    lines.append("#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)")
    for index, (place, color) in enumerate(zip(points.positions, points.colors, strict=True)):
        track = points.tracks[points.offsets[index] : points.offsets[index + 1]] + np.array([1, 0])
        lines.append(_line(index + 1, *place.tolist(), *color.tolist(), 0, *track.ravel().tolist()))
    return _text(lines)


def _line(*values: object) -> str:
    return " ".join(repr(value) if isinstance(value, float) else str(value) for value in values)


def _text(lines: Iterable[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
