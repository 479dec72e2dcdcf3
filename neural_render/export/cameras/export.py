"""Cameras of a run in the forms that were asked for, where programs look for them."""

import logging
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from neural_render.core.errors import OutputError
from neural_render.export.cameras.colmap import write_colmap
from neural_render.export.cameras.photographs import Photographs
from neural_render.export.cameras.place import LINK, MODEL, POINTS, noted
from neural_render.export.cameras.transforms import write_transforms
from neural_render.export.formats import CameraSettings
from neural_render.export.geometry.clouds import write_points

_log = logging.getLogger("neural_render")


def export_cameras(
    folder: Path,
    photos: Photographs,
    cloud: tuple[Float[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"]],
    settings: CameraSettings,
) -> tuple[Path, ...]:
    """The files in ``folder``, written: ``sparse/0`` and ``transforms.json``.

    With ``export.cameras.file=all`` a form that has no word for a lens is left out, and that is
    said; OutputError where none is left, and where ``folder`` holds cameras that are not ours.
    ``images`` beside them leads to the photos, if it may.
    """
    refused: list[OutputError] = []
    with noted(folder, photos.root) as kept:
        way = _way_to_photos(folder, photos)
        for form in ("colmap", "transforms"):
            if settings.file not in (form, "all"):
                continue
            try:
                kept += _write(form, (folder, way), photos, cloud, settings)
            except OutputError as error:
                refused.append(error)
        if not kept:
            raise refused[0]
        written = tuple(kept)
        kept += [folder / LINK] if way == LINK and photos.root is not None else []
    for error in refused:
        _log.warning("%s", error)
    _warn_of_turned(folder, photos)
    return written


def _warn_of_turned(folder: Path, photos: Photographs) -> None:
    """Says which photos programs see on their side that know of no EXIF orientation."""
    if photos.turned:
        _log.warning(
            "%d of %d photos, such as %s, lie on their side in their files, with an EXIF"
            " orientation, and have cameras of upright ones: for programs that ignore EXIF, put"
            " upright copies in place of %s (copy what it leads to, and there magick mogrify"
            " -auto-orient)",
            len(photos.turned),
            len(photos.files),
            photos.turned[0],
            folder / LINK,
        )


def _write(
    form: str,
    place: tuple[Path, str],
    photos: Photographs,
    cloud: tuple[Float[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"]],
    settings: CameraSettings,
) -> list[Path]:
    """The files of one form; OutputError before any of them where it cannot say what a lens is.

    ``place`` is the folder, and the way from there to the photos.
    """
    folder, way = place
    if form == "colmap":
        return list(write_colmap(folder / MODEL, photos, cloud, text=settings.text))
    own = photos.points
    places, colors = (own.positions, own.colors) if len(own) else cloud
    found = list(write_transforms(folder, photos, way, POINTS if len(places) else ""))
    if len(places):
        write_points(folder / POINTS, places, colors=colors)
        found.append(folder / POINTS)
    return found


def _way_to_photos(folder: Path, photos: Photographs) -> str:
    """``images``, a link beside the files, so that the folder is a capture as it is; where there
    can be none, the way to the photos; where there are none, a folder that is still to be made."""
    if photos.root is None:
        _log.warning(
            "the run was baked from a scene, so its cameras have no photos: render.py path=train"
            " output=frames (and path=test) makes some, and what it writes into train_WIDTHxHEIGHT"
            " belongs in %s (and test_... beside that, in test)",
            folder / LINK / "train",
        )
        return LINK
    link = folder / LINK
    try:
        way = Path(os.path.relpath(photos.root, folder.resolve())).as_posix()
    except ValueError:  # another drive
        way = photos.root.as_posix()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            if link.resolve() == photos.root.resolve():
                return LINK
            link.unlink()
        if link.is_dir() and all((link / file).is_file() for file in photos.files):
            return LINK  # copies, which somebody has put there
        link.symlink_to(way)
        return LINK
    except OSError:  # a system without links, or a folder of that name
        _log.info("the photos of %s are in %s", folder, photos.root)
        return way
