"""What one visitor should see next: pure decisions, given the time."""

from dataclasses import dataclass

from neural_render.viewer.pictures.drawing import Drawing
from neural_render.viewer.pictures.resolution import Costs, Pace, sharper
from neural_render.viewer.requests import Look, View

STILL = 0.15  # seconds without a change after which pictures get finer
RENEWED = 2.0  # seconds after which what somebody looks at is drawn anew as training goes on


@dataclass(frozen=True, kw_only=True)
class Job:
    """A picture to make: ``factor`` coarser than the window; ``final``: nothing finer follows.

    ``renders`` is false where the rays are there already and only their colours change. A picture
    that ``waits`` is given up as soon as its visitor moves on; others are made in longer steps.
    """

    view: View
    look: Look
    factor: float
    final: bool
    renders: bool
    waits: bool


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The picture that a visitor has, and when its rays were shot."""

    job: Job
    drawing: Drawing
    version: int  # of the field
    at: float


class Visitor:
    """One browser: where it looks from, what it was shown, and what it should be shown next."""

    def __init__(self, seconds_per_picture: float, costs: Costs) -> None:
        self.view: tuple[View, ...] = ()  # none before the first message
        self.look = Look()
        self.shown: tuple[Shown, ...] = ()  # none before the first picture
        self._seconds, self._costs = seconds_per_picture, costs
        self._paces: dict[str, Pace] = {}
        self._changed_at = 0.0

    def moved(self, view: View, now: float) -> None:
        """Takes in where the visitor looks from."""
        if self.view != (view,):
            self.view, self._changed_at = (view,), now

    def wants(self, look: Look, now: float) -> None:
        """Takes in what the visitor wants to see."""
        if look.of_rays != self.look.of_rays:
            self._changed_at = now
        self.look = look

    @property
    def pace(self) -> Pace:
        """What pictures of this kind cost."""
        kind = self.look.kind
        return self._paces.setdefault(kind, Pace(self._seconds, self._costs, kind))

    def is_outdated(self, job: Job) -> bool:
        """Whether the visitor wants something else by now."""
        return self.view != (job.view,) or self.look.of_rays != job.look.of_rays

    def next_job(self, now: float, version: int) -> Job | None:
        """The picture to make now; None: none is wanted yet."""
        if not self.view:
            return None
        view = self.view[0]
        if not self.shown or self.is_outdated(self.shown[0].job):
            factor = self.pace.moving_factor(view.width * view.height)
            return self._job(factor, final=False, renders=True, waits=False)
        shown = self.shown[0]
        job = shown.job
        if self.look != job.look:
            return self._job(job.factor, final=job.final, renders=False, waits=False)
        if now - self._changed_at < STILL:
            return None
        if job.factor > 1:
            finer = sharper(job.factor)
            return self._job(finer, final=finer == 1, renders=True, waits=True)
        if not job.final:
            return self._job(1.0, final=True, renders=True, waits=True)
        if version != shown.version and now - shown.at >= RENEWED:
            return self._job(1.0, final=True, renders=True, waits=True)
        return None

    def seconds_until_job(self, now: float, version: int) -> float:
        """How long nothing has to be made if nothing changes; infinite where all is done."""
        if not self.view or not self.shown:
            return float("inf")
        shown = self.shown[0]
        if not shown.job.final:
            return max(0.0, self._changed_at + STILL - now)
        return max(0.0, shown.at + RENEWED - now) if version != shown.version else float("inf")

    def got(self, job: Job, drawing: Drawing, version: int, now: float) -> None:
        """Takes in that a picture was sent; other colours make its rays no newer."""
        if not job.renders:
            version, now = self.shown[0].version, self.shown[0].at
        self.shown = (Shown(job=job, drawing=drawing, version=version, at=now),)

    def _job(self, factor: float, *, final: bool, renders: bool, waits: bool) -> Job:
        return Job(
            view=self.view[0],
            look=self.look,
            factor=factor,
            final=final,
            renders=renders,
            waits=waits,
        )
