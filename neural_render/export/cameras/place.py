"""A folder that cameras are exported into: what this program wrote there, and what it did not."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neural_render.captures.readers.registry import READERS
from neural_render.captures.workplace import read_record
from neural_render.core.errors import OutputError
from neural_render.core.files import output_error, whole_file

RECORD = Path(".neural_render", "cameras.json")  # of the names that are ours
LINK = "images"
MASKS = "masks"
LINKS = (LINK, MASKS)
MODEL = "sparse/0"
TRANSFORMS = "transforms.json"
POINTS = "sparse_pc.ply"  # nerfstudio's name for it
# What programs look for, and what they read in place of it.
NAMES = (
    TRANSFORMS,
    POINTS,
    *(
        f"{folder}/{part}.{kind}"
        for folder in (MODEL, "sparse")
        for part in ("cameras", "images", "points3D", "rigs", "frames")
        for kind in ("bin", "txt")
    ),
)

_log = logging.getLogger("neural_render")


def check_free(folder: Path, *roots: Path | None) -> None:
    """OutputError where ``folder`` is a capture, or holds parts of one, that are not ours.

    ``roots`` are the folders that `LINKS` are to lead to, if there are any photos and masks.
    """
    own = _own(folder)
    found = [name for name in NAMES if name not in own and os.path.lexists(folder / name)]
    for name, root in zip(LINKS, roots, strict=True):
        link = folder / name
        if name not in own and link.is_symlink() and root and link.resolve() != root.resolve():
            found.append(name)
    if not (own or found) and folder.is_dir():
        found = [f"a {it.name} capture" for it in READERS if not it.missing_in(folder)][:1]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise OutputError(
            f"{folder} holds {found[0]}{more}, of which {folder / RECORD} does not say that an"
            " earlier export has written it, so that this one does not replace it: give another"
            " folder with output=DIR, or move that away."
        )


def adopt(folder: Path) -> None:
    """Takes what lies in a run's own folder as ours, also from before that was noted."""
    there = [name for name in (*NAMES, *LINKS) if _is_there(folder / name)]
    if there and not _own(folder):
        _note(folder, there)


@contextmanager
def noted(folder: Path, *roots: Path | None) -> Iterator[list[Path]]:
    """Notes what the block writes in ``folder``, and puts into the list, as ours; see `check_free`.

    Where it ends well, what else an earlier export has written is removed: programs would read
    some of that in place of what is new.
    """
    check_free(folder, *roots)
    own = _own(folder)
    ours = [name for name in (*NAMES, *LINKS) if name in own or not os.path.lexists(folder / name)]
    _note(folder, ours)  # so that what a killed export leaves may be replaced
    written: list[Path] = []
    try:
        yield written
        _remove(folder, [name for name in ours if folder / name not in written])
    finally:
        _note(folder, [name for name in ours if _is_there(folder / name)])


def _is_there(path: Path) -> bool:
    """Whether there is a file or a link: all that is ever written."""
    return path.is_symlink() or path.is_file()


def _remove(folder: Path, names: Iterable[str]) -> None:
    for path in (folder / name for name in names):
        if _is_there(path):
            try:
                path.unlink()
            except OSError as error:
                raise output_error(path, error) from error
            _log.info("%s, of an earlier export, is removed", path)
    for emptied in (folder / MODEL, (folder / MODEL).parent):
        with suppress(OSError):  # others keep something there
            emptied.rmdir()


def _own(folder: Path) -> list[str]:
    """The names in ``folder`` that an earlier export has written."""
    names = read_record(folder / RECORD).get("written", [])
    return names if isinstance(names, list) else []


def _note(folder: Path, names: Iterable[str]) -> None:
    with whole_file(folder / RECORD) as temporary:
        temporary.write_text(json.dumps({"written": list(names)}, indent=1), encoding="utf-8")
