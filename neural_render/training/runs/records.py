"""Frozen records to JSON and back, checked field by field: a file is never trusted."""

import dataclasses
import typing
from typing import Any, TypeVar

Record = TypeVar("Record")


def to_json(record: Any) -> dict[str, Any]:
    """The record as plain dictionaries, lists, numbers and strings."""
    return dataclasses.asdict(record)


def from_json(kind: type[Record], value: Any, name: str) -> Record:
    """The record of type ``kind`` that ``value`` describes; ValueError in words if it does not.

    ``name`` is where the value stands, as the messages call it.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, not {_shown(value)}")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    missing = [wanted for wanted in names if wanted not in value]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise ValueError(f"{name} has unknown entries {', '.join(unknown)}")
    return kind(**{key: _checked(hints[key], value[key], f"{name}.{key}") for key in names})


def _checked(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), value, name)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{name} must be one of {arguments}, not {_shown(value)}")
        return value
    if origin is tuple and arguments[1:] == (...,):
        if not isinstance(value, list):
            raise ValueError(f"{name} must be a list, not {_shown(value)}")
        return tuple(_checked(arguments[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if origin is tuple:
        if not isinstance(value, list) or len(value) != len(arguments):
            raise ValueError(f"{name} must be a list of {len(arguments)}, not {_shown(value)}")
        pairs = zip(arguments, value, strict=True)
        return tuple(_checked(part, item, f"{name}[{i}]") for i, (part, item) in enumerate(pairs))
    accepted = (int, float) if hint is float else (hint,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{name} must be of type {hint.__name__}, not {_shown(value)}")
    try:
        return hint(value)
    except OverflowError as error:  # JSON's whole numbers have no end, floats have
        raise ValueError(f"{name}={_shown(value)} is too large") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
