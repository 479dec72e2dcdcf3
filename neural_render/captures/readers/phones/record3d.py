"""Record3D's export: ``metadata.json`` (in an unpacked .r3d ``metadata``) beside numbered photos.

``poses`` are [qx qy qz qw tx ty tz], world from camera, in OpenGL's axes; ``K`` is column-major; a
photo's number is the row of its pose. ``perFrameIntrinsicCoeffs`` are [fx fy cx cy] of each photo.
Source: instant-ngp, scripts/record3d2nerf.py.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from neural_render.captures.readers.image_files import display_name, is_file, list_images
from neural_render.captures.readers.json_values import JsonTable, read_json
from neural_render.captures.readers.listing import (
    Calibration,
    Listing,
    Photo,
)
from neural_render.captures.readers.poses import from_opengl_axes, rigid_pose
from neural_render.core.errors import CaptureError

NAME = "record3d"
_FILES = ("metadata.json", "metadata")
_FOLDERS = ("rgb", "rgbd")


def missing_in(folder: Path) -> str:
    """What the folder lacks to be in this format; nothing where it is."""
    return "" if all(_find(folder)) else "metadata.json with rgb or rgbd"


def read(folder: Path) -> Listing:
    """The photos whose number has a pose."""
    (file, *_), (images, *_) = _find(folder)
    table = read_json(file)
    poses, each = table.rows("poses", 7), table.has("perFrameIntrinsicCoeffs")
    lenses = table.rows("perFrameIntrinsicCoeffs", 4) if each else np.zeros((0, 4))
    if not len(lenses):
        lenses = np.broadcast_to(_common_lens(table), (len(poses), 4))
    if len(lenses) != len(poses):
        raise CaptureError(
            f"{file} has {len(poses)} poses but {len(lenses)} perFrameIntrinsicCoeffs: export the"
            " capture again"
        )
    photos = []
    names = [name for name in list_images(images) if Path(name).stem.isdecimal()]
    for name in sorted(names, key=lambda name: int(Path(name).stem)):
        row, where = int(Path(name).stem), f"pose {Path(name).stem} of {file}"
        if row >= len(poses):
            raise CaptureError(
                f"{images / name} is number {row}, but {file} has {len(poses)} poses: export the"
                " capture again"
            )
        fx, fy, cx, cy = (float(value) for value in lenses[row])
        size = (table.whole_number("w", 0), table.whole_number("h", 0))
        photos.append(
            Photo(
                name=display_name(images / name, folder),
                where=where,
                image=images / name,
                mask=None,
                world_from_camera=from_opengl_axes(_pose(poses[row], where)),
                calibration=Calibration(size=size, focal_px=(fx, fy), center_px=(cx, cy)),
            )
        )
    return Listing(
        train=tuple(photos),
    )


def _find(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of poses and the folders of photos that are there."""
    files = [folder / name for name in _FILES if is_file(folder / name)]
    return files, [folder / name for name in _FOLDERS if (folder / name).is_dir()]


def _common_lens(table: JsonTable) -> Float64[np.ndarray, "4"]:
    """Focal lengths and centre of all photos."""
    matrix = np.array(table.numbers("K", 9)).reshape(3, 3).T
    if np.any(matrix[2] != (0, 0, 1)):
        raise CaptureError(
            f"K in {table.file} is no camera matrix column by column: export the capture again"
        )
    return matrix[[0, 1, 0, 1], [0, 1, 2, 2]]


def _pose(row: Float64[np.ndarray, "7"], where: str) -> Float64[np.ndarray, "3 4"]:
    """Rotation and translation of a quaternion (x y z w) and a position."""
    length = float(np.linalg.norm(row[:4]))
    if not 0.9 < length < 1.1:
        raise CaptureError(
            f"{where} has a quaternion of length {length:g}, but 1 is wanted: export the capture"
            " again"
        )
    axis, w = row[:3] / length, float(row[3]) / length
    cross = np.cross(np.eye(3), axis)  # times a vector v: axis x v
    rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    return rigid_pose(np.concatenate([rotation, row[4:, None]], axis=1), where)
