"""Masks that lie in a folder of their own, found by the names of the photos.

A photo ``images/a/x.jpg`` has its mask in ``masks/a/`` beside ``images`` (or ``mask/a/``), called
``x.png`` or, as COLMAP calls it, ``x.jpg.png``. Masks that the capture's own files name come first.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from neural_render.captures.readers.image_files import compact_names, list_images
from neural_render.captures.readers.listing import Listing, Photo

MASK_FOLDERS = ("masks", "mask")  # beside photos, or among them

_log = logging.getLogger("neural_render")


def with_masks(listing: Listing, capture: Path) -> Listing:
    """The listing with the masks that lie beside its photos; warnings say where some are missing.

    0 in a mask is ignored. A file that two photos would have to share belongs to neither.
    """
    files = cache(_files_by_name)
    photos = (*listing.train, *listing.test)
    unmasked = [photo for photo in photos if photo.mask is None]
    found: dict[str, Path] = {}
    for photo in unmasked:
        for folder, name in _places(photo.image, capture):
            mask = files(folder).get(name)
            if mask is not None and mask != photo.image:
                found[photo.name] = mask
                break
    shared = {mask for mask, uses in Counter(found.values()).items() if uses > 1}
    found = {name: mask for name, mask in found.items() if mask not in shared}
    if found:
        _log.info("masks of %d photos, such as %s", len(found), min(found.values()))
    folders = [capture / name for name in MASK_FOLDERS if files(capture / name)]
    if len(unmasked) < len(photos):
        folders = []  # whose masks the capture's own files name
    warnings = [*listing.warnings, *_warnings(unmasked, found, shared, folders)]

    def masked(photos: tuple[Photo, ...]) -> tuple[Photo, ...]:
        return tuple(
            replace(photo, mask=found[photo.name]) if photo.name in found else photo
            for photo in photos
        )

    train, test = masked(listing.train), masked(listing.test)
    return replace(listing, train=train, test=test, warnings=tuple(warnings))


def _warnings(
    unmasked: Sequence[Photo], found: dict[str, Path], shared: set[Path], folders: list[Path]
) -> Iterator[str]:
    """What the user should know about masks that belong to no photo, or photos that have none."""
    if shared:
        yield (
            f"{len(shared)} masks such as {min(shared)} belong to more than one photo and are"
            " ignored: put them into folders as the photos are"
        )
    without = [photo.name for photo in unmasked if photo.name not in found]
    if found and without:
        yield (
            f"{len(without)} photos have no mask and are used whole, beside {len(found)} with one"
            f" such as {min(found.values())}: {compact_names(without)}"
        )
    if unmasked and not found and folders and not shared:
        yield (
            f"{folders[0]} holds no mask by the name of a photo and is ignored: a mask is called"
            f" as its photo is, such as {Path(unmasked[0].name).stem}.png"
        )


def _places(image: Path, capture: Path) -> Iterator[tuple[Path, str]]:
    """The folders of masks in which the mask of ``image`` may lie, and its name there.

    Beside each folder of the capture that holds the image, the innermost first, and inside of it.
    """
    inside = image.is_relative_to(capture)
    above = list(image.parents)[: len(image.relative_to(capture).parts) if inside else 2]
    for base in above:
        parts = image.relative_to(base).parts
        for tail in (parts[1:], parts):
            name = Path(*tail)
            for folder in MASK_FOLDERS if tail else ():
                yield base / folder, name.as_posix()
                yield base / folder, name.with_suffix("").as_posix()


def _files_by_name(folder: Path) -> dict[str, Path]:
    """The images of a folder by their paths in it without the last ending; none if it is none."""
    if not folder.is_dir():
        return {}
    return {Path(name).with_suffix("").as_posix(): folder / name for name in list_images(folder)}
