"""Vertices of a Stanford PLY file: the sparse points that nerfstudio keeps beside transforms.json.

Format: Greg Turk, "The PLY Polygon File Format". What is no vertex is not read.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float64, UInt8

from neural_render.core.errors import CaptureError

_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_COLORS = ("red", "green", "blue")
_MAX_HEADER_LINES = 1000


@dataclass(frozen=True, kw_only=True)
class _Header:
    """How the vertices, which come first, are written down."""

    encoding: str
    count: int
    fields: list[tuple[str, str]]


def read_ply(
    path: Path,
) -> tuple[Float64[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"]]:
    """Positions and colours (grey where the file has none); CaptureError where it is broken."""
    try:
        with path.open("rb") as file:
            header = _read_header(file, path)
            vertices = _read_vertices(file, header)
    except OSError as error:
        raise CaptureError(
            f"{path} cannot be read ({error.strerror}): make it a readable file"
        ) from error
    if len(vertices) < header.count:
        raise broken(path, f"ends after {len(vertices)} of {header.count} vertices")
    positions = np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=-1)
    if all(vertices.dtype.fields and color in vertices.dtype.fields for color in _COLORS):
        colors = np.stack([_as_bytes(vertices[color]) for color in _COLORS], axis=-1)
    else:
        colors = np.full((len(vertices), 3), 128, dtype=np.uint8)
    return positions, colors


def broken(path: Path, what: str) -> CaptureError:
    """The sentence for a file without points that can be read."""
    return CaptureError(
        f"{path} {what}: write it again from the reconstruction, or remove ply_file_path, without"
        " which the capture is read too"
    )


def _read_header(file: BinaryIO, path: Path) -> _Header:
    """The lines up to ``end_header``."""
    if file.readline(8).strip() != b"ply":
        raise broken(path, "is no PLY file")
    encoding, count, element = "", -1, ""
    fields: list[tuple[str, str]] = []
    for _ in range(_MAX_HEADER_LINES):
        words = file.readline(4096).decode("ascii", "replace").split()
        match words:
            case ["end_header"]:
                break
            case ["format", encoding, *_]:
                pass
            case ["element", element, number]:
                if count < 0 and (element != "vertex" or not number.isdecimal()):
                    raise broken(path, "does not begin with its vertices")
                count = int(number) if element == "vertex" else count
            case ["property", kind, name] if element == "vertex" and kind in _TYPES:
                fields.append((name, _TYPES[kind]))
            case ["property", *_] if element == "vertex":
                raise broken(path, f"has vertices with {' '.join(words)!r}, which is not supported")
            case _:
                pass
    names = [name for name, _ in fields]
    if encoding not in _ORDERS or not {"x", "y", "z"} <= set(names) or len(set(names)) < len(names):
        raise broken(path, "has no header that names its format and x, y and z of each vertex")
    return _Header(encoding=encoding, count=count, fields=fields)


def _read_vertices(file: BinaryIO, header: _Header) -> np.ndarray:
    """The vertices that are there, which may be fewer than announced, as a structured array."""
    order = _ORDERS[header.encoding]
    kind = np.dtype([(name, order + code) for name, code in header.fields])
    if header.encoding != "ascii":
        there = os.fstat(file.fileno()).st_size  # the header may say anything
        content = file.read(min(header.count * kind.itemsize, there))
        return np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], dtype=kind)
    rows: list[tuple[float, ...]] = []
    for line in file:
        words = line.split()
        try:
            row = tuple(float(word) for word in words)
        except ValueError:
            break
        if len(rows) == header.count or len(row) != len(header.fields):
            break
        rows.append(row)
    return np.array(rows, dtype=[(name, "f8") for name, _ in header.fields])


def _as_bytes(values: np.ndarray) -> UInt8[np.ndarray, " points"]:
    """Colours as bytes; those of floating point go from 0 to 1."""
    if values.dtype.kind == "f" and values.size and float(values.max()) <= 1:
        values = values * 255
    return values.clip(0, 255).astype(np.uint8)
