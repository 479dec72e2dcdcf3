"""All capture formats, and which of them a folder is in. A new format is one more line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neural_render.captures.readers import llff
from neural_render.captures.readers.colmap import reader as colmap
from neural_render.captures.readers.listing import Listing
from neural_render.captures.readers.phones import polycam, record3d
from neural_render.captures.readers.transforms import blender
from neural_render.captures.readers.transforms import reader as transforms
from neural_render.core.errors import CaptureError

_SHOWN_ENTRIES = 5
# Record3D's .r3d is a zip archive of another name.
_ARCHIVES = frozenset({".r3d", ".zip"})


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One format: its name, what a folder lacks to be in it ("" for nothing), and its reader."""

    name: str
    missing_in: Callable[[Path], str]
    read: Callable[[Path], Listing]


# The first format that a folder has everything for is taken.
READERS = (
    Reader(name=blender.NAME, missing_in=blender.missing_in, read=blender.read),
    Reader(name=transforms.NAME, missing_in=transforms.missing_in, read=transforms.read),
    Reader(name=colmap.NAME, missing_in=colmap.missing_in, read=colmap.read),
    Reader(name=polycam.NAME, missing_in=polycam.missing_in, read=polycam.read),
    Reader(name=record3d.NAME, missing_in=record3d.missing_in, read=record3d.read),
    Reader(name=llff.NAME, missing_in=llff.missing_in, read=llff.read),
)


def recognise(folder: Path) -> Reader:
    """The reader for a folder; CaptureError, with all formats and what each lacks, if none is."""
    lacking = []
    for reader in READERS:
        missing = reader.missing_in(folder)
        if not missing:
            return reader
        lacking.append(f"{reader.name} needs {missing}")
    inside = _captures_inside(folder)
    packed = [path for path in sorted(folder.iterdir()) if is_archive(path)]
    mend = "give the folder that holds such a file"
    if inside:
        mend = f"give one of the captures in it, capture.path={inside[0]}"
    elif packed:
        mend = how_to_unpack(packed[0])
    raise CaptureError(
        f"capture.path={folder} is in no known capture format ({'; '.join(lacking)}; it holds"
        f" {_contents(folder)}): {mend}"
    )


def is_archive(path: Path) -> bool:
    """Whether a path ends as archives of captures do."""
    return path.suffix.lower() in _ARCHIVES


def how_to_unpack(path: Path) -> str:
    """The second half of the sentence on an archive."""
    folder = path.with_suffix("")
    return f"unpack it (unzip {path.name} -d {folder.name}) and give capture.path={folder}"


def _captures_inside(folder: Path) -> list[Path]:
    """Folders directly inside that are in a known format."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and any(not reader.missing_in(entry) for reader in READERS)
    ]


def _contents(folder: Path) -> str:
    """The first names in a folder."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    if len(names) > _SHOWN_ENTRIES:
        names = [*names[:_SHOWN_ENTRIES], f"{len(names) - _SHOWN_ENTRIES} more"]
    return ", ".join(names) or "nothing"
