"""Training: one visible loop, and what stands before and behind it."""

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from signal import Signals
from typing import Any

import torch

from neural_render.captures.adjustment.adjustment import CameraAdjustment, fixed_cameras
from neural_render.core.errors import CheckpointError
from neural_render.core.lights import Lighting
from neural_render.core.processes import group
from neural_render.core.protocols import RaySource
from neural_render.core.waiting.patience import told_if_slow
from neural_render.fields import RadianceField
from neural_render.kernels import ops
from neural_render.rendering import Renderer
from neural_render.training.ema import AveragedWeights
from neural_render.training.randomness import generator_for
from neural_render.training.rehearsal import compile_kernels
from neural_render.training.reports.unfinished import curves_left
from neural_render.training.runs.checkpoint import (
    Checkpoint,
    diverged,
    open_checkpoint,
    restore,
    save_checkpoint,
)
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.metrics import MetricsLog
from neural_render.training.runs.reporter import Reporter
from neural_render.training.runs.state import Progress, RunRecord, TrainingState
from neural_render.training.sampling.error_map import new_error_map
from neural_render.training.schedules import (
    Clock,
    StepPlan,
    budget_fraction,
    occupancy_due,
)
from neural_render.training.settings import TrainingSettings, check_settings
from neural_render.training.step import (
    Outcomes,
    Problem,
    StepInput,
    StepOutcome,
    draw_step,
    observed_survivors,
    training_step,
)
from neural_render.training.stepping.gathering import SYNCHRONISE_EVERY, synchronise
from neural_render.training.stepping.optimizer import new_moments
from neural_render.training.stopping import SIGNALS, StopSignals, TrainingInterrupted
from neural_render.training.watching.audience import NOBODY, Audience
from neural_render.training.watching.stages import training_stage

PHOTOGRAPHED = Lighting()

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What training must know of the run beside what it fits."""

    seed: int
    backend: str  # the kernels' resolved backend
    precision: str  # what it computes with
    threads: int  # of the kernels: what the cpu clock divides by
    capture: str  # where the rays came from, to be stored
    config: str  # the resolved settings, to be stored as config.yaml
    # What is to be remembered of photos, see `photos_record`.
    photos: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    color_space: str = "srgb"
    lighting: Lighting = PHOTOGRAPHED
    program: str = ""  # that goes on with it, such as train.py; empty: only who began it can
    audience: Audience = NOBODY


def train(
    source: RaySource,
    field: RadianceField,
    renderer: Renderer,
    settings: TrainingSettings,
    run: RunFolder,
    context: RunContext,
    adjustment: CameraAdjustment | None = None,
) -> Progress:
    """Fits ``field`` to the rays of ``source`` in place until the budget of ``settings`` is spent.

    So is the ``adjustment`` of the cameras whose views the rays belong to, if there is one.
    Takes up from the run's last checkpoint if it has one, and leaves one behind, whose averaged
    weights ``load_for_rendering`` gives. A run whose budget is spent already returns at once; with
    a larger budget it goes on, on the schedule of that budget. With the cpu backend and a budget in
    steps, the weights depend on arguments alone, not on where the run was stopped and resumed.

    Several processes (see `group`) share each step's rays and take equal steps (see `synchronise`);
    the first one's clock counts, and it alone writes to the run's folder, which all of them see.

    Raises SettingError, CheckpointError, DivergenceError, OutputError, and TrainingInterrupted
    after Ctrl-C or SIGTERM, once the state is saved.
    """
    check_settings(settings)
    problem = Problem(
        source=source,
        field=field,
        renderer=renderer,
        settings=settings,
        seed=context.seed,
        device=field.table.device,
        color_space=context.color_space,
    )
    record = run_record(problem, context)
    state = TrainingState(
        field=field,
        occupancy=renderer.occupancy,
        moments=new_moments(field),
        average=AveragedWeights(field, settings.ema_decay),
        errors=new_error_map(source, settings),
        progress=Progress(),
        adjustment=adjustment or fixed_cameras(),
    )
    with run.locked(), torch_threads(context.backend), StopSignals() as signals:
        take_up(run, record, state)
        session = Session(run, record, context, state)
        # Only now: what cannot be resumed keeps the settings that it was made with.
        group.of_first(lambda: run.begin(context.config, context.photos, session.is_over(settings)))
        context.audience.begin(lambda: training_stage(state, renderer, record, run))
        with curves_left(run, signals, context.program):
            try:
                fit(problem, state, session, signals)
            finally:
                ops.finish()  # of whatever kind the end was
        signals.agree()
    if learnt := state.adjustment.described():
        _log.info("cameras: %s", learnt)
    if signals.received is not None:
        raise interrupted(signals.received, state.progress.step, run, context.program)
    return state.progress


def interrupted(received: Signals, step: int, run: RunFolder, program: str) -> TrainingInterrupted:
    """What ends a training whose state after ``step`` is saved, and says what goes on with it."""
    said = f"Stopped by {SIGNALS[received]} at step {step}, which is saved"
    said += f"; go on with: python {program} {run.word}" if program else f" in {run.path}."
    return TrainingInterrupted(said, exit_code=128 + received)


class Session:
    """One sitting of a run: its clock, who watches, and what it saves and when."""

    def __init__(
        self, run: RunFolder, record: RunRecord, context: RunContext, state: TrainingState
    ) -> None:
        self.run, self.record, self.audience = run, record, context.audience
        done = state.progress
        self.clock = Clock(context.threads, done.train_seconds, done.train_cpu_seconds)
        self._saved = done if run.checkpoints() else None
        self._saved_at = time.perf_counter()

    def is_over(self, settings: TrainingSettings) -> bool:
        """Whether the budget was spent before it begins."""
        done = self._saved.step if self._saved else 0
        return budget_fraction(settings, done, self.clock.seconds(settings.clock)) >= 1

    def due(self, settings: TrainingSettings, step: int) -> bool:
        """Whether a checkpoint is due after ``step``."""
        if settings.checkpoint_steps > 0 and step % settings.checkpoint_steps == 0:
            return True
        return time.perf_counter() - self._saved_at >= settings.checkpoint_every

    def save(self, state: TrainingState) -> None:
        """Saves a checkpoint unless the last one is this very state."""
        if group.is_first() and self._saved != state.progress:
            save_checkpoint(self.run, self.record, state)
            self._saved = state.progress
        self._saved_at = time.perf_counter()


def fit(problem: Problem, state: TrainingState, session: Session, signals: StopSignals) -> None:
    """The loop. Saves the state when it ends, whether by its budget or by a signal."""
    settings, clock, resumed = problem.settings, session.clock, state.progress.step
    metrics = MetricsLog(session.run, resumed_step=resumed, tensorboard=settings.tensorboard)
    noisy, outcomes = problem.color_space == "linear", Outcomes(problem.device.type == "cuda")
    with metrics, Reporter(metrics, settings.report_every, noisy_targets=noisy) as reporter:
        on_gpu = problem.device.type == "cuda" and session.record.backend == "cuda"
        if on_gpu and not session.is_over(settings):
            compile_kernels(problem, state)
        clock.start()
        drawn = next_step(problem, state, clock, signals)
        while drawn is not None and signals.received is None:
            step, plan, fraction = drawn.step, drawn.plan, drawn.fraction
            outcomes.add(drawn, training_step(problem, state, drawn))
            take_in(outcomes.known(), state, session, reporter)
            refresh_errors(problem, state, step)
            state.progress = advanced(state, step, clock)
            # While the table's step goes on.
            drawn = next_step(problem, state, clock, signals)
            ops.finish()
            if step % SYNCHRONISE_EVERY == 0:
                synchronise(state)
            if problem.renderer.occupancy.holds and fraction >= settings.points_first:
                problem.renderer.occupancy.release()
            update_occupancy(problem, step, plan)
            if state.average.due(step):
                state.average.update(problem.field, step)
                state.progress = replace(state.progress, averaged_step=step)
            if reporter.due:
                session.audience.told(reporter.report(state))
            # The last state is saved below, once it is settled: resumed there, it would never be.
            if drawn is not None and session.due(settings, step):
                take_in(outcomes.known(wait=True), state, session, reporter)
                with clock.paused():
                    session.save(state)
            if session.audience.is_waiting(step):
                with clock.paused():
                    session.audience.serve(step, lambda: signals.received is not None)
        take_in(outcomes.known(wait=True), state, session, reporter)
        unsettled = state.progress.averaged_step < state.progress.step
        if drawn is None and (state.progress.step > resumed or unsettled):
            settle(problem, state, clock)
        clock.stop()
        session.audience.told(reporter.report(state))
    group.of_first(lambda: session.save(state))


@told_if_slow("settling which space is empty", over_bars=True)
def settle(problem: Problem, state: TrainingState, clock: Clock) -> None:
    """Completes the occupancy grid and the average of a field that stays as it is."""
    step = state.progress.step
    generator = generator_for(problem.seed, step + 1, "settle", problem.device)
    problem.renderer.settle_occupancy(problem.field, generator=generator)
    clock.stop()
    state.average.update(problem.field, step)
    state.progress = replace(
        state.progress,
        train_seconds=clock.wall,
        train_cpu_seconds=clock.cpu,
        averaged_step=state.average.last_step,
    )


def next_step(
    problem: Problem, state: TrainingState, clock: Clock, signals: StopSignals
) -> StepInput | None:
    """The input of the step after ``state.progress``; None where the budget is spent."""
    settings = problem.settings
    (seconds,) = signals.agree(clock.seconds(settings.clock))
    done = budget_fraction(settings, state.progress.step, seconds)
    return draw_step(problem, state, done) if done < 1 else None


def update_occupancy(problem: Problem, step: int, plan: StepPlan) -> None:
    """Refreshes the renderer's occupancy grid if that is due after ``step``."""
    due, full = occupancy_due(step)
    if due:
        generator = generator_for(problem.seed, step, "occupancy", problem.device)
        problem.renderer.update_occupancy(
            problem.field, generator=generator, full=full, decay=plan.occupancy_decay
        )


def refresh_errors(problem: Problem, state: TrainingState, step: int) -> None:
    """Lets what was observed decide which rays are drawn if that is due after ``step``."""
    if state.errors.due(step):
        generator = generator_for(problem.seed, step, "errors", problem.device)
        state.errors.refresh(generator, step)


def take_in(
    known: list[tuple[StepInput, StepOutcome]],
    state: TrainingState,
    session: Session,
    reporter: Reporter,
) -> None:
    """Counts what steps saw; DivergenceError if that has no end."""
    for drawn, outcome in known:
        if not math.isfinite(outcome.loss):
            ops.finish()
            raise diverged(session.run, drawn.step, f"the loss is {outcome.loss}")
        state.progress = counted(state.progress, outcome, drawn.plan)
        reporter.count(outcome, drawn.plan, drawn.fraction, session.clock.wall)


def counted(before: Progress, outcome: StepOutcome, plan: StepPlan) -> Progress:
    """The progress with what one more step saw."""
    return replace(
        before,
        survivors_per_ray=observed_survivors(before.survivors_per_ray, outcome, plan),
        num_rays=before.num_rays + outcome.num_rays,
        num_samples=before.num_samples + outcome.num_samples,
        num_samples_marched=before.num_samples_marched + outcome.num_samples_marched,
    )


def advanced(state: TrainingState, step: int, clock: Clock) -> Progress:
    """The progress after one more step, but for what it saw."""
    return replace(
        state.progress,
        step=step,
        train_seconds=clock.wall,
        train_cpu_seconds=clock.cpu,
        averaged_step=state.average.last_step,
    )


def take_up(run: RunFolder, record: RunRecord, state: TrainingState) -> None:
    """Sets ``state`` to that of the run's last checkpoint, if it has one."""
    group.of_first(run.prune_checkpoints)
    if run.checkpoints():
        checkpoint = open_checkpoint(run.last_checkpoint())
        check_place(checkpoint, record)
        restore(checkpoint, state)
    check_same_start(state, run)


def check_same_start(state: TrainingState, run: RunFolder) -> None:
    """Nothing if all processes begin with the same field; else CheckpointError."""
    if group.size() == 1:
        return
    sums = [tensor.detach().double().sum() for tensor in state.field.parameters()]
    (begun,) = group.gathered(torch.stack([sums[0].new_tensor(state.progress.step), *sums]))
    if not torch.equal(begun, begun[:1].expand_as(begun)):
        raise CheckpointError(
            f"run={run.path} is not the same to all processes, which begin at steps"
            f" {begun[:, 0].long().tolist()}: let outputs lie in a folder that all machines share."
        )


def check_place(checkpoint: Checkpoint, record: RunRecord) -> None:
    """Nothing if the run's field lies where it lay, but for rounding.

    CheckpointError if the capture moved it.
    """
    if not record.frame.is_near(checkpoint.record.frame):
        raise CheckpointError(
            f"{checkpoint.path} was trained with its scene placed otherwise: {record.capture} is"
            " not the capture that it was, or capture.scene, capture.scale, capture.aabb_scale,"
            " capture.find_points, capture.holdout_every or capture.max_side changed; restore"
            " them, or train anew without run=."
        )


def run_record(problem: Problem, context: RunContext) -> RunRecord:
    """What is stored with every checkpoint of the run.

    Evaluation has training's background. Where that was random, white is behind photos with opacity
    and black behind whole ones.
    """
    background = problem.settings.background
    if background == "random":
        background = "white" if problem.source.has_opacity else "black"
    return RunRecord(
        field=problem.field.spec,
        march=problem.renderer.march,
        antialias=problem.renderer.antialias,
        frame=problem.source.frame,
        num_channels=problem.source.num_channels,
        background=background,
        color_space=context.color_space,
        backend=context.backend,
        precision=context.precision,
        capture=context.capture,
        seed=context.seed,
        lighting=context.lighting,
    )


@contextmanager
def torch_threads(backend: str) -> Iterator[None]:
    """One torch thread inside while C++ kernels compute.

    Two thread pools would fight for the cores, and sums over threads would depend on their number.
    """
    before = torch.get_num_threads()
    if backend == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
