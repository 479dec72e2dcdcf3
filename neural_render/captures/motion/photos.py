"""The photos of a folder without poses, and the cameras that took them, by their EXIF."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from neural_render.captures.loading.images import decoded, read_header
from neural_render.captures.loading.masks import MASK_FOLDERS
from neural_render.captures.readers.image_files import IMAGE_ENDINGS, check_name, natural_key
from neural_render.core.errors import CaptureError
from neural_render.core.files import PICTURE_KINDS, large_pictures

HEIC = frozenset({".heic", ".heif", ".hif", ".avif"})
RAW = frozenset(
    {".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf"}
    | {".rw2", ".pef", ".srw", ".raw", ".3fr", ".iiq"}
)
UNREAD_BY_COLMAP = frozenset({".webp"})
FOLDERS = ("images", "input", "")  # where photos are looked for, in this order
DEFAULT_FOCAL = 1.2  # longer sides of the image: COLMAP's guess where EXIF is silent
_DIAGONAL_35MM = math.hypot(36, 24)
_EXIF, _MAKE, _MODEL = 0x8769, 0x010F, 0x0110
_FOCAL_MM, _FOCAL_35MM, _LENS = 0x920A, 0xA405, 0xA434
# Longer sides of the image: what a lens may have, wider than which EXIF is wrong.
_FOCAL_RANGE = (0.2, 30.0)

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class FoundPhotos:
    """Names of image files in the order of their names and numbers in them, inside ``root``."""

    root: Path
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Device:
    """A camera as it was set: photos of one share their intrinsics."""

    name: str  # maker, model and lens; empty where EXIF is silent
    size: tuple[int, int]  # of the photo as COLMAP gets it: see ``decodable``
    focal_px: float
    known_focal: bool  # by EXIF, else guessed


def find_photos(folder: Path) -> FoundPhotos:
    """The photos in ``images/``, ``input/`` or the folder itself; without names if there are none.

    CaptureError, with what to convert them by, where there are only photos of other kinds.
    """
    foreign: list[Path] = []
    for place in FOLDERS:
        root = folder / place
        if not root.is_dir():
            continue
        inside = root.rglob("*") if place else root.iterdir()
        files = sorted(
            (
                path
                for path in inside
                if not path.name.startswith(".")
                and not {*MASK_FOLDERS} & {*path.relative_to(root).parts[:-1]}
            ),
            key=lambda path: natural_key(path.as_posix()),
        )
        names = [
            path.relative_to(root).as_posix()
            for path in files
            if path.suffix.lower() in IMAGE_ENDINGS
        ]
        foreign += [path for path in files if path.suffix.lower() in HEIC | RAW]
        for name in names:
            check_name(name, root)
        if names:
            if foreign:
                _log.warning(
                    "%d HEIC or RAW files of %s, such as %s, are not used beside its %d photos",
                    len(foreign),
                    folder,
                    foreign[0].name,
                    len(names),
                )
            return FoundPhotos(root=root, names=tuple(names))
    if foreign:
        raise CaptureError(_conversion(folder, foreign))
    return FoundPhotos(root=folder, names=())


def decodable(photos: FoundPhotos, place: Path) -> Path:
    """The folder of the photos as COLMAP can decode them: their own, or ``place``.

    COLMAP's wheels read no WebP, and know of no EXIF orientation: such photos become upright JPEG
    files there, under the same names, since it goes by what a file holds. What an interrupted run
    has converted stays.
    """
    converted = {name for name in photos.names if _is_converted(photos.root / name)}
    if not converted:
        return photos.root
    for name in photos.names:
        source, target = photos.root / name, place / name
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if name not in converted:
            target.symlink_to(source.resolve())
            continue
        partial = target.with_name(f".{target.name}.part")
        try:
            with large_pictures():
                image = decoded(source, _is_turned(source)).convert("RGB")
            image.save(partial, "JPEG", quality=95, subsampling=0)
            partial.replace(target)
        except (UnidentifiedImageError, SyntaxError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk
                raise
            target.symlink_to(source.resolve())  # broken: COLMAP says so beside all others
    return place


def _is_converted(path: Path) -> bool:
    return path.suffix.lower() in UNREAD_BY_COLMAP or _is_turned(path)


def _is_turned(path: Path) -> bool:
    """Whether a photo is stored lying on its side, as by most phones that are held upright.

    Only where its shape tells, when it is read again, that the camera is one of the turned photo.
    """
    try:
        header = read_header(path, "the capture")
    except CaptureError:
        return False  # of which COLMAP, or who reads its size, will tell
    return header.oriented_size != header.size


def _conversion(folder: Path, files: Sequence[Path]) -> str:
    """The sentence for photos that have to be converted first."""
    first = files[0]
    if first.suffix.lower() in HEIC:
        kind, by = "HEIC", f"`magick mogrify -format jpg -quality 95 *{first.suffix}`"
        more = ", or set the phone to take JPEG (iPhone: Camera, Formats, Most Compatible)"
    else:
        kind, by = "RAW", f"darktable or RawTherapee (`darktable-cli {first.name} photo.jpg`)"
        more = ", all with the same settings of exposure and white balance"
    return (
        f"the {len(files)} photos of {folder} are {kind} files, such as {first.name}, which are not"
        f" read here: convert them to JPEG with {by}{more}"
    )


def read_devices(photos: FoundPhotos) -> dict[str, Device]:
    """The device of every photo; what EXIF lacks or holds wrongly is guessed, with a warning."""
    devices, broken = {}, []
    for name in photos.names:
        path = photos.root / name
        header = read_header(path, "the capture")
        size = header.oriented_size if _is_turned(path) else header.size
        try:
            devices[name] = _device(path, size)
        except Exception:  # Pillow's errors for damaged EXIF are of many kinds
            broken.append(name)
            devices[name] = _unknown(size)
    if broken:
        _log.warning(
            "the EXIF data of %d photos, such as %s, are damaged and ignored",
            len(broken),
            broken[0],
        )
    return _with_companions(devices)


def _device(path: Path, size: tuple[int, int]) -> Device:
    """What a photo's EXIF says."""
    with large_pictures(), Image.open(path, formats=PICTURE_KINDS) as image:
        if image.format == "PNG" and "exif" not in image.info:
            return _unknown(size)
        exif = image.getexif()
        if image.info.get("exif") and not len(exif):
            raise ValueError("EXIF data without a single entry")
    inner: Any = exif.get_ifd(_EXIF)
    words = [str(exif.get(_MAKE, "")), str(exif.get(_MODEL, "")), str(inner.get(_LENS, ""))]
    name = " ".join(" ".join(words).replace("\0", " ").split())
    focal_mm = float(inner.get(_FOCAL_MM, 0) or 0)
    equivalent = float(inner.get(_FOCAL_35MM, 0) or 0)
    focal_px = equivalent / _DIAGONAL_35MM * math.hypot(*size)
    if name and focal_mm > 0:
        name += f" {focal_mm:g} mm"
    lowest, highest = _FOCAL_RANGE
    if not lowest < focal_px / max(size) < highest:
        return replace(_unknown(size), name=name)
    return Device(name=name, size=size, focal_px=focal_px, known_focal=True)


def _unknown(size: tuple[int, int]) -> Device:
    return Device(name="", size=size, focal_px=DEFAULT_FOCAL * max(size), known_focal=False)


def _with_companions(devices: dict[str, Device]) -> dict[str, Device]:
    """A photo without EXIF is of the one device that took the others of its size, if one did."""
    by_size: dict[tuple[int, int], set[Device]] = {}
    for device in devices.values():
        if device.name:
            by_size.setdefault(device.size, set()).add(device)
    return {
        name: next(iter(same))
        if not device.name and len(same := by_size.get(device.size, set())) == 1
        else device
        for name, device in devices.items()
    }
