"""The numbers of a run while it trains: ``metrics.jsonl`` and TensorBoard."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neural_render.core.files import checked_file, whole_file
from neural_render.core.processes import group
from neural_render.training.runs.atomic import writing
from neural_render.training.runs.folder import RunFolder

CURVES = ("loss", "psnr", "learning_rate", "samples_per_ray", "rays_per_second", "occupied")


class MetricsLog:
    """Writes one line per report, and TensorBoard's events where that is installed and wanted.

    Of several processes the first one's goes to the run.
    """

    def __init__(self, run: RunFolder, *, resumed_step: int, tensorboard: bool) -> None:
        """Takes up after ``resumed_step``: what a killed run reported beyond it is dropped."""
        self._path = run.metrics_path if group.is_first() else Path(os.devnull)
        tensorboard = tensorboard and group.is_first()
        if group.is_first():
            drop_lines_after(run, resumed_step)
        with writing(self._path):
            self._file = self._path.open("a", encoding="utf-8")
        self._events = events_writer(run, resumed_step) if tensorboard else None

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self._path):
            self._file.close()
            if self._events is not None:
                self._events.close()

    def write(self, line: Mapping[str, int | float]) -> None:
        """Adds a report; it is in the file when this returns."""
        with writing(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            if self._events is not None:
                for name in filter(line.__contains__, CURVES):  # some have no PSNR
                    self._events.add_scalar(f"training/{name}", line[name], int(line["step"]))


def drop_lines_after(run: RunFolder, step: int) -> None:
    """Keeps the whole lines of ``metrics.jsonl`` up to ``step``."""
    if not run.metrics_path.is_file():
        return
    with writing(run.metrics_path):
        # Another program may have written into it: those bytes are kept with their lines.
        text = checked_file(run.metrics_path).read_text(encoding="utf-8", errors="surrogateescape")
    lines = text.splitlines()
    kept = [line for line in lines if reported_step(line) <= step]
    if len(kept) < len(lines):
        with whole_file(run.metrics_path) as path:
            content = "".join(line + "\n" for line in kept)
            path.write_text(content, encoding="utf-8", errors="surrogateescape")


def reported_step(line: str) -> float:
    """The step of a line of ``metrics.jsonl``; infinite if a crash cut the line off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")


def events_writer(run: RunFolder, resumed_step: int) -> Any | None:
    """TensorBoard's writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(run.tensorboard_path, purge_step=resumed_step + 1)
