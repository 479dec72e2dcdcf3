"""A glTF file as it lies on disk: its JSON, its buffers, and arrays out of them."""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.files import Reference, checked_paths, sentence

Values = dict[str, Any]

# Compressed or unknown geometry: nothing at all could be read.
_UNREADABLE = {
    "KHR_draco_mesh_compression": "Draco compression",
    "EXT_meshopt_compression": "meshopt compression",
    "KHR_texture_basisu": "Basis textures",
}
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


@dataclass(frozen=True, kw_only=True)
class Document:
    """The JSON of a glTF file and its buffers; ``lost`` collects what cannot be expressed."""

    path: Path
    content: Values
    buffers: list[bytes]
    lost: list[str] = field(default_factory=list)

    def all(self, key: str) -> list[Any]:
        """The list under a top-level key, in a sound file of objects; TypeError if it is none."""
        found = self.content.get(key, [])
        if not isinstance(found, list):
            raise TypeError(f"{key} is no list")
        return found

    def lose(self, what: str) -> None:
        """Notes something that the file has and we cannot express."""
        if what not in self.lost:
            self.lost.append(what)

    def view(self, index: int) -> tuple[memoryview, int]:
        """The bytes of a buffer view, and its stride (0: tight)."""
        view = self.all("bufferViews")[index]
        buffer = memoryview(self.buffers[view["buffer"]])
        start = view.get("byteOffset", 0)
        end = start + view["byteLength"]
        if end > len(buffer):
            raise SceneError(
                f"{self.path} is cut short: buffer view {index} ends at byte {end} of a buffer of"
                f" {len(buffer)}; copy or export the scene's files anew"
            )
        return buffer[start:end], view.get("byteStride", 0)

    def array(self, index: int) -> NDArray[Any]:
        """The values ``[count width]`` of an accessor, normalised integers as fractions."""
        accessor = self.all("accessors")[index]
        kind = np.dtype(_TYPES[accessor["componentType"]])
        width, count = _WIDTHS[accessor["type"]], accessor["count"]
        values = np.zeros((count, width), kind)
        if "bufferView" in accessor:
            view, stride = self.view(accessor["bufferView"])
            values = self._strided(index, view[accessor.get("byteOffset", 0) :], stride, values)
        if "sparse" in accessor:
            values = self._sparse(accessor["sparse"], values)
        if accessor.get("normalized") and kind.kind in "iu":
            scaled = values.astype(np.float32) / np.iinfo(kind).max
            return np.maximum(scaled, -1).astype(np.float32)
        return values

    def _strided(
        self, index: int, view: memoryview, stride: int, like: NDArray[Any]
    ) -> NDArray[Any]:
        count, width = like.shape
        size = width * like.dtype.itemsize
        stride = stride or size
        if count and (count - 1) * stride + size > len(view):
            raise SceneError(
                f"{self.path} is cut short: accessor {index} wants {count} values, more than its"
                " buffer view holds; copy or export the scene's files anew"
            )
        if not count:
            return like
        return np.ndarray(
            like.shape, like.dtype, buffer=view, strides=(stride, like.dtype.itemsize)
        ).copy()

    def _sparse(self, sparse: Values, values: NDArray[Any]) -> NDArray[Any]:
        """Values with those that the sparse part replaces."""
        count = sparse["count"]
        place, data = sparse["indices"], sparse["values"]
        indices = np.zeros((count, 1), _TYPES[place["componentType"]])
        view, _ = self.view(place["bufferView"])
        indices = self._strided(-1, view[place.get("byteOffset", 0) :], 0, indices)
        view, _ = self.view(data["bufferView"])
        new = np.zeros((count, values.shape[1]), values.dtype)
        values[indices[:, 0]] = self._strided(-1, view[data.get("byteOffset", 0) :], 0, new)
        return values


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Turns what a file of another structure than glTF's raises into a SceneError."""
    try:
        yield
    except SceneError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise SceneError(f"{path} is broken glTF ({sentence(error)}): export it anew") from error


def open_document(path: Path) -> Document:
    """The document in a file; SceneError for what is broken, missing or compressed."""
    with faults_of(path):
        return _opened(path)


def _opened(path: Path) -> Document:
    content, binary = _contents(path, path.read_bytes())
    if not isinstance(content, dict) or not isinstance(content.get("asset"), dict):
        raise SceneError(f'{path} is JSON but no glTF: it has no "asset"; export it as glTF 2.0')
    version = str(content["asset"].get("version", ""))
    if not version.startswith("2"):
        raise SceneError(f"{path} is glTF {version or 'of no version'}: export it as glTF 2.0")
    for extension in content.get("extensionsRequired", []):
        if extension in _UNREADABLE:
            raise SceneError(
                f"{path} needs {_UNREADABLE[extension]} ({extension}), which is not read: export"
                " it without compression"
            )
    check_files(path, content)
    buffers = [
        binary if "uri" not in buffer and index == 0 else uri_bytes(path, buffer.get("uri", ""))
        for index, buffer in enumerate(content.get("buffers", []))
    ]
    for index, buffer in enumerate(content.get("buffers", [])):
        if len(buffers[index]) < buffer["byteLength"]:
            raise SceneError(
                f"{path} is cut short: buffer {index} has {len(buffers[index])} bytes, not"
                f" {buffer['byteLength']}; copy or export the scene's files anew"
            )
    return Document(path=path, content=content, buffers=buffers)


def _contents(path: Path, data: bytes) -> tuple[Any, bytes]:
    """The JSON and the binary part."""
    binary = b""
    text = data
    if data[:4] == b"glTF":
        text, binary = _chunks(path, data)
    elif path.suffix.lower() == ".glb":
        raise SceneError(f"{path} is no binary glTF (it does not begin with glTF): export it anew")
    try:
        return json.loads(text.decode("utf-8-sig")), binary
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{path} is no valid JSON ({error}): export it anew") from error


def _chunks(path: Path, data: bytes) -> tuple[bytes, bytes]:
    """The JSON chunk and the binary chunk of a GLB file."""
    text, binary, place = b"", b"", 12
    length = struct.unpack_from("<I", data, 8)[0] if len(data) >= 12 else 12
    if length > len(data) or len(data) < 20:
        raise SceneError(
            f"{path} is cut short: it has {len(data)} bytes, not {length}; copy or export it anew"
        )
    while place + 8 <= length:
        size, kind = struct.unpack_from("<II", data, place)
        chunk = data[place + 8 : place + 8 + size]
        if kind == _JSON_CHUNK and not text:
            text = chunk
        elif kind == _BINARY_CHUNK and not binary:
            binary = chunk
        place += 8 + size
    return text, binary


def check_files(path: Path, content: Values) -> None:
    """SceneError if a buffer's or a picture's file is missing, empty or elsewhere."""
    references = [
        Reference(what=what, written=unquote(str(part["uri"])))
        for key, what in (("buffers", "mesh buffer"), ("images", "texture"))
        for part in content.get(key, [])
        if "uri" in part and not str(part["uri"]).startswith("data:")
    ]
    checked_paths(path, references)


def uri_bytes(path: Path, uri: str) -> bytes:
    """What a URI of a glTF file holds."""
    if uri.startswith("data:"):
        head, _, data = uri.partition(",")
        if not head.endswith(";base64"):
            return unquote(data).encode("latin-1")
        try:
            return base64.b64decode(data, validate=False)
        except (binascii.Error, ValueError) as error:
            raise SceneError(
                f"{path} holds data that is no base64 ({error}): export it anew"
            ) from error
    if not uri:
        raise SceneError(f"{path} has a buffer without data: export it anew")
    return checked_paths(path, [Reference(what="file", written=unquote(uri))])[0].read_bytes()
