"""LLFF's format: ``poses_bounds.npy`` beside folders of photos at one or more sizes.

A row is a 3x5 matrix (the camera's axes down, right and backwards, its place, then height, width
and focal length of the full-size image) and the nearest and farthest depth that its photo shows.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from neural_render.captures.readers.image_files import IMAGE_FOLDERS, is_file, list_images
from neural_render.captures.readers.listing import (
    Calibration,
    Listing,
    Photo,
)
from neural_render.captures.readers.poses import rigid_pose
from neural_render.core.errors import CaptureError, reason_of
from neural_render.core.files import NO_ARRAYS, checked_file

NAME = "llff"
FILE = "poses_bounds.npy"
_NUMBERS = 17


def missing_in(folder: Path) -> str:
    """What the folder lacks to be in this format; nothing where it is."""
    return "" if is_file(folder / FILE) else FILE


def read(folder: Path) -> Listing:
    """The photos of the first folder that has as many as there are rows, sorted by name."""
    file = folder / FILE
    rows = _read_rows(file)
    images = _find_images(folder, len(rows))
    return Listing(
        train=tuple(
            _photo(row, image, f"row {index} ({image.name}) of {file}")
            for index, (row, image) in enumerate(zip(rows, images, strict=True))
        ),
    )


def _read_rows(file: Path) -> Float64[np.ndarray, "photos 17"]:
    """The numbers of all photos."""
    try:
        # Mapped, so that a size which the file only claims to have takes no memory.
        rows = np.array(np.load(checked_file(file), mmap_mode="r", allow_pickle=False))
    except NO_ARRAYS as error:
        raise CaptureError(
            f"{file} is no readable array of numpy ({reason_of(error)}): make it again from the"
            " reconstruction"
        ) from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != _NUMBERS:
        shape = "x".join(map(str, getattr(rows, "shape", ()))) or "none"
        raise CaptureError(
            f"{file} has the shape {shape}, but a row of {_NUMBERS} numbers for each photo is"
            " wanted: make it again from the reconstruction"
        )
    if rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
        raise CaptureError(
            f"{file} holds values that are no finite numbers: make it again from the reconstruction"
        )
    return rows.astype(np.float64)


def _find_images(folder: Path, num_rows: int) -> list[Path]:
    """The photos, sorted by name; CaptureError if no folder has as many as there are rows."""
    counts = []
    for name in IMAGE_FOLDERS:
        found = list_images(folder / name) if (folder / name).is_dir() else ()
        if len(found) == num_rows:
            return [folder / name / image for image in found]
        if found:
            counts.append(f"{name} has {len(found)}")
    raise CaptureError(
        f"{folder / FILE} has {num_rows} rows, one for each photo sorted by name, but"
        f" {', '.join(counts) or f'there are no photos in {IMAGE_FOLDERS[0]}'}: restore the photos"
        " that it was made from"
    )


def _photo(row: Float64[np.ndarray, "17"], image: Path, where: str) -> Photo:
    """The photo of one row, its axes turned to right, down and forward."""
    matrix = row[:15].reshape(3, 5)
    height, width, focal = (float(value) for value in matrix[:, 4])
    if min(height, width) < 1 or height != round(height) or width != round(width):
        raise CaptureError(
            f"{where} gives the image size as {width:g}x{height:g}: correct columns 4 and 9"
        )
    pose = np.stack([matrix[:, 1], matrix[:, 0], -matrix[:, 2], matrix[:, 3]], axis=1)
    near, far = (float(value) for value in row[15:])
    return Photo(
        name=image.name,
        where=where,
        image=image,
        mask=None,
        world_from_camera=rigid_pose(pose, where),
        calibration=Calibration(size=(round(width), round(height)), focal_px=(focal, focal)),
        bounds=(near, far),
    )
