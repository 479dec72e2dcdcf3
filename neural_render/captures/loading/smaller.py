"""Images that a capture holds in smaller sizes too (``images_2``, ``images_4``, ``images_8``).

Where photos are scaled down anyway, the small files are read in place of the large ones: it spares
their decoding, and is what figures at such sizes are published for (LLFF's protocol).
"""

import logging
from dataclasses import replace
from pathlib import Path

from neural_render.captures.loading.images import read_header
from neural_render.captures.loading.intrinsics import uniform_ratio
from neural_render.captures.readers.image_files import IMAGE_FOLDERS, find_images, list_images
from neural_render.captures.readers.listing import Listing, Photo

# Sides are rounded to whole pixels, and not by all programs alike.
_TOLERANCE = 0.01


_log = logging.getLogger("neural_render")


def with_smaller_images(listing: Listing, max_side: int) -> Listing:
    """The listing with the smallest files that need no enlarging to ``max_side`` (0: its own)."""
    photos = (*listing.train, *listing.test)
    chosen = _smaller(photos, max_side) if max_side else photos
    if chosen == photos:
        return listing
    num_train = len(listing.train)
    _log.info("images: those of %s, as capture.max_side=%d", _image_root(chosen[0].image), max_side)
    return replace(listing, train=chosen[:num_train], test=chosen[num_train:])


def _smaller(photos: tuple[Photo, ...], max_side: int) -> tuple[Photo, ...]:
    """The photos, each with the smallest of its files that needs no enlarging to ``max_side``.

    All photos keep their files where a smaller folder lacks one of them, or holds another picture
    by its shape, and where the intrinsics do not say which size they belong to.
    """
    root = _image_root(photos[0].image)
    if root is None or any(photo.calibration.size == (0, 0) for photo in photos):
        return photos
    if not all(photo.image.is_relative_to(root) for photo in photos):
        return photos
    for name in reversed(IMAGE_FOLDERS[IMAGE_FOLDERS.index(root.name) + 1 :]):
        files = _files_in(root.with_name(name), root)
        found = [files.get(photo.image) for photo in photos]
        smaller = tuple(
            replace(photo, image=file)
            for photo, file in zip(photos, found, strict=True)
            if file is not None
        )
        if len(smaller) == len(photos) and all(_fits(photo, max_side) for photo in smaller):
            return smaller
    return photos


def is_known_reduction(photo: Photo, ratio: float) -> bool:
    """Whether an image is as much smaller than its intrinsics as its folder's name says."""
    root = _image_root(photo.image)
    if root is None or root.name == IMAGE_FOLDERS[0]:
        return False
    return abs(ratio * int(root.name.rpartition("_")[2]) - 1) < _TOLERANCE


def _image_root(image: Path) -> Path | None:
    """The innermost folder of images around a file; None where it lies in none."""
    return next((folder for folder in image.parents if folder.name in IMAGE_FOLDERS), None)


def _files_in(folder: Path, root: Path) -> dict[Path, Path]:
    """The files of ``folder`` by those of ``root`` that they are made from; none if it is none."""
    if not folder.is_dir():
        return {}
    found = find_images(list_images(root), [folder])
    inside = {folder / name for name in list_images(folder)}
    return {root / name: file for name, file in found.files.items() if file in inside}


def _fits(photo: Photo, max_side: int) -> bool:
    """Whether a smaller file is large enough, and shows what the intrinsics belong to."""
    header, stated = read_header(photo.image, photo.where), photo.calibration.size
    fits = [uniform_ratio(stated, size) > 0 for size in (header.size, header.oriented_size)]
    return max(header.size) >= max_side and any(fits)
