"""The report of a training that ends before its time: its curves say why, or how far it was."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from neural_render.core.errors import DivergenceError, OutputError
from neural_render.core.processes import group
from neural_render.evaluation.pages.report import write_unmeasured_report
from neural_render.training.runs.folder import RunFolder
from neural_render.training.stopping import SIGNALS, StopSignals

_log = logging.getLogger("neural_render")


@contextmanager
def curves_left(run: RunFolder, signals: StopSignals, program: str) -> Iterator[None]:
    """Training inside that diverges or is stopped by a signal leaves a report with its curves.

    ``program``: see ``RunContext``. What is in the way of that is a warning: the state that was
    saved matters more.
    """
    try:
        yield
    except DivergenceError as error:
        write_curves(run, str(error))
        raise
    if signals.received is not None:
        measured = f": go on with python {program} {run.word}, and it is measured at the end"
        write_curves(
            run,
            f"Stopped by {SIGNALS[signals.received]} before it was measured. What was trained is"
            f" saved{measured if program else ''}.",
        )


def write_curves(run: RunFolder, why: str) -> None:
    """The report of a run that was not measured; a warning where it cannot be written."""
    if not group.is_first():
        return
    try:
        write_unmeasured_report(
            run.report_path, title=run.path.parent.name, why=why, curve=run.metrics_path
        )
    except OutputError as error:
        _log.warning("%s", error)
