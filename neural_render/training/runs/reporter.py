"""What the user sees of training: a bar with its numbers, and the lines behind it."""

import logging
import math
import time

from tqdm import tqdm

from neural_render.core.processes import group
from neural_render.training.runs.metrics import MetricsLog
from neural_render.training.runs.state import TrainingState
from neural_render.training.schedules import StepPlan
from neural_render.training.step import StepOutcome
from neural_render.viewer.stage import Report

BAR = "{desc}: {percentage:3.0f}%|{bar}|{postfix}"
LOG_EVERY = 10.0  # seconds between lines of the log where there is no terminal for a bar
SMOOTH = 0.9  # of what is shown of a noisy loss, per report


class Reporter:
    """Sums up steps; every so often a line for the log and fresh numbers in the bar."""

    def __init__(
        self, metrics: MetricsLog, report_every: float, *, noisy_targets: bool = False
    ) -> None:
        """Targets that are noisy tell no PSNR: a smoothed loss, which falls, is shown instead."""
        self._metrics, self._every = metrics, report_every
        self._noisy, self._smooth_loss = noisy_targets, 0.0
        self._bar = tqdm(
            total=1.0, desc="training", bar_format=BAR, disable=not group.shows_progress()
        )
        self._started: tuple[float, float] | None = None
        self._logged_at = time.perf_counter()
        self._forget()

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    @property
    def due(self) -> bool:
        """Whether it is time for a report."""
        return time.perf_counter() - self._since >= self._every

    def count(self, outcome: StepOutcome, plan: StepPlan, fraction: float, seconds: float) -> None:
        """Takes in one step, made when ``fraction`` of the budget was spent, done after
        ``seconds`` of training."""
        self._last, self._counted = (plan, fraction), time.perf_counter()
        if self._started is None:
            self._started = (seconds, fraction)
        self._steps += 1
        self._loss += outcome.loss
        self._squared_error += outcome.squared_error
        self._rays += outcome.num_rays
        self._samples += outcome.num_samples

    def report(self, state: TrainingState) -> tuple[Report, ...]:
        """Writes the means since the last report and the totals so far; nothing without a step.

        Gives what those who watch are told of it.
        """
        if self._steps == 0:
            return ()
        progress = state.progress
        line = {
            "step": progress.step,
            "seconds": round(progress.train_seconds, 3),
            "cpu_seconds": round(progress.train_cpu_seconds, 3),
            "rays": progress.num_rays,
            "samples": progress.num_samples,
            "samples_marched": progress.num_samples_marched,
            "loss": self._loss / self._steps,
            **({} if self._noisy else {"psnr": psnr_of(self._squared_error / self._steps)}),
            "learning_rate": self._last[0].learning_rate,
            "samples_per_ray": self._samples / self._rays,
            "rays_per_second": self._rays / max(1e-9, self._counted - self._since),
            "occupied": state.occupancy.fraction,
        }
        self._metrics.write(line)
        report = Report(
            step=progress.step,
            fraction=self._last[1],
            seconds=progress.train_seconds,
            loss=line["loss"],
            psnr=line.get("psnr", math.nan),
            seconds_left=self._seconds_left(progress.train_seconds),
        )
        self._show(line, report)
        self._forget()
        return (report,)

    def _seconds_left(self, seconds: float) -> float:
        """Of training, if it goes on as in this sitting; NaN where that cannot be told."""
        assert self._started is not None, "a step was counted"
        fraction = self._last[1]
        spent, done = seconds - self._started[0], fraction - self._started[1]
        return spent * (1 - fraction) / done if done > 0 else math.nan

    def _show(self, line: dict[str, int | float], report: Report) -> None:
        known, fraction = math.isfinite(report.seconds_left), report.fraction
        left = tqdm.format_interval(report.seconds_left) if known else "?"
        now = time.perf_counter()
        text = (
            f"step {line['step']}, {self._quality(line)}, "
            f"{line['rays_per_second'] / 1000:.0f}k rays/s, "
            f"{line['samples_per_ray']:.1f} samples/ray, {left} left"
        )
        if not self._bar.disable:
            self._bar.n = min(fraction, 1.0)
            self._bar.set_postfix_str(text)
        elif now - self._logged_at >= LOG_EVERY:
            self._logged_at = now
            logging.getLogger("neural_render").info("training %.0f%%: %s", 100 * fraction, text)

    def _quality(self, line: dict[str, int | float]) -> str:
        """How good the fit is, in a few letters."""
        if not self._noisy:
            return f"{line['psnr']:.2f} dB"
        before = self._smooth_loss or line["loss"]
        self._smooth_loss = SMOOTH * before + (1 - SMOOTH) * line["loss"]
        return f"loss {self._smooth_loss:.3g}"

    def _forget(self) -> None:
        self._since = time.perf_counter()
        self._steps = self._rays = self._samples = 0
        self._loss = self._squared_error = 0.0


def psnr_of(squared_error: float) -> float:
    """The peak signal-to-noise ratio in dB for a peak of 1; 100 at most."""
    return min(100.0, -10.0 * math.log10(max(squared_error, 1e-10)))
