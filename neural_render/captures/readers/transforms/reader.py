"""The instant-ngp and nerfstudio format: one ``transforms.json``."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from neural_render.captures.readers.image_files import is_file
from neural_render.captures.readers.json_values import JsonTable, read_json
from neural_render.captures.readers.listing import Listing, Photo, Placement, no_points
from neural_render.captures.readers.poses import rigid_pose
from neural_render.captures.readers.transforms.frames import read_photos, read_placement
from neural_render.core.errors import CaptureError

NAME = "transforms"
FILE = "transforms.json"


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
    if table.has("applied_transform") or table.has("applied_scale"):
        photos, placement = _undo_applied_transform(table, photos, placement)
    train, test, split = _stated_split(table, photos)
    warnings = ()
    if any(value != 0 for value in _rolling_shutter(table)):
        warnings = (f"rolling_shutter in {table.file} is ignored: photos are taken as instants",)
    return Listing(
        train=train,
        test=test,
        split=split,
        placement=placement,
        points=no_points(),
        warnings=warnings,
    )


def _with_columns_flipped(photo: Photo) -> Photo:
    """The photo with its camera's x and z axes reversed."""
    return replace(photo, world_from_camera=photo.world_from_camera * np.array([-1.0, 1, -1, 1]))


def _undo_applied_transform(
    table: JsonTable, photos: tuple[Photo, ...], placement: Placement
) -> tuple[tuple[Photo, ...], Placement]:
    """Poses and placement before ``x -> applied_scale * applied_transform @ x`` was applied."""
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
    rotation, translation = pose[:, :3], pose[:, 3]

    def original(point: np.ndarray) -> np.ndarray:
        return rotation.T @ (point / outer_scale - translation) / inner_scale

    moved = tuple(
        replace(
            photo,
            world_from_camera=np.concatenate(
                [
                    rotation.T @ photo.world_from_camera[:, :3],
                    original(photo.world_from_camera[:, 3])[:, None],
                ],
                axis=1,
            ),
        )
        for photo in photos
    )
    x, y, z = original(np.array(placement.center)).tolist()
    half_extent = placement.half_extent / (inner_scale * outer_scale)
    return moved, replace(placement, center=(x, y, z), half_extent=half_extent)


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
