"""Cameras of a run in the forms that were asked for, where programs look for them."""

import logging
import os
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from neural_render.core.errors import OutputError
from neural_render.export.cameras.colmap import write_colmap
from neural_render.export.cameras.photographs import Photographs
from neural_render.export.cameras.place import (
    LINK,
    LINKS,
    MASKS,
    MODEL,
    POINTS,
    TRANSFORMS,
    noted,
)
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
    ``images`` beside them leads to the photos and ``masks`` to their masks, if they may.
    """
    refused: list[OutputError] = []
    with noted(folder, photos.root, photos.mask_root) as kept:
        ways = (_way_to_photos(folder, photos), _way_to_masks(folder, photos))
        for form in ("colmap", "transforms"):
            if settings.file not in (form, "all"):
                continue
            try:
                kept += _write(form, (folder, ways), photos, cloud, settings)
            except OutputError as error:
                refused.append(error)
        if not kept:
            raise refused[0]
        written = tuple(kept)
        for way, link, root in zip(ways, LINKS, (photos.root, photos.mask_root), strict=True):
            kept += [folder / link] if way == link and root is not None else []
    for error in refused:
        _log.warning("%s", error)
    _warn_of_turned(folder, photos)
    _warn_of_masks(folder, photos, {path.name for path in written})
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


def _warn_of_masks(folder: Path, photos: Photographs, written: Set[str]) -> None:
    """Says which programs do not find the photos' masks, and how to mend that."""
    masked = [index for index, mask in enumerate(photos.masks) if mask]
    if TRANSFORMS in written and 0 < len(masked) < len(photos.files):
        _log.warning(
            "%d of %d photos have masks, and %s names none, since nerfstudio takes masks for all"
            " photos or for none: give the others white ones to have them there",
            len(masked),
            len(photos.files),
            folder / TRANSFORMS,
        )
    strays = [index for index in masked if not photos.is_mask_by_name(index)]
    if strays and written - {TRANSFORMS, POINTS}:
        _log.warning(
            "masks of %d photos, such as %s, are not called as their photos are, which is how"
            " they are found beside a COLMAP model: put copies into %s, such as %s.png",
            len(strays),
            photos.masks[strays[0]],
            folder / MASKS,
            photos.files[strays[0]],
        )


def _write(
    form: str,
    place: tuple[Path, tuple[str, str]],
    photos: Photographs,
    cloud: tuple[Float[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"]],
    settings: CameraSettings,
) -> list[Path]:
    """The files of one form; OutputError before any of them where it cannot say what a lens is.

    ``place`` is the folder, and the ways from there to the photos and their masks.
    """
    folder, ways = place
    if form == "colmap":
        return list(write_colmap(folder / MODEL, photos, cloud, text=settings.text))
    own = photos.points
    places, colors = (own.positions, own.colors) if len(own) else cloud
    found = list(write_transforms(folder, photos, ways, POINTS if len(places) else ""))
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
    return _way(folder / LINK, photos.root, photos.files)


def _way_to_masks(folder: Path, photos: Photographs) -> str:
    """The same for the photos' masks; nothing where they have none."""
    if photos.mask_root is None:
        return ""
    return _way(folder / MASKS, photos.mask_root, [mask for mask in photos.masks if mask])


def _way(link: Path, root: Path, files: Sequence[str]) -> str:
    """The name of a link to ``root``, made here, or of copies in its place, else the way there."""
    folder = link.parent
    try:
        way = Path(os.path.relpath(root, folder.resolve())).as_posix()
    except ValueError:  # another drive
        way = root.as_posix()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if link.is_symlink():
            if link.resolve() == root.resolve():
                return link.name
            link.unlink()
        if link.is_dir() and all((link / file).is_file() for file in files):
            return link.name  # which somebody has put there
        link.symlink_to(way)
        return link.name
    except OSError:  # a system without links, or a folder of that name
        _log.info("what %s would lead to is in %s", link, root)
        return way
