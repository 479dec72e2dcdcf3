"""One tiny scene, written in every capture format: noise photos of 16x12 pixels on a spiral."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from neural_render.core.transforms import quat_wxyz_from_rotation
from tests.captures.readers.colmap_files import TinyModel, write_model
from tests.tiny_capture import camera_poses

WIDTH, HEIGHT, NUM_PHOTOS = 16, 12, 5
FOCAL_PX = 20.0
ANGLE_X = 2 * float(np.arctan(0.5 * WIDTH / FOCAL_PX))
POSES = camera_poses(NUM_PHOTOS)
NAMES = [f"images/{index:04}.png" for index in range(NUM_PHOTOS)]
INTRINSICS = {"fl_x": FOCAL_PX, "w": WIDTH, "h": HEIGHT}


def noise_image(index: int, channels: int = 3, scale: int = 1) -> np.ndarray:
    """``uint8 [height width channels]``, different for each photo, blown up by ``scale``."""
    numbers = np.random.default_rng(index)
    image = numbers.integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def save_image(path: Path, image: np.ndarray, **options: Any) -> Path:
    """The path, now an image file in the format that its ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def make_frames(poses: np.ndarray = POSES, **extra: Any) -> list[dict[str, Any]]:
    """One frame per photo of `NAMES`, each with ``extra`` keys."""
    return [
        {"file_path": name, "transform_matrix": pose.tolist(), **extra}
        for name, pose in zip(NAMES, poses, strict=True)
    ]


def write_json(path: Path, content: Any) -> Path:
    """The path, now a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_transforms(
    folder: Path, frames: list[dict[str, Any]] | None = None, *, channels: int = 3, **top: Any
) -> Path:
    """The folder, now a transforms.json capture; ``top`` replaces the usual intrinsics."""
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index, channels))
    content = {**(top or INTRINSICS), "frames": make_frames() if frames is None else frames}
    write_json(folder / "transforms.json", content)
    return folder


def write_blender(folder: Path, suffix: str = ".png", **options: Any) -> Path:
    """The folder, now a Blender capture without test views; names in the JSON have no ending."""
    for index, name in enumerate(NAMES):
        save_image((folder / name).with_suffix(suffix), noise_image(index), **options)
    frames = make_frames()
    for frame in frames:
        frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")
    write_json(folder / "transforms_train.json", {"camera_angle_x": ANGLE_X, "frames": frames})
    return folder


def _with_ending(folder: Path) -> Path:
    write_blender(folder, ".webp", lossless=True)
    content = json.loads((folder / "transforms_train.json").read_text())
    for frame in content["frames"]:
        frame["file_path"] += ".webp"
    write_json(folder / "transforms_train.json", content)
    return folder


def _nerfstudio(folder: Path) -> Path:
    """Poses were turned and scaled, and the file says how."""
    rotation = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])
    shift, scale = np.array([[1.0], [2.0], [-0.5]]), 0.25
    poses = POSES.copy()
    poses[:, :3, :3] = rotation @ POSES[:, :3, :3]
    poses[:, :3, 3:] = scale * (rotation @ POSES[:, :3, 3:] + shift)
    return write_transforms(
        folder,
        make_frames(poses[:, :3]),
        camera_model="OPENCV",
        applied_transform=np.concatenate([rotation, shift], axis=1).tolist(),
        applied_scale=scale,
        cx=WIDTH / 2,
        cy=HEIGHT / 2,
        **INTRINSICS,
    )


def _half_sized_images(folder: Path) -> Path:
    """The intrinsics belong to images of twice the size."""
    twice = {"fl_x": 2 * FOCAL_PX, "cx": WIDTH, "cy": HEIGHT, "w": 2 * WIDTH, "h": 2 * HEIGHT}
    return write_transforms(folder, **twice)


def _windows(folder: Path) -> Path:
    frames = make_frames()
    for frame in frames:
        frame["file_path"] = frame["file_path"].replace("/", "\\")
    return write_transforms(folder, frames)


def write_colmap(folder: Path, kind: str, place: str = "sparse/0") -> Path:
    """The folder, now a COLMAP capture."""
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index))
    write_model(folder / place, kind, tiny_model())
    return folder


def tiny_model(scale: int = 1) -> TinyModel:
    """The scene as COLMAP states it, for images ``scale`` times as large."""
    rows = (FOCAL_PX * scale, WIDTH / 2 * scale, HEIGHT / 2 * scale)
    return TinyModel(
        cameras=[("SIMPLE_PINHOLE", WIDTH * scale, HEIGHT * scale, rows)],
        poses=POSES * np.array([1.0, -1, -1, 1]),
        names=[Path(name).name for name in NAMES],
    )


def _colmap_smaller(folder: Path) -> Path:
    """The model belongs to images of twice the size, which are not there."""
    write_model(folder / "sparse/0", ".bin", tiny_model(scale=2))
    for index, name in enumerate(NAMES):
        save_image(folder / "images_2" / Path(name).name, noise_image(index))
    return folder


def _colmap_renamed(folder: Path) -> Path:
    """LLFF's smaller images have names of their own."""
    model = tiny_model(scale=2)
    names = [f"IMG_{index}.JPG" for index in range(NUM_PHOTOS)]
    write_model(folder / "sparse/0", ".bin", replace(model, names=names))
    for index, name in enumerate(NAMES):
        save_image(folder / "images_2" / Path(name).name, noise_image(index))
    return folder


def write_llff(folder: Path, images: str, scale: int = 1) -> Path:
    """The folder, now an LLFF capture whose poses belong to images ``scale`` times as large."""
    rows = []
    for index, (name, pose) in enumerate(zip(NAMES, POSES, strict=True)):
        save_image(folder / images / Path(name).name, noise_image(index))
        # Right, up, backwards and place become down, right, backwards and place.
        axes = np.stack([-pose[:3, 1], pose[:3, 0], pose[:3, 2], pose[:3, 3]], axis=1)
        numbers = np.array([[HEIGHT * scale], [WIDTH * scale], [FOCAL_PX * scale]])
        rows.append([*np.concatenate([axes, numbers], axis=1).ravel(), 1.0 + index, 9.0 + index])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder


def write_side_by_side(folder: Path) -> Path:
    """The folder, now an LLFF capture of photos that look along z, the nearest thing of each a unit
    farther away."""
    rows = []
    for index in range(5):
        image = noise_image(index)
        save_image(folder / "images" / f"{index}.png", image)
        columns = [[0, 1, 0], [1, 0, 0], [0, 0, -1], [0.2 * index, 0, 0], [*image.shape[:2], 30]]
        rows.append([*np.array(columns).T.ravel(), 4.0 + index, 60.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder


def write_polycam(folder: Path, prefix: str = "corrected_") -> Path:
    """The folder, now a raw export of Polycam's; beside corrected cameras lie worse ones."""
    keyframes = folder / "keyframes"
    lens = {"fx": FOCAL_PX, "fy": FOCAL_PX, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    for index, (name, pose) in enumerate(zip(NAMES, POSES, strict=True)):
        stem = Path(name).stem
        save_image(keyframes / f"{prefix}images" / f"{stem}.png", noise_image(index))
        rows = {f"t_{row}{column}": pose[row, column] for row in range(3) for column in range(4)}
        content = {**lens, **rows, "width": WIDTH, "height": HEIGHT, "blur_score": 50.0}
        write_json(keyframes / f"{prefix}cameras" / f"{stem}.json", content)
        if prefix:
            save_image(keyframes / "images" / f"{stem}.png", noise_image(9))
            write_json(keyframes / "cameras" / f"{stem}.json", {})
    return folder


def write_record3d(folder: Path, file: str = "metadata.json", images: str = "rgb") -> Path:
    """The folder, now an export of Record3D's."""
    poses = []
    for index, (name, pose) in enumerate(zip(NAMES, POSES, strict=True)):
        save_image(folder / images / Path(name).name, noise_image(index))
        w, *xyz = quat_wxyz_from_rotation(torch.from_numpy(pose[:3, :3].copy())).tolist()
        poses.append([*xyz, w, *pose[:3, 3].tolist()])
    matrix = [FOCAL_PX, 0, 0, 0, FOCAL_PX, 0, WIDTH / 2, HEIGHT / 2, 1]
    write_json(folder / file, {"poses": poses, "K": matrix, "w": WIDTH, "h": HEIGHT, "fps": 60})
    return folder


# Every way to write down the same photos and cameras; each returns the folder it is given.
FORMATS: dict[str, Callable[[Path], Path]] = {
    "blender": write_blender,
    "blender with endings": _with_ending,
    "file-wide focal length": write_transforms,
    "angle of view": lambda at: write_transforms(at, camera_angle_x=ANGLE_X, w=WIDTH, h=HEIGHT),
    "angle without size": lambda at: write_transforms(at, camera_angle_x=ANGLE_X),
    "angle in degrees": lambda at: write_transforms(at, x_fov=float(np.degrees(ANGLE_X))),
    "intrinsics per frame": lambda at: write_transforms(at, make_frames(**INTRINSICS), unknown=1),
    "frames outrank the file": lambda at: write_transforms(
        at, make_frames(fl_x=FOCAL_PX), fl_x=99.0, w=WIDTH, h=HEIGHT
    ),
    "Mitsuba's axes": lambda at: write_transforms(
        at, make_frames(POSES * np.array([-1.0, 1, -1, 1])), from_mitsuba=True, **INTRINSICS
    ),
    "nerfstudio": _nerfstudio,
    "half-sized images": _half_sized_images,
    "Windows separators": _windows,
    "colmap, text": lambda at: write_colmap(at, ".txt"),
    "colmap, binary": lambda at: write_colmap(at, ".bin"),
    "colmap, sparse": lambda at: write_colmap(at, ".bin", "sparse"),
    "colmap, colmap/sparse/0": lambda at: write_colmap(at, ".txt", "colmap/sparse/0"),
    "colmap, the folder itself": lambda at: write_colmap(at, ".bin", ""),
    "colmap, smaller images only": _colmap_smaller,
    "llff": lambda at: write_llff(at, "images"),
    "llff, smaller images": lambda at: write_llff(at, "images_4", scale=4),
    "polycam": write_polycam,
    "polycam, as tracked": lambda at: write_polycam(at, ""),
    "record3d": write_record3d,
    "record3d, unpacked": lambda at: write_record3d(at, "metadata", "rgbd"),
    "colmap, images of other names": _colmap_renamed,
}
