"""A folder that cameras are exported into: what this program wrote there, and what it did not."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from neural_render.captures.readers.registry import READERS
from neural_render.captures.workplace import read_record
from neural_render.core.errors import OutputError
from neural_render.core.files import whole_file

RECORD = Path(".neural_render", "cameras.json")  # of the names that are ours
LINK = "images"
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


def check_free(folder: Path, photos: Path | None) -> None:
    """OutputError where ``folder`` is a capture, or holds parts of one, that are not ours.

    ``photos`` is the folder that `LINK` is to lead to, if there are any photos.
    """
    own = _own(folder)
    found = [name for name in NAMES if name not in own and os.path.lexists(folder / name)]
    link = folder / LINK
    if LINK not in own and link.is_symlink() and photos and link.resolve() != photos.resolve():
        found.append(LINK)
    if not (own or found) and folder.is_dir():
        found = [f"a {it.name} capture" for it in READERS if not it.missing_in(folder)][:1]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise OutputError(
            f"{folder} holds {found[0]}{more}, which no earlier export.format=cameras has written"
            " and this one does not replace: give another folder with output=DIR, or move that"
            " away."
        )


@contextmanager
def noted(folder: Path, photos: Path | None) -> Iterator[None]:
    """Notes what the block writes in ``folder`` as ours; see `check_free`."""
    check_free(folder, photos)
    own = _own(folder)
    ours = [name for name in (*NAMES, LINK) if name in own or not os.path.lexists(folder / name)]
    _note(folder, ours)  # so that what a killed export leaves may be replaced
    try:
        yield
    finally:
        _note(folder, [name for name in ours if os.path.lexists(folder / name)])


def _own(folder: Path) -> list[str]:
    """The names in ``folder`` that an earlier export has written."""
    names = read_record(folder / RECORD).get("written", [])
    return names if isinstance(names, list) else []


def _note(folder: Path, names: Iterable[str]) -> None:
    with whole_file(folder / RECORD) as temporary:
        temporary.write_text(json.dumps({"written": list(names)}, indent=1), encoding="utf-8")
