"""Polycam's raw export: ``keyframes`` with a JSON file of intrinsics and pose for each photo.

Format: github.com/PolyCam/polyform, "Polycam's data format". ``corrected_*`` are undistorted photos
with globally optimised poses; ``t_ij`` are a pose's rows, in ARKit's axes, which are OpenGL's.
"""

from pathlib import Path

import numpy as np

from neural_render.captures.readers.image_files import compact_names, display_name, list_images
from neural_render.captures.readers.json_values import JsonTable, read_json
from neural_render.captures.readers.listing import (
    Calibration,
    Listing,
    Photo,
)
from neural_render.captures.readers.poses import from_opengl_axes, rigid_pose

NAME = "polycam"
# The better first.
_PAIRS = (("corrected_cameras", "corrected_images"), ("cameras", "images"))


def missing_in(folder: Path) -> str:
    """What the folder lacks to be in this format; nothing where it is."""
    return "" if _find_pair(folder) else "keyframes/cameras/*.json and keyframes/images"


def read(folder: Path) -> Listing:
    """The photos of all JSON files, those with corrected poses if there are any."""
    cameras, images = _find_pair(folder)
    files = {(images / name).stem: images / name for name in list_images(images)}
    photos = []
    for path in sorted(cameras.glob("*.json")):
        image = files.pop(path.stem, images / f"{path.stem}.jpg")
        photos.append(_photo(read_json(path), image, folder))
    warnings = []
    if files:
        names = compact_names([path.name for path in files.values()])
        warnings.append(f"{len(files)} photos in {images} have no file in {cameras}: {names}")
    if cameras.name == "cameras":
        warnings.append(
            f"{cameras.parent} has no corrected_cameras with corrected_images: poses are as the"
            " phone tracked them and lenses keep their distortion"
        )
    return Listing(
        train=tuple(photos),
        warnings=tuple(warnings),
    )


def _find_pair(folder: Path) -> tuple[Path, ...]:
    """The folders of cameras and of images; nothing where they are not there."""
    for names in _PAIRS:
        cameras, images = (folder / "keyframes" / name for name in names)
        if images.is_dir() and next(cameras.glob("*.json"), None):
            return cameras, images
    return ()


def _photo(table: JsonTable, image: Path, folder: Path) -> Photo:
    where = f"{table.file.name} of {table.file.parent}"
    keys = [f"t_{row}{column}" for row in range(3) for column in range(4)]
    pose = np.array([table.needed(key) for key in keys]).reshape(3, 4)
    return Photo(
        name=display_name(image, folder),
        where=where,
        image=image,
        mask=None,
        world_from_camera=from_opengl_axes(rigid_pose(pose, where)),
        calibration=Calibration(
            size=(table.whole_number("width", 0), table.whole_number("height", 0)),
            focal_px=(table.needed("fx"), table.needed("fy")),
            center_px=(table.needed("cx"), table.needed("cy")),
        ),
    )
