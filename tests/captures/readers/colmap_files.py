"""COLMAP's files as COLMAP writes them, byte for byte, for tests that must do without it."""

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from neural_render.captures.readers.colmap.lenses import CAMERA_MODELS
from neural_render.core.transforms import quat_wxyz_from_rotation

Camera = tuple[str, int, int, tuple[float, ...]]
# The position of a point, its colour, and (image, pixel) for each time that it was seen.
Point = tuple[tuple[float, float, float], tuple[int, int, int], list[tuple[int, float, float]]]


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """A reconstruction; with one camera all images share it, else each has its own."""

    cameras: list[Camera]
    poses: np.ndarray  # world_from_camera [images 3|4 4], x right, y down, z forward
    names: list[str]
    points: list[Point] = field(default_factory=list)


def write_model(folder: Path, kind: str, model: TinyModel) -> Path:
    """The folder, now with ``cameras``, ``images`` and ``points3D`` of the kind .bin or .txt."""
    folder.mkdir(parents=True, exist_ok=True)
    write = _write_binary if kind == ".bin" else _write_text
    write(folder, model)
    return folder


def _rows(model: TinyModel) -> list[tuple[list[float], int, str, list[tuple[float, float, int]]]]:
    """Quaternion and translation, camera, name and observations of each image."""
    rows = []
    for index, (pose, name) in enumerate(zip(model.poses, model.names, strict=True)):
        turn = pose[:3, :3].T
        turned = quat_wxyz_from_rotation(torch.from_numpy(turn.copy()))
        numbers = [*turned.tolist(), *(-turn @ pose[:3, 3])]
        seen = [(1.5, 2.5, -1)]  # belongs to no point
        for number, (_, _, track) in enumerate(model.points):
            seen += [(x, y, number + 1) for image, x, y in track if image == index]
        camera = 1 + (index if len(model.cameras) > 1 else 0)
        rows.append(([float(value) for value in numbers], camera, name, seen))
    return rows


def _write_text(folder: Path, model: TinyModel) -> None:
    lines = ["# Camera list with one line of data per camera:"]
    for number, (name, width, height, parameters) in enumerate(model.cameras, start=1):
        lines.append(" ".join(map(str, [number, name, width, height, *parameters])))
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:"]
    for index, (pose, camera, name, seen) in enumerate(_rows(model), start=1):
        lines.append(" ".join(map(str, [index, *pose, camera, name])))
        seen = seen if model.points else []  # an empty line, as for an image without features
        lines.append(" ".join(f"{x} {y} {point}" for x, y, point in seen))
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list with one line of data per point:"]
    for number, (position, color, track) in enumerate(model.points, start=1):
        ends = [value for image, _, _ in track for value in (image + 1, 0)]
        lines.append(" ".join(map(str, [number, *position, *color, 0.5, *ends])))
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")


def _write_binary(folder: Path, model: TinyModel) -> None:
    data = struct.pack("<Q", len(model.cameras))
    for number, (name, width, height, parameters) in enumerate(model.cameras, start=1):
        data += struct.pack("<iiQQ", number, CAMERA_MODELS[name].number, width, height)
        data += struct.pack(f"<{len(parameters)}d", *parameters)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(model.names))
    for index, (pose, camera, name, seen) in enumerate(_rows(model), start=1):
        data += struct.pack("<i7di", index, *pose, camera) + name.encode() + b"\0"
        data += struct.pack("<Q", len(seen))
        data += b"".join(struct.pack("<ddq", *entry) for entry in seen)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(model.points))
    for number, (position, color, track) in enumerate(model.points, start=1):
        data += struct.pack("<Q3d3BdQ", number, *position, *color, 0.5, len(track))
        data += b"".join(struct.pack("<ii", image + 1, 0) for image, _, _ in track)
    (folder / "points3D.bin").write_bytes(data)
