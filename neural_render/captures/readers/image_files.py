"""Image files of a folder: which there are, and which of them a reconstruction's names mean."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from neural_render.core.errors import CaptureError

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
# Where programs put photos: as they are, else scaled down by so much.
IMAGE_FOLDERS = ("images", "images_2", "images_4", "images_8")
_SHOWN_NAMES = 40


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """The file of each name, which may not be there, and files that no name means."""

    files: dict[str, Path]
    unnamed: tuple[str, ...]  # as paths inside ``folder``
    folder: Path
    in_order: bool  # names mean nothing here: files were taken in the order of their own


def list_images(folder: Path) -> tuple[str, ...]:
    """The image files in a folder and the folders in it, by name; none where there is none."""
    try:
        return tuple(
            path.relative_to(folder).as_posix()
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in IMAGE_ENDINGS
            and not path.name.startswith(".")
            and path.is_file()
        )
    except PermissionError as error:
        raise CaptureError(
            f"{folder} cannot be read (permission denied): allow reading it"
        ) from error


def find_images(names: Collection[str], folders: Sequence[Path]) -> FoundImages:
    """The files that ``names`` mean in the first of ``folders`` that holds any of them.

    A file may end otherwise than its name does. Where no folder knows a single name but one has
    exactly as many files, these are taken in order: LLFF numbers its smaller images anew.
    """
    listed = [(folder, list_images(folder)) for folder in folders if folder.is_dir()]
    for folder, inside in listed:
        files = _by_name(names, folder, inside)
        if files:
            # Folders without any named photo hold something else, such as masks.
            used = {Path(name).parent for name in names}
            taken = set(files.values())
            unnamed = tuple(
                name for name in inside if Path(name).parent in used and folder / name not in taken
            )
            absent = {name: folder / name for name in names if name not in files}
            return FoundImages(files=files | absent, unnamed=unnamed, folder=folder, in_order=False)
    for folder, inside in listed:
        if len(inside) == len(names):
            paths = [folder / name for name in inside]
            files = dict(zip(sorted(names), paths, strict=True))
            return FoundImages(files=files, unnamed=(), folder=folder, in_order=True)
    folder = folders[0]
    files = {name: folder / name for name in names}
    return FoundImages(files=files, unnamed=(), folder=folder, in_order=False)


def compact_names(names: Sequence[str]) -> str:
    """File names with their common folder and ending said once: ``images/{0003,0005}.jpg``."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names[:_SHOWN_NAMES]:
        path = Path(name)
        groups.setdefault((path.parent.as_posix(), path.suffix), []).append(path.stem)
    shown = []
    for (folder, suffix), stems in groups.items():
        inner = stems[0] if len(stems) == 1 else "{" + ",".join(stems) + "}"
        shown.append(("" if folder == "." else f"{folder}/") + inner + suffix)
    more = len(names) - _SHOWN_NAMES
    return " ".join(shown) + (f" and {more} more" if more > 0 else "")


def is_file(path: Path) -> bool:
    """Whether a file is there; CaptureError where that must not be known."""
    try:
        return path.is_file()
    except PermissionError as error:
        raise CaptureError(
            f"{path} cannot be read (permission denied): allow reading it and its folder"
        ) from error
    except (OSError, ValueError):
        return False


def check_name(name: str, folder: Path) -> None:
    """CaptureError for a photo's name that no text can hold, as of old archives."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise CaptureError(
            f"{folder} has a photo whose name is not of UTF-8, {name!a}: rename it, and all"
            " like it (convmv does so)"
        ) from error


def display_name(path: Path, folder: Path) -> str:
    """A photo's name: its path inside the capture, else the path as it is."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.as_posix()


def _by_name(names: Collection[str], folder: Path, inside: Sequence[str]) -> dict[str, Path]:
    """The files of those names that have one."""
    exact = set(inside)
    stems = {str(Path(name).with_suffix("")): name for name in reversed(inside)}
    files = {}
    for name in names:
        same = name if name in exact else stems.get(str(Path(name).with_suffix("")), "")
        if same:
            files[name] = folder / same
    return files


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """What to sort a name by so that its numbers count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
