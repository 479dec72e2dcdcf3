"""JSON files with checked types: every wrong value becomes one sentence that names its place."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from neural_render.core import files
from neural_render.core.errors import CaptureError, reason_of

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "the text",
    bool: "the truth value",
    int: "the number",
    float: "the number",
    type(None): "null",
}


@dataclass(frozen=True, kw_only=True)
class JsonTable:
    """An object of a JSON file: ``inner`` values first, then those of the object around it."""

    inner: dict[str, Any]
    outer: dict[str, Any]
    where: str  # "frame 3 of FILE"; of the inner values
    file: Path

    def place(self, key: str) -> str:
        """Where ``key`` stands, for messages."""
        return self.where if key in self.inner or key not in self.outer else str(self.file)

    def has(self, key: str) -> bool:
        """Whether ``key`` is stated and not null."""
        return self._value(key) is not None

    def is_number(self, key: str) -> bool:
        """Whether ``key`` is stated as one number."""
        value = self._value(key)
        return isinstance(value, int | float) and not isinstance(value, bool)

    def number(self, key: str, default: float) -> float:
        """A finite number, ``default`` where there is none."""
        return _number(self._value(key), key, self.place(key)) if self.has(key) else default

    def needed(self, key: str) -> float:
        """A finite number that must be there."""
        if not self.has(key):
            raise CaptureError(f"{self.where} has no {key}: complete the file")
        return self.number(key, 0.0)

    def whole_number(self, key: str, default: int) -> int:
        """A number without fraction (1080.0 is one), ``default`` where there is none."""
        value = self.number(key, float(default))
        if value != round(value):
            raise CaptureError(
                f"{key} in {self.place(key)} is {value:g}, but a whole number is wanted:"
                " correct the file"
            )
        return round(value)

    def text(self, key: str, default: str) -> str:
        """A text, ``default`` where there is none."""
        value = self._value(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise _wrong(key, self.place(key), value, "a text")
        return value

    def flag(self, key: str) -> bool:
        """true or false; false where nothing is stated."""
        value = self._value(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise _wrong(key, self.place(key), value, "true or false")
        return value

    def numbers(self, key: str, length: int) -> tuple[float, ...]:
        """A list of exactly ``length`` finite numbers."""
        value = self._list(key, f"a list of {length} numbers")
        if len(value) != length:
            raise CaptureError(
                f"{key} in {self.place(key)} has {len(value)} numbers, but {length} are wanted:"
                " correct the file"
            )
        return tuple(_number(entry, key, self.place(key)) for entry in value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where nothing is stated."""
        if not self.has(key):
            return ()
        value = self._list(key, "a list of texts")
        for entry in value:
            if not isinstance(entry, str):
                raise _wrong(f"an entry of {key}", self.place(key), entry, "a text")
        return tuple(value)

    def matrix(self, key: str) -> Float64[np.ndarray, "rows 4"]:
        """A matrix of 3 or 4 rows of 4 finite numbers."""
        wanted = "a matrix of 3 or 4 rows with 4 numbers each"
        rows = self._list(key, wanted)
        for row in rows:
            if not isinstance(row, list):
                raise _wrong(f"a row of {key}", self.place(key), row, "a list of 4 numbers")
        if len(rows) not in (3, 4) or any(len(row) != 4 for row in rows):
            shape = "x".join([str(len(rows)), "/".join(sorted({str(len(row)) for row in rows}))])
            raise CaptureError(
                f"{key} in {self.place(key)} has the shape {shape}, but {wanted} is wanted:"
                " correct the file"
            )
        return np.array([[_number(entry, key, self.place(key)) for entry in row] for row in rows])

    def rows(self, key: str, length: int) -> Float64[np.ndarray, "rows {length}"]:
        """A list of lists of exactly ``length`` finite numbers."""
        found = self._list(key, f"a list of lists of {length} numbers")
        for row in found:
            if not isinstance(row, list) or len(row) != length:
                raise CaptureError(
                    f"a row of {key} in {self.place(key)} is no list of {length} numbers: correct"
                    " the file"
                )
        numbers = [_number(value, key, self.place(key)) for row in found for value in row]
        return np.array(numbers, dtype=np.float64).reshape(-1, length)

    def objects(self, key: str, name: str) -> tuple["JsonTable", ...]:
        """The objects of a list that must not be empty, each inside this one, called ``name`` i."""
        found = self._list(key, "a list of objects")
        if not found:
            raise CaptureError(
                f"{key} in {self.where} is empty, so that the capture has no photos:"
                " list each photo with its camera there"
            )
        tables = []
        for index, entry in enumerate(found):
            if not isinstance(entry, dict):
                raise _wrong(f"{name} {index}", self.where, entry, "an object")
            where = f"{name} {index} of {self.file}"
            tables.append(JsonTable(inner=entry, outer=self.inner, where=where, file=self.file))
        return tuple(tables)

    def _value(self, key: str) -> Any:
        """What stands under ``key``; None where nothing does."""
        inner = self.inner.get(key)
        return self.outer.get(key) if inner is None else inner

    def _list(self, key: str, wanted: str) -> list[Any]:
        """The list under ``key``, which must be there."""
        value = self._value(key)
        if value is None:
            raise CaptureError(
                f"{self.where} has no {key}, but {wanted} is wanted there: complete the file"
            )
        if not isinstance(value, list):
            raise _wrong(key, self.place(key), value, wanted)
        return value


def read_json(path: Path) -> JsonTable:
    """The object that a JSON file holds; CaptureError where it cannot be read or is none."""
    try:
        content = files.read_json(path)
    except OSError as error:
        raise CaptureError(
            f"{path} cannot be read ({reason_of(error)}): make it a readable file"
        ) from error
    except ValueError as error:
        raise CaptureError(
            f"{path} is not valid JSON ({reason_of(error)}): correct or replace it"
        ) from error
    if not isinstance(content, dict):
        raise _wrong("the content", str(path), content, "an object with a list of frames")
    return JsonTable(inner=content, outer={}, where=str(path), file=path)


def _number(value: Any, key: str, place: str) -> float:
    """``value`` as a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, place, value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CaptureError(
            f"{key} in {place} holds {value if isinstance(value, float) else 'a huge number'},"
            " but only finite numbers are wanted: correct the file or remove that frame"
        )
    return number


def _wrong(key: str, place: str, value: Any, wanted: str) -> CaptureError:
    """The sentence for a value of the wrong type."""
    shown = "" if isinstance(value, dict | list) or value is None else f" {value!r:.60}"
    kind = _KINDS[type(value)]
    return CaptureError(
        f"{key} in {place} is {kind}{shown}, but {wanted} is wanted: correct the file"
    )
