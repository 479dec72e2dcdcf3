"""Where what was made from a capture is kept, and how it appears there whole or not at all."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from neural_render.core.errors import CaptureError
from neural_render.core.files import expanded

# Bytes at a file's start and end that its fingerprint is taken of.
_SAMPLE = 65536

_log = logging.getLogger("neural_render")


def place_for(folder: Path) -> Path:
    """``folder`` itself where files can be made in it, else a folder of its own in the user's
    cache (``$XDG_CACHE_HOME/neural_render`` or ``~/.cache/neural_render``).

    CaptureError if neither can be written.
    """
    with contextlib.suppress(OSError):
        # A folder that nobody may write binds root too, whom nothing is forbidden.
        if folder.stat().st_mode & 0o222:
            with tempfile.TemporaryDirectory(prefix=".neural_render", dir=folder):
                return folder
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    cache = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    place = cache / "neural_render" / f"{folder.name}-{digest}"
    try:
        if not cache.is_absolute():
            raise FileNotFoundError(f"there is no home for {cache}")
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptureError(
            f"what is made from photos cannot be kept on disk, since neither {folder} nor {cache}"
            " can be written: allow writing one of them, or set XDG_CACHE_HOME to a folder with"
            " space"
        ) from error
    _log.info("%s cannot be written to: %s is used", folder, place)
    return place


def put(finished: Path, place: Path) -> None:
    """Moves a finished folder to ``place``, where an older one gives way.

    A kill between the two renames leaves the finished folder under its first name, to be made anew.
    """
    old = place.with_name(f".{place.name}.old")
    with told(place):
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        finished.rename(place)
        shutil.rmtree(old, ignore_errors=True)


def fingerprints(root: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Size and a digest of both ends of each file, which a copy of the folder keeps."""
    return {name: _fingerprint(root / name) for name in names}


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` wrote; empty where there is nothing, or nothing of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Writes what something was made from, and how, beside it."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_finds(finds: bool, what: str, place: Path) -> None:
    """CaptureError where ``what`` would have to be found anew for a run that has seen others."""
    if not finds:
        raise CaptureError(
            f"{what} are not in {place} as the run found them, and found anew they would be others:"
            " restore that folder, give capture.path= where it is, or train anew without run="
        )


@contextlib.contextmanager
def told(place: Path) -> Iterator[None]:
    """Turns errors of the file system into one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CaptureError(
            f"{error.filename or place} cannot be written ({reason}): free some space there, or"
            " copy the capture to a disk that has some"
        ) from error


def _fingerprint(path: Path) -> list[Any]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(_SAMPLE))
            file.seek(max(_SAMPLE, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    except OSError as error:
        raise CaptureError(
            f"{path} cannot be read ({error.strerror}): allow reading it or remove it"
        ) from error
    return [size, digest.hexdigest()[:16]]
