"""Who watches training: nobody, or the live viewer between any two steps."""

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol, runtime_checkable

from neural_render.core.errors import SettingError
from neural_render.training.runs.folder import RunFolder
from neural_render.viewer.server import free_port, load_viser
from neural_render.viewer.settings import ViewerSettings
from neural_render.viewer.stage import Report, Stage, Surroundings
from neural_render.viewer.viewer import LONGEST_WAIT, Viewer


@runtime_checkable
class Audience(Protocol):
    """What the loop of training asks and tells."""

    def begin(self, stage: Callable[[], Stage]) -> None:
        """Takes in what there will be to see, which is made only for those who look."""
        ...

    def told(self, reports: Sequence[Report]) -> None:
        """Takes in how training goes."""
        ...

    def is_waiting(self, step: int) -> bool:
        """Whether `serve` is wanted after ``step``: asked after each one."""
        ...

    def serve(self, step: int, stopped: Callable[[], bool]) -> None:
        """Shows the field as it is, for a picture's time, or until training shall go on."""
        ...


class Nobody:
    """No audience."""

    def __enter__(self) -> "Nobody":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""

    def begin(self, stage: Callable[[], Stage]) -> None:
        """Nothing."""

    def told(self, reports: Sequence[Report]) -> None:
        """Nothing."""

    def is_waiting(self, step: int) -> bool:
        """False."""
        return False

    def serve(self, step: int, stopped: Callable[[], bool]) -> None:
        """Nothing."""


NOBODY = Nobody()


class Watchers:
    """Browsers that watch, in their share of the time. Inside ``with`` the page stays open."""

    def __init__(
        self, settings: ViewerSettings, surroundings: Surroundings, run: RunFolder
    ) -> None:
        self._settings, self._surroundings, self._run = settings, surroundings, run.path
        self.viewers: list[Viewer] = []  # none before training begins, then one
        self.next_at = 0.0  # no picture earlier
        self._open = ExitStack()

    def __enter__(self) -> "Watchers":
        return self

    def __exit__(self, *_: object) -> None:
        for viewer in self.viewers:
            run = shlex.quote(str(self._run))
            viewer.end(f"Training is over. `python scripts/view.py run={run}` shows the run.")
        self._open.close()

    def begin(self, stage: Callable[[], Stage]) -> None:
        """Opens the page."""
        viewer = Viewer(stage(), self._surroundings, self._settings, trains=True)
        self.viewers.append(self._open.enter_context(viewer))

    def told(self, reports: Sequence[Report]) -> None:
        """Shows numbers and the curve."""
        for viewer in self.viewers:
            for report in reports:
                viewer.told(report)

    def is_waiting(self, step: int) -> bool:
        """Whether training stands still, or somebody waits and their share of time allows it."""
        (viewer,) = self.viewers
        if viewer.paused:
            return True
        return time.perf_counter() >= self.next_at and viewer.is_wanted(step)

    def serve(self, step: int, stopped: Callable[[], bool]) -> None:
        """One picture; while somebody paused training, as many as are wanted."""
        (viewer,) = self.viewers
        began = time.perf_counter()
        viewer.attend(step)
        self.rest(time.perf_counter() - began)
        while viewer.paused and not stopped():
            if not viewer.attend(step):
                viewer.wait(LONGEST_WAIT, step)

    def rest(self, spent: float) -> None:
        """Leaves training its share of the time after a picture that took so many seconds."""
        share = self._settings.share
        self.next_at = time.perf_counter() + spent * (1 - share) / share


def audience_of(
    settings: ViewerSettings, surroundings: Callable[[], Surroundings], run: RunFolder
) -> Watchers | Nobody:
    """The audience that the settings ask for, to be used in ``with``."""
    return Watchers(settings, surroundings(), run) if settings.show else NOBODY


def check_audience(settings: ViewerSettings, num_processes: int) -> None:
    """Nothing if training can be shown as the settings ask: to be known before all work.

    SettingError where several processes train, which would wait for the viewer, or for an address
    that is no good; UserError where pages cannot be served.
    """
    if not settings.show:
        return
    if num_processes > 1:
        raise SettingError(
            f"viewer=on shows training in one process, and {num_processes} share it: leave it out,"
            " or train without torchrun."
        )
    load_viser()
    free_port(settings.host, settings.port)
