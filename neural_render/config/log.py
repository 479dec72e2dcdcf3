"""The package's log on the terminal: what happens on stdout, warnings on stderr."""

import io
import logging
import sys
from typing import Any

from tqdm import tqdm

from neural_render.core.waiting.bars import let_bars_tick


class TerminalHandler(logging.Handler):
    """Writes above running progress bars; a closed pipe is an error, as for any other output."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line for the record, warnings introduced as such; in a file it is at once."""
        if record.levelno >= logging.WARNING:
            tqdm.write(f"warning: {self.format(record)}", file=sys.stderr)
        else:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()


def listen(level: int = logging.INFO) -> None:
    """Sends the package's log from ``level`` on to the terminal, and nowhere else; bars tick."""
    logger = logging.getLogger("neural_render")
    logger.handlers[:] = [TerminalHandler()]
    logger.setLevel(level)
    logger.propagate = False
    let_bars_tick()


class LastLine(io.TextIOBase):
    """Writes on to a stream and remembers the last line that had text."""

    def __init__(self, stream: Any) -> None:
        self.last = ""
        self._stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        """Passes ``text`` on."""
        *whole, self._begun = (self._begun + text).split("\n")
        self.last = next((line for line in reversed(whole) if line.strip()), self.last)
        return self._stream.write(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding
