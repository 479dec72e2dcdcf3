"""What follows from the budget: how far training is, and learning rate, batch and step size there.

Everything but ``Clock`` is a pure function, so that a resumed run takes up where it was: a run that
is continued with a larger budget follows the schedule of that budget from there on.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from neural_render.training.settings import TrainingSettings

# A coarse march step while space is unpruned (the prototype's largest win): the factor, and the
# step and the fraction of the budget until which it holds, whichever comes first.
COARSE_START = ((4.0, 400, 0.27), (2.0, 1000, 0.67))
LATE_OCCUPANCY = 0.25  # of the budget: from here on cells are forgotten slowly
FULL_OCCUPANCY_UPDATES = (16, 32, 64, 128, 256)
OCCUPANCY_EVERY = 16
# The batch grows over this fraction of the budget from its first to its last size.
GROWTH_FRACTION = 0.6
FIRST_SAMPLES = 1 << 14
GPU_SAMPLES = 1 << 18
# Roughly the steps that a CPU makes in a second: only to compare budgets of the two kinds.
STEPS_PER_SECOND = 100.0
SHORT_SECONDS, MEDIUM_SECONDS = 90.0, 400.0


class Clock:
    """Seconds of training alone, wall and CPU per thread, earlier sittings of the run included."""

    def __init__(self, threads: int, wall: float = 0.0, cpu: float = 0.0) -> None:
        self.threads = threads
        self._wall, self._cpu = wall, cpu
        self._since: tuple[float, float] | None = None

    def start(self) -> None:
        """Counts from here on."""
        self._since = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """Keeps what was counted and counts no more until the next ``start``."""
        self._wall, self._cpu = self.wall, self.cpu
        self._since = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands inside."""
        self.stop()
        yield
        self.start()

    @property
    def wall(self) -> float:
        """Wall seconds of training."""
        return self._wall + (time.perf_counter() - self._since[0] if self._since else 0.0)

    @property
    def cpu(self) -> float:
        """CPU seconds of the process during training, divided by the number of threads."""
        spent = time.process_time() - self._since[1] if self._since else 0.0
        return self._cpu + spent / self.threads

    def seconds(self, which: str) -> float:
        """The seconds of ``training.clock``: wall or cpu."""
        return self.cpu if which == "cpu" else self.wall


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """How one step is taken."""

    learning_rate: float
    step_scale: float  # multiplies the march step
    num_samples: int  # the surviving samples to aim at
    occupancy_decay: float | None  # instead of the renderer's own


def budget_fraction(settings: TrainingSettings, num_steps_done: int, seconds: float) -> float:
    """How much of the budget is spent: 0 at the start, 1 or more when it is over."""
    if settings.num_steps > 0:
        return num_steps_done / settings.num_steps
    return seconds / settings.max_seconds


def plan_step(
    settings: TrainingSettings, step: int, fraction: float, device: torch.device
) -> StepPlan:
    """The plan of step number ``step`` (from 1) when ``fraction`` of the budget is spent."""
    return StepPlan(
        learning_rate=learning_rate(settings, fraction),
        step_scale=step_scale(settings, step, fraction),
        num_samples=num_samples(settings, fraction, device),
        occupancy_decay=late_occupancy_decay(settings, fraction),
    )


def learning_rate(settings: TrainingSettings, fraction: float) -> float:
    """Constant at first, then falling exponentially to its end at the budget's end."""
    hold = settings.learning_rate_hold
    decayed = min(1.0, max(0.0, (fraction - hold) / (1 - hold)))
    return settings.learning_rate * settings.learning_rate_end**decayed


def step_scale(settings: TrainingSettings, step: int, fraction: float) -> float:
    """The factor on the march step: coarse while space is unpruned, then 1."""
    if settings.coarse_start:
        for factor, until_step, until_fraction in COARSE_START:
            if step <= until_step and fraction < until_fraction:
                return factor
    return 1.0


def late_occupancy_decay(settings: TrainingSettings, fraction: float) -> float | None:
    """The slow decay of occupancy once space is mostly pruned; None before.

    A quick one empties fog, but also cells that a surface only grazes, as chance misses it: edges
    get serrated, and what is not marched is not learnt.
    """
    return settings.occupancy_decay_late if fraction >= LATE_OCCUPANCY else None


def num_samples(settings: TrainingSettings, fraction: float, device: torch.device) -> int:
    """The surviving samples to aim at in a step: as set, or growing where the budget is long."""
    if settings.samples_per_step > 0:
        return settings.samples_per_step
    if device.type != "cpu":
        return GPU_SAMPLES
    seconds = nominal_seconds(settings)
    last = (2, 4, 8)[(seconds > SHORT_SECONDS) + (seconds > MEDIUM_SECONDS)]
    return round(FIRST_SAMPLES * last ** min(1.0, fraction / GROWTH_FRACTION))


def auto_log2_rows(settings: TrainingSettings, device: torch.device) -> int:
    """The table size that suits the budget: more rows see too few samples in a short run."""
    if device.type != "cpu":
        return 19
    seconds = nominal_seconds(settings)
    return 17 + (seconds > SHORT_SECONDS) + (seconds > MEDIUM_SECONDS)


def nominal_seconds(settings: TrainingSettings) -> float:
    """The budget in seconds; of a budget in steps, about what a CPU would need."""
    if settings.num_steps > 0:
        return settings.num_steps / STEPS_PER_SECOND
    return settings.max_seconds


def occupancy_due(step: int) -> tuple[bool, bool]:
    """Whether the occupancy grid is updated after ``step``, and whether all of it is."""
    full = step in FULL_OCCUPANCY_UPDATES
    return full or step % OCCUPANCY_EVERY == 0, full
