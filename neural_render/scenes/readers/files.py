"""Files that a scene refers to: inside its folder, there, and not empty."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from neural_render.core.errors import SceneError, reason_of

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A file that a scene names: what it is to the scene (mesh, texture) and how it is written."""

    what: str
    written: str


def checked_paths(scene: Path, references: Iterable[Reference]) -> list[Path]:
    """Absolute paths of the files, all of which can be read; SceneError names those that cannot."""
    references = list(references)
    paths = [_inside(scene, reference) for reference in references]
    found = list(zip(references, paths, strict=True))
    missing = [reference for reference, path in found if not path.is_file()]
    if missing:
        raise SceneError(
            f"{scene} refers to {_listed(missing)}, not to be found in {scene.parent}: put the"
            " missing files there or correct the names in the scene"
        )
    empty = [reference for reference, path in found if path.stat().st_size == 0]
    if empty:
        raise SceneError(
            f"{scene} refers to {_listed(empty)}, of 0 bytes: copy or export the scene's files anew"
        )
    return paths


def _inside(scene: Path, reference: Reference) -> Path:
    """The absolute path of a file; SceneError if it leaves the scene's folder."""
    folder = os.path.abspath(scene.parent)
    written = reference.written.replace("\\", "/")
    if "\0" in written or not written.strip():
        raise SceneError(
            f"{scene} refers to a {reference.what} without a proper name ({reference.written!r}):"
            " give the name of a file in the scene's folder"
        )
    path = os.path.abspath(os.path.join(folder, written))
    if os.path.commonpath([folder, path]) != folder:
        raise SceneError(
            f"{scene} refers to the {reference.what} {reference.written}, outside its own folder:"
            " copy that file beside the scene and refer to the copy"
        )
    return Path(path)


def _listed(references: list[Reference]) -> str:
    """The first files by name, and how many more there are."""
    unique = list(dict.fromkeys((part.what, part.written) for part in references))
    unique.sort(key=lambda part: part[0] != "mesh")
    shown = ", ".join(f"the {what} {written}" for what, written in unique[:_SHOWN])
    more = len(unique) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def sentence(error: Exception) -> str:
    """An exception of a library in one line, without places in Mitsuba's own source."""
    return re.sub(r"\[\w+\.(?:cpp|h):\d+\]\s*", "", reason_of(error))
