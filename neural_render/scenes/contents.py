"""What a scene consists of on disk, by the digests of its files, wherever these lie."""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from neural_render.core.files import expanded
from neural_render.scenes.settings import SceneSettings

MOST_FILES = 100_000  # beside a scene that are looked at
NAMING = (".xml", ".gltf", ".obj", ".mtl", ".usda")  # what names further files in plain text
STATED = ("scene.path", "scene.environment")  # what stands for files that settings name
LARGEST_TEXT = 1 << 22  # bytes at a file's beginning that are looked through for names


def scene_contents(path: Path, scene: SceneSettings, outputs: Path) -> dict[str, str]:
    """The digests of a scene's file, of what it names in its folder or below, and of its sky.

    The first and the last are called as the settings are, the others by their place beside the
    scene. What names no files in plain text (.blend, .fbx, .usdc) stands for itself alone. What
    lies in ``outputs`` is no part of it, nor what is hidden or has no ending, as in repositories.
    """
    path = path.resolve()
    found = {name: digest(file) for name, file in _stated(path, scene).items()}
    files = files_beside(path, outputs.resolve())
    names = (name for name, _, _ in islice(files, MOST_FILES))
    beside = [path.parent / name for name in names if Path(name).suffix]
    unread = [path]
    while unread:
        text = _text(unread.pop())
        for file in beside:
            key = file.relative_to(path.parent).as_posix()
            if file != path and key not in found and _names(text, file.name):
                found[key] = digest(file)
                unread.append(file)
    return found


def changed_contents(before: Mapping[str, str], path: Path, scene: SceneSettings) -> list[str]:
    """The names of what is no longer as ``scene_contents`` found it."""
    path = path.resolve()
    files = {name: path.parent / name for name in before if name not in STATED}
    files |= _stated(path, scene)
    now = {name: digest(file) for name, file in files.items() if file.is_file()}
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def _stated(path: Path, scene: SceneSettings) -> dict[str, Path]:
    """The files that the settings name, by these."""
    files = (path, expanded(scene.environment)) if scene.environment else (path,)
    return dict(zip(STATED, files, strict=False))


def digest(file: Path) -> str:
    """Of all that a file holds."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def files_beside(path: Path, outputs: Path | None = None) -> Iterator[tuple[str, int, int]]:
    """Names, sizes and times of the files in a scene's folder and below, in a fixed order.

    They are not read: among them may be anything, of any size. Left out are the folder ``outputs``,
    what is hidden, and what may not be looked at or goes meanwhile.
    """
    for folder, folders, files in os.walk(path.parent):
        here = Path(folder)
        shown = (name for name in folders if not name.startswith("."))
        folders[:] = sorted(name for name in shown if here / name != outputs)
        for name in sorted(name for name in files if not name.startswith(".")):
            entry = here / name
            with contextlib.suppress(OSError):
                found = entry.stat()
                if stat.S_ISREG(found.st_mode):
                    yield str(entry.relative_to(path.parent)), found.st_size, found.st_mtime_ns


def _text(file: Path) -> bytes:
    """Where a file that names others does so; nothing of other files."""
    if file.suffix.lower() not in NAMING:
        return b""
    with file.open("rb") as stream:
        return stream.read(LARGEST_TEXT)


def _names(text: bytes, name: str) -> bool:
    """Whether a text has the name, not as a part of a longer one."""
    either = b"|".join(re.escape(form) for form in (os.fsencode(name), quote(name).encode()))
    return re.search(rb"(?<![\w.-])(?:" + either + rb")(?![\w.-])", text) is not None
