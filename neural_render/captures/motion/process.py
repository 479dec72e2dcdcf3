"""COLMAP's process as the rest of the program sees it: started, listened to, ended."""

import contextlib
import importlib.util
import json
import logging
import os
import selectors
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from neural_render.core.errors import CaptureError

PACKAGE_ROOT = Path(__file__).resolve().parents[3]
POLL_SECONDS = 0.5
LOG_SECONDS = 15.0  # between log lines where no bar is shown
# What the stages are called, and the database's table that grows by a row for each thing done.
_STAGES = {
    "features": ("photos with features", "photo", "keypoints"),
    "pairs": ("pairs matched", "pair", "two_view_geometries"),
    "placed": ("photos placed", "photo", ""),
}

_log = logging.getLogger("neural_render")


def run_colmap(job: dict[str, Any], *, progress: bool) -> dict[str, Any]:
    """What the worker found; CaptureError where it broke down. It never outlives this call."""
    if importlib.util.find_spec("pycolmap") is None:
        raise CaptureError(
            f"the photos of {job['images']} have no poses and pycolmap, which finds them, is not"
            " installed: pip install pycolmap, or give a capture with poses"
        )
    path = filter(None, [str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "neural_render.captures.motion.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            # Ctrl-C is for the program that asked, which ends this process.
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()
            with contextlib.closing(_Progress(job["database"], shown=progress)) as bars:
                answer = _listen(process, bars)
            if answer is None:
                errors.seek(0)
                raise _broken(process.wait(), errors.read())
            return answer
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()


def _listen(process: subprocess.Popen[bytes], bars: "_Progress") -> dict[str, Any] | None:
    """The last word of the worker; None where it ended without one."""
    assert process.stdout is not None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(POLL_SECONDS):
                bars.look()
                continue
            received = os.read(process.stdout.fileno(), 65536)
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                found = json.loads(line)
                if found["event"] == "done":
                    return found
                bars.show(found["stage"], found["done"], found["of"])
            if not received:
                return None


class _Progress:
    """A bar for each stage, or a log line now and then."""

    def __init__(self, database: str, *, shown: bool) -> None:
        self._database, self._shown = database, shown
        self._stage, self._total, self._logged = "", 0, time.monotonic()
        self._bar: tqdm[Any] | None = None

    def show(self, stage: str, done: int, total: int) -> None:
        """The stage that is worked on and how far it is."""
        name, unit, _ = _STAGES[stage]
        if stage != self._stage:
            self.close()
            self._stage, self._total = stage, total
            self._bar = tqdm(desc=name, total=total, unit=unit, disable=not self._shown)
            self._logged = time.monotonic()
        assert self._bar is not None
        self._bar.update(max(0, done - self._bar.n))
        if not self._shown and time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            _log.info("%s: %d of %d", name, done, total)

    def look(self) -> None:
        """Counts what the worker's database holds by now."""
        table = _STAGES[self._stage][2] if self._stage else ""
        if not table:
            return
        with contextlib.suppress(sqlite3.Error):  # the worker writes at this moment
            place = f"{Path(self._database).as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(place, uri=True)) as database:
                (done,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
            self.show(self._stage, min(int(done), self._total), self._total)

    def close(self) -> None:
        """Ends the bar of the stage that is over."""
        if self._bar is not None:
            self._bar.close()


def _broken(code: int, log: str) -> CaptureError:
    """The sentence for a worker that ended without a word."""
    how = f"with code {code}"
    if code < 0:
        how = f"by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            how += " (the system may be out of memory: close other programs)"
    lines = [line.strip() for line in log.splitlines() if line.strip() and line[0] != "W"]
    return CaptureError(
        f"COLMAP's process ended {how}{': ' + lines[-1] if lines else ''}; start again to go on"
        " from where it was, or find the poses with another program"
    )
