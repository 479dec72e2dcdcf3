"""What MP4 and MOV files tell players of stereo pictures and of pictures of all around.

A file is a tree of boxes: four bytes of size, four of name, contents. ``st3d`` and ``sv3d`` stand
in the description of the video's track; what comes after them in the file moves, so that the
table of where pictures lie (``stco`` or ``co64``) is corrected.

Sources: ISO/IEC 14496-12; "Spherical Video V2 RFC", spatial-media, Google. WebM has other elements
for this, which are not written.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from neural_render.core.files import whole_file

_STEREO_MODE = {"none": 0, "top_bottom": 1, "side_by_side": 2}
_TO_TRACK = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_SAMPLE_ENTRY = 8 + 78  # bytes before the boxes inside it
_CONFIGURATIONS = (b"avcC", b"hvcC")
_DESCRIPTION = 8 + 8  # bytes of ``stsd`` before its first entry
_OFFSETS = {b"stco": ">I", b"co64": ">Q"}
_COPIED_AT_ONCE = 1 << 24


def mark_for_glasses(path: Path, *, panorama: bool, layout: str) -> None:
    """Makes the finished file in ``path`` say what it shows; changes nothing of plain pictures.

    ``panorama``: equirectangular, all around. ``layout``: none, side_by_side or top_bottom.
    """
    marks = _marks(panorama, layout)
    if not marks:
        return
    start, moov = _index_of(path)
    marked = _marked(bytearray(moov), marks, moves_media=start < _media_start(path))
    with path.open("rb") as source, whole_file(path) as temporary, temporary.open("wb") as target:
        _copy(source, target, start)
        target.write(marked)
        source.seek(start + len(moov))
        _copy(source, target, path.stat().st_size)


def _marks(panorama: bool, layout: str) -> bytes:
    """The boxes to put in."""
    stereo = _box(b"st3d", struct.pack(">IB", 0, _STEREO_MODE[layout]))
    if not panorama:
        return stereo if layout != "none" else b""
    header = _box(b"svhd", struct.pack(">I", 0) + b"neural_render\0")
    level = _box(b"prhd", struct.pack(">Iiii", 0, 0, 0, 0))
    whole = _box(b"equi", struct.pack(">IIIII", 0, 0, 0, 0, 0))
    return stereo + _box(b"sv3d", header + _box(b"proj", level + whole))


def _box(name: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", 8 + len(contents)) + name + contents


def _index_of(path: Path) -> tuple[int, bytes]:
    """Where the box ``moov`` begins, and all of it."""
    start, size = _top_level(path, b"moov")
    with path.open("rb") as file:
        file.seek(start)
        return start, file.read(size)


def _media_start(path: Path) -> int:
    return _top_level(path, b"mdat")[0]


def _top_level(path: Path, wanted: bytes) -> tuple[int, int]:
    """Where the first box of a name begins in a file, and its size."""
    end, start = path.stat().st_size, 0
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            size, name = struct.unpack(">I4s", file.read(8))
            if size == 1:
                (size,) = struct.unpack(">Q", file.read(8))
            size = size or end - start
            if name == wanted:
                return start, size
            start += size
    raise AssertionError(f"FFmpeg wrote {path} without {wanted!r}")


def _marked(moov: bytearray, marks: bytes, *, moves_media: bool) -> bytes:
    """``moov`` with ``marks`` in the description of its (only) track."""
    around, start, end = [], 0, len(moov)
    for name in _TO_TRACK:
        start, size = next(found for found in _inside(moov, start, end, name))
        around.append(start)
        start, end = start + 8, start + size
    if moves_media:
        for name, form in _OFFSETS.items():
            for table, _ in _inside(moov, start, end, name):
                _move(moov, table, form, len(marks))
    description, _ = next(found for found in _inside(moov, start, end, b"stsd"))
    entry = description + _DESCRIPTION
    for box in (*around, description, entry):
        (size,) = struct.unpack_from(">I", moov, box)
        struct.pack_into(">I", moov, box, size + len(marks))
    place = entry + _SAMPLE_ENTRY
    size, name = struct.unpack_from(">I4s", moov, place)
    if name in _CONFIGURATIONS:  # what is not optional comes first
        place += size
    return bytes(moov[:place]) + marks + bytes(moov[place:])


def _inside(content: bytearray, start: int, end: int, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Where boxes of a name begin between two places, and their sizes."""
    while start < end:
        size, name = struct.unpack_from(">I4s", content, start)
        if name == wanted:
            yield start, size
        start += size


def _move(content: bytearray, table: int, form: str, by: int) -> None:
    """Corrects a table of offsets."""
    (count,) = struct.unpack_from(">I", content, table + 12)
    width = struct.calcsize(form)
    for place in range(table + 16, table + 16 + count * width, width):
        (offset,) = struct.unpack_from(form, content, place)
        struct.pack_into(form, content, place, offset + by)


def _copy(source: BinaryIO, target: BinaryIO, end: int) -> None:
    """Copies up to the place ``end`` of the source."""
    while (left := end - source.tell()) > 0:
        target.write(source.read(min(left, _COPIED_AT_ONCE)))
