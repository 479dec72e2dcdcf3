"""The package's log on the terminal: what happens on stdout, warnings on stderr."""

import logging
import sys

from tqdm import tqdm


class TerminalHandler(logging.Handler):
    """Writes above running progress bars; a closed pipe is an error, as for any other output."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line for the record, warnings introduced as such."""
        if record.levelno >= logging.WARNING:
            tqdm.write(f"warning: {self.format(record)}", file=sys.stderr)
        else:
            tqdm.write(self.format(record), file=sys.stdout)


def listen() -> None:
    """Sends the package's log to the terminal, and nowhere else."""
    logger = logging.getLogger("neural_render")
    logger.handlers[:] = [TerminalHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
