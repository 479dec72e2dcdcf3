"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neural_render.core.errors import OutputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends well, else removed.

    It keeps the ending of the name, since writers choose their format by it; missing folders are
    made. Every ``OSError`` of the block becomes an ``OutputError`` that names ``path``.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        # An error here (the folder is gone or is a file) says no more than the one before.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """The sentence for a file that could not be written: which, why, how to mend it."""
    if error.errno in _FULL:
        mend = "free some space there, or choose another disk with outputs=DIR"
    elif error.errno in _FORBIDDEN:
        mend = "choose a folder that you may write to with outputs=DIR"
    else:
        mend = "choose another place with outputs=DIR"
    reason = (error.strerror or str(error) or type(error).__name__).strip()
    return OutputError(f"{path} cannot be written ({reason}): {mend}.")
