"""Where the time of a training step and of a picture goes on a GPU, kernel by kernel."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch.autograd.profiler import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.records import print_table
from neural_render.captures.adjustment.adjustment import fixed_cameras
from neural_render.kernels import ops
from neural_render.training.ema import AveragedWeights
from neural_render.training.loop import counted, refresh_errors, update_occupancy
from neural_render.training.runs.state import Progress, TrainingState
from neural_render.training.sampling.error_map import new_error_map
from neural_render.training.step import Outcomes, Problem, draw_step, training_step
from neural_render.training.stepping.optimizer import new_moments

WARM, TIMED, PROFILED = 2000, 128, 32  # steps
SHOWN = 30  # kernels


class Steps:
    """The steps of a training run, without its reports and checkpoints."""

    def __init__(self, problem: Problem) -> None:
        """None taken yet."""
        settings = problem.settings
        self.problem, self._outcomes = problem, Outcomes(problem.device.type == "cuda")
        self.state = TrainingState(
            field=problem.field,
            occupancy=problem.renderer.occupancy,
            moments=new_moments(problem.field),
            average=AveragedWeights(problem.field, settings.ema_decay),
            errors=new_error_map(problem.source, settings),
            progress=Progress(),
            adjustment=fixed_cameras(),
        )

    def take(self, count: int) -> None:
        """So many more; the device may still be at them."""
        problem, state = self.problem, self.state
        for _ in range(count):
            fraction = state.progress.step / problem.settings.num_steps
            drawn = draw_step(problem, state, fraction)
            self._outcomes.add(drawn, training_step(problem, state, drawn))
            for known, outcome in self._outcomes.known():
                state.progress = counted(state.progress, outcome, known.plan)
            refresh_errors(problem, state, drawn.step)
            state.progress = replace(state.progress, step=drawn.step)
            ops.finish()
            update_occupancy(problem, drawn.step, drawn.plan)
            if state.average.due(drawn.step):
                state.average.update(problem.field, drawn.step)


def of_steps(problem: Problem, wait: Callable[[], None]) -> dict[str, Any]:
    """Milliseconds of a step by the clock, and of each kernel."""
    steps = Steps(problem)
    steps.take(WARM)
    wait()
    before, began = steps.state.progress, time.perf_counter()
    steps.take(TIMED)
    wait()
    wall, done = time.perf_counter() - began, steps.state.progress
    counts = {
        name: (getattr(done, name) - getattr(before, name)) / TIMED
        for name in ("num_rays", "num_samples", "num_samples_marched")
    }

    def taken() -> None:
        steps.take(PROFILED)
        wait()

    kernels = of_kernels(taken, PROFILED)
    return {"milliseconds": wall / TIMED * 1e3, **counts, "kernels": kernels}


def of_kernels(work: Callable[[], None], times: int) -> dict[str, tuple[float, float]]:
    """Milliseconds and launches of each kernel of what is done so many times by ``work``."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as watched:
        work()
    found: dict[str, tuple[float, float]] = {}
    for event in watched.key_averages():
        if event.device_type == DeviceType.CUDA:
            spent = event.self_device_time_total / 1e3 / times
            found[event.key[:80]] = spent, event.count / times
    found = dict(sorted(found.items(), key=lambda item: -item[1][0]))
    rows = [[name[:60], f"{ms:.3f}", f"{each:.1f}"] for name, (ms, each) in found.items()][:SHOWN]
    rows.append(["all", f"{sum(ms for ms, _ in found.values()):.3f}", ""])
    print_table("kernels", ["kernel", "ms", "launches"], rows)
    return found
