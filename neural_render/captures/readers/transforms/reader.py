"""The instant-ngp and nerfstudio format: one ``transforms.json``."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from neural_render.captures.readers.image_files import is_file
from neural_render.captures.readers.json_values import JsonTable, read_json
from neural_render.captures.readers.listing import Listing, Photo, Placement, SparsePoints
from neural_render.captures.readers.poses import rigid_pose
from neural_render.captures.readers.transforms.frames import read_photos, read_placement
from neural_render.captures.readers.transforms.points import points_of_model, points_of_ply
from neural_render.core.errors import CaptureError

NAME = "transforms"
FILE = "transforms.json"
# nerfstudio's, and instant-ngp's.
_DEPTH_KEYS = ("depth_file_path", "depth_path")


def missing_in(folder: Path) -> str:
    """What the folder lacks to be in this format; nothing where it is."""
    return "" if is_file(folder / FILE) else FILE


def read(folder: Path) -> Listing:
    """The photos that the file lists, split as nerfstudio's lists of file names say, if it has any.

    Poses are returned in the coordinates from before ``applied_transform`` and ``applied_scale``,
    which are those of the reconstruction that the file was made from.
    """
    table = read_json(folder / FILE)
    photos = read_photos(table)
    placement = read_placement([table])
    if table.flag("from_mitsuba"):
        # instant-ngp's flag for poses whose camera axes are x left, y up, z forward.
        photos = tuple(_with_columns_flipped(photo) for photo in photos)
    applied = _read_applied(table)
    photos = tuple(
        replace(photo, world_from_camera=applied.undone_pose(photo.world_from_camera))
        for photo in photos
    )
    points, warnings = _read_points(folder, table, photos, applied)
    train, test, split = _stated_split(table, photos)
    return Listing(
        train=train,
        test=test,
        split=split,
        placement=applied.undone_placement(placement),
        points=points,
        warnings=(*warnings, *_ignored(table)),
    )


@dataclass(frozen=True, kw_only=True)
class _Applied:
    """``x -> outer_scale * (inner_scale * rotation @ x + translation)``, done before writing."""

    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, "3"]
    inner_scale: float
    outer_scale: float

    def undone(self, points: Float64[np.ndarray, "*points 3"]) -> Float64[np.ndarray, "*points 3"]:
        """Points as they were before."""
        moved = points / self.outer_scale - self.translation
        return moved @ self.rotation / self.inner_scale

    def undone_pose(self, pose: Float64[np.ndarray, "3 4"]) -> Float64[np.ndarray, "3 4"]:
        """A pose as it was before."""
        turned = self.rotation.T @ pose[:, :3]
        return np.concatenate([turned, self.undone(pose[:, 3])[:, None]], axis=1)

    def undone_placement(self, placement: Placement) -> Placement:
        """The cube of interest as it was before."""
        x, y, z = self.undone(np.array(placement.center)).tolist()
        half_extent = placement.half_extent / (self.inner_scale * self.outer_scale)
        return replace(placement, center=(x, y, z), half_extent=half_extent)


def _read_points(
    folder: Path, table: JsonTable, photos: tuple[Photo, ...], applied: _Applied
) -> tuple[SparsePoints, tuple[str, ...]]:
    """The sparse points and what is to be told of them.

    Those of a COLMAP model are preferred: it says which photos show them.
    """
    points, warnings = points_of_model(folder, photos)
    stated = table.text("ply_file_path", "")
    if len(points) or not stated:
        return points, warnings
    cameras = np.array([photo.world_from_camera[:, 3] for photo in photos])
    return points_of_ply(folder / stated.replace("\\", "/"), applied.undone, cameras)


def _ignored(table: JsonTable) -> tuple[str, ...]:
    """What the file states and no field is fitted to."""
    warnings = []
    if any(value != 0 for value in _rolling_shutter(table)):
        warnings.append(f"rolling_shutter in {table.file} is ignored: photos are taken as instants")
    frames = table.objects("frames", "frame")
    for key in _DEPTH_KEYS:
        num_stated = sum(frame.has(key) for frame in frames)
        if num_stated:
            warnings.append(
                f"{key} of {num_stated} frames in {table.file} is not used: depth is learnt from"
                " the photos"
            )
    return tuple(warnings)


def _with_columns_flipped(photo: Photo) -> Photo:
    """The photo with its camera's x and z axes reversed."""
    return replace(photo, world_from_camera=photo.world_from_camera * np.array([-1.0, 1, -1, 1]))


def _read_applied(table: JsonTable) -> _Applied:
    """What ``applied_transform`` and ``applied_scale`` say was done to the coordinates."""
    where = f"applied_transform of {table.file}"
    applied = table.matrix("applied_transform") if table.has("applied_transform") else np.eye(4)
    inner_scale = float(np.cbrt(np.linalg.det(applied[:3, :3])))
    outer_scale = table.number("applied_scale", 1.0)
    if not outer_scale > 0 or not inner_scale > 0:
        raise CaptureError(
            f"{where} together with applied_scale mirrors or flattens space: correct or remove them"
        )
    unscaled = np.concatenate([applied[:3, :3] / inner_scale, applied[:3, 3:]], axis=1)
    pose = rigid_pose(unscaled, where)
    return _Applied(
        rotation=pose[:, :3],
        translation=pose[:, 3],
        inner_scale=inner_scale,
        outer_scale=outer_scale,
    )


def _stated_split(
    table: JsonTable, photos: tuple[Photo, ...]
) -> tuple[tuple[Photo, ...], tuple[Photo, ...], str]:
    """Training photos, test photos and how they were told apart; all and none without a split."""
    train_names = _normal(table.texts("train_filenames"))
    key = "test_filenames" if table.has("test_filenames") else "val_filenames"
    test_names = _normal(table.texts(key))
    if not train_names or not test_names:
        return photos, (), ""
    train = tuple(photo for photo in photos if photo.name in train_names)
    test = tuple(photo for photo in photos if photo.name in test_names)
    if not train or not test:
        empty = "train_filenames" if not train else key
        raise CaptureError(
            f"{empty} in {table.file} names no frame of that file: correct or remove the list"
        )
    return train, test, f"train_filenames and {key} of {FILE}"


def _normal(names: tuple[str, ...]) -> frozenset[str]:
    """File names without differences that mean nothing."""
    return frozenset(Path(name).as_posix() for name in names)


def _rolling_shutter(table: JsonTable) -> tuple[float, ...]:
    """instant-ngp's four coefficients; zeros where nothing is stated."""
    return table.numbers("rolling_shutter", 4) if table.has("rolling_shutter") else (0.0,) * 4
