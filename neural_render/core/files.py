"""Files that appear whole or not at all, that one program holds, that are read untrusted."""

import errno
import json
import os
import stat
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO
from zipfile import BadZipFile

from neural_render.core.errors import OutputError

try:
    import fcntl
except ImportError:  # not on Windows, where two programs at once are the user's to avoid
    fcntl = None

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP)  # what file systems say that sync files alone
# What numpy raises for a file that holds no arrays, or fewer than it says.
NO_ARRAYS = (OSError, ValueError, EOFError, KeyError, TypeError, ArithmeticError)
NO_ARRAYS += (SyntaxError, TokenError, BadZipFile, NotImplementedError, zlib.error)
LARGEST_PICTURE = 1 << 30  # pixels
_limits: list[int | None] = []  # Pillow's, as they were before each block of `large_pictures`
_limits_turn = threading.Lock()


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends well, else removed.

    If ``durable`` it is on the disk before, so that a power cut leaves no empty file under the
    name; pictures, of which films have thousands, can be made again. It keeps the ending of the
    name, since writers choose their format by it; missing folders are made. What a killed program
    left of it is written over by the next. Every ``OSError`` of the block becomes an
    ``OutputError`` that names ``path``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft(path) as temporary:
            yield temporary
            if durable:
                sync(temporary)
            os.replace(temporary, path)
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """The first of ``.0.name``, ``.1.name``, ... that no living program writes to.

    It is gone after an error.
    """
    temporary, held = _reserved(path)
    try:
        yield temporary
    except BaseException:
        # An error here (the folder is gone or is a file) says no more than the one before.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    finally:
        held.close()


def _reserved(path: Path) -> tuple[Path, BinaryIO]:
    """A path beside ``path`` that is this program's as long as the file is open."""
    for number in count(0 if fcntl else os.getpid()):
        temporary = path.with_name(f".{number}.{path.name}")
        held = temporary.open("ab")
        # What was renamed or removed in between is no longer what the name stands for.
        if lock(held.fileno()) and _is_named(held, temporary):
            if fcntl is None:  # there, what is open cannot be renamed
                held.close()
            return temporary, held
        held.close()
    raise AssertionError("some number is free")


def _is_named(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Asks the disk to keep a file, or a folder's entries where its file system can be asked."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDERS or not path.is_dir():
            raise
    finally:
        os.close(handle)


def expanded(path: str | Path) -> Path:
    """The path with ``~`` and ``~user`` replaced; as it is where nobody knows that home."""
    return Path(os.path.expanduser(path))


def check_place(path: Path) -> Path:
    """The path, where a file could be made as far as one can tell; OutputError else.

    For what takes long to make, and so is looked at before it is made.
    """
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise output_error(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise output_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return path


def check_draft(path: Path) -> None:
    """OutputError where nothing can be written beside ``path``, which stays as it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft(path) as temporary:
            temporary.unlink()
    except OSError as error:
        raise output_error(path, error) from error


def lock(file: int) -> bool:
    """Whether an open file or folder is now this program's alone, until it is closed.

    Where nobody can tell, because the system or the disk knows no locks, it is.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True


def output_error(path: Path, error: OSError) -> OutputError:
    """The sentence for a file that could not be written: which, why, how to mend it."""
    if error.errno in _FULL:
        mend = "free some space there, or choose another disk"
    elif error.errno in _FORBIDDEN:
        mend = "choose a folder that you may write to"
    else:
        mend = "choose another place"
    reason = (error.strerror or str(error) or type(error).__name__).strip()
    setting = "with outputs=DIR (an export or a package: output=FILE)"
    return OutputError(f"{path} cannot be written ({reason}): {mend} {setting}.")


def checked_file(path: Path) -> Path:
    """The path of a file that can be read; OSError, saying what it is, for a folder, a pipe ...

    Whoever opened a pipe would wait without end, and a device may never end.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise OSError(errno.EINVAL, f"it is {kind} and no file", str(path))
    with path.open("rb"):
        return path


def read_json(path: Path) -> Any:
    """What a JSON file holds; OSError where it cannot be read, ValueError where it is not JSON."""
    try:
        return json.loads(checked_file(path).read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


# What pictures may be: Pillow goes by what a file holds, and would run Ghostscript on PostScript.
# With JPEG, MPO is opened, which phones write.
PICTURE_KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "TGA", "DDS", "JPEG2000")


@contextmanager
def large_pictures() -> Iterator[None]:
    """Inside, in whichever threads, Pillow opens pictures of up to ``LARGEST_PICTURE`` pixels.

    By itself it refuses from 179 million on, and warns from 89: phones and panoramas have as many.
    """
    import PIL.Image

    with _limits_turn:
        _limits.append(PIL.Image.MAX_IMAGE_PIXELS)
        if _limits[-1] is not None:  # it warns of so many, and refuses twice as many
            PIL.Image.MAX_IMAGE_PIXELS = max(_limits[-1], LARGEST_PICTURE // 2)
    try:
        yield
    finally:
        with _limits_turn:  # the last one to end takes back what the first one found
            PIL.Image.MAX_IMAGE_PIXELS = _limits.pop()
