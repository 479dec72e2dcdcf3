"""One training step: rays, render, loss, gradients, Adam."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from neural_render.captures.adjustment.adjustment import AdjustedBatch
from neural_render.core.processes import group
from neural_render.core.protocols import RaySource, is_stepped
from neural_render.core.rays import RayBatch, Rays
from neural_render.fields import RadianceField
from neural_render.kernels.records import (
    ColorTargets,
    FactoredGradient,
    InputGradients,
    RenderLoss,
)
from neural_render.kernels.specs import AdamSpec, LossSpec
from neural_render.rendering import Renderer
from neural_render.training.randomness import generator_for
from neural_render.training.runs.state import TrainingState
from neural_render.training.schedules import StepPlan, plan_step
from neural_render.training.settings import TrainingSettings
from neural_render.training.stepping.gathering import BatchGradients, of_whole_batch
from neural_render.training.stepping.optimizer import optimizer_step
from neural_render.training.stepping.replaying import Given, Replays

MIN_RAYS = 64
MAX_RAYS_PER_SAMPLE = 8
ROULETTE, RELATIVE_ROULETTE = 0.5, 1.0  # where training.roulette is -1
SURVIVORS_MEMORY = 0.7  # of the running estimate of survivors per ray, per step
RUNGS = 8  # numbers of rays between one and its double
ROOM = 1.25  # for surviving samples, of those that are aimed at (see `LossSpec`)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is fitted to what, and how."""

    source: RaySource
    field: RadianceField
    renderer: Renderer
    settings: TrainingSettings
    seed: int
    device: torch.device
    color_space: str  # of the radiance: srgb (display-referred) or linear
    replays: Replays = dataclasses.field(default_factory=Replays)


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """What a step saw: its loss, its mean squared error and its counts."""

    loss: float
    squared_error: float
    num_rays: int
    num_fitting: int  # rays that found room for their samples (see `LossSpec`)
    num_samples: int
    num_samples_marched: int


class UnreadOutcome:
    """What a step saw, on its way to the host: nobody waits for a GPU before it is read."""

    def __init__(self, figures: Float64[Tensor, " figures"], num_rays: int) -> None:
        """``figures``: loss, squared error, samples that survived and that were marched, rays that
        found room."""
        self._figures, self._num_rays, self._copied = figures, num_rays, None
        if figures.is_cuda:
            self._figures = torch.empty_like(figures, device="cpu", pin_memory=True)
            self._figures.copy_(figures, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(figures.device))

    def read(self) -> StepOutcome:
        """The outcome, once the step is done."""
        if self._copied is not None:
            self._copied.synchronize()
        loss, squared_error, num_survived, num_marched, num_fitting = self._figures.tolist()
        return StepOutcome(
            loss=loss,
            squared_error=squared_error,
            num_rays=self._num_rays,
            num_fitting=int(num_fitting),
            num_samples=int(num_survived),
            num_samples_marched=int(num_marched),
        )


def rays_for(survivors_per_ray: float, plan: StepPlan) -> int:
    """The number of rays that should leave ``plan.num_samples`` survivors.

    ``survivors_per_ray`` is for a march step of scale 1.
    """
    wanted = plan.num_samples * plan.step_scale / survivors_per_ray
    least = max(MIN_RAYS, group.size())
    return int(min(max(wanted, least), MAX_RAYS_PER_SAMPLE * plan.num_samples))


def rung(num_rays: int) -> int:
    """The number of rays near this one that a GPU takes, at most 5 percent away.

    Steps of the same number of rays share a graph.
    """
    return max(MIN_RAYS, round(2 ** (round(math.log2(num_rays) * RUNGS) / RUNGS) / 64) * 64)


def observed_survivors(survivors_per_ray: float, outcome: StepOutcome, plan: StepPlan) -> float:
    """The estimate of survivors per ray (at a march step of scale 1) after one more step.

    Where rays found no room, those that did are as many as can be: they count as if they had left
    all the survivors that are wanted.
    """
    num_samples = outcome.num_samples
    if outcome.num_fitting < outcome.num_rays:
        num_samples = max(num_samples, plan.num_samples)
    seen = num_samples * plan.step_scale / max(1, outcome.num_fitting)
    return max(1e-3, SURVIVORS_MEMORY * survivors_per_ray + (1 - SURVIVORS_MEMORY) * seen)


def training_background(
    kind: str, shape: tuple[int, int], generator: torch.Generator, device: torch.device
) -> Float[Tensor, "rays channels"]:
    """The background of each ray: white, black, or noise that no field can imitate.

    Noise is worth several dB in a short run: on a fixed background a fog of its colour costs
    nothing and stays.
    """
    if kind == "random":
        return torch.rand(shape, generator=generator, device=device)
    return torch.full(shape, 1.0 if kind == "white" else 0.0, device=device)


def loss_spec(
    settings: TrainingSettings, color_space: str, fraction: float = 0.0, side: float = 1.0
) -> LossSpec:
    """The loss that ``settings`` ask for of radiance in ``color_space``.

    ``fraction`` of the budget is spent; ``side`` is that of the cube of interest in field units.
    First surfaces only help to begin: what mirrors and glass show is behind them, and a weight that
    stays takes light from what is seen.
    """
    kind = settings.loss
    if kind == "auto":
        kind = "relative" if color_space == "linear" else "huber"
    fade = settings.distance_fade
    left = max(0.0, 1 - fraction / fade) if fade > 0 else 1.0
    roulette = settings.roulette
    if roulette < 0:
        roulette = RELATIVE_ROULETTE if kind == "relative" else ROULETTE
    return LossSpec(
        delta=settings.huber_delta,
        relative=settings.relative_epsilon if kind == "relative" else 0.0,
        power=settings.relative_power,
        distortion_weight=max(0.0, settings.distortion_weight) / side,
        distance_weight=max(0.0, settings.distance_weight) * left,
        roulette=roulette,
        normal_weight=max(0.0, settings.normal_weight),
        near_fade=settings.near_fade * side,
    )


@dataclass(frozen=True, kw_only=True)
class StepInput:
    """What a step fits to: its rays with what they see, its plan, and all its random numbers.

    Of the ``num_rays`` of the batch it holds those that are this process's.
    """

    step: int
    fraction: float  # of the budget, spent before the step
    plan: StepPlan
    num_rays: int
    batch: RayBatch
    regions: Int[Tensor, " known"]
    background: Float[Tensor, "rays channels"]
    jitter: Float[Tensor, " rays"]


def draw_step(problem: Problem, state: TrainingState, fraction: float) -> StepInput:
    """The input of the next step, which begins when ``fraction`` of the budget is spent.

    The rays depend on (seed, step), and on the survivors and errors of the steps so far. The field
    is not looked at: it may be changing meanwhile.

    Every process draws the whole batch, which costs little beside rendering it, and keeps its
    share: the rays of a step do not depend on the number of processes.
    """
    device, step = problem.device, state.progress.step + 1
    plan = plan_step(problem.settings, step, fraction, device)
    num_rays = rays_for(state.progress.survivors_per_ray, plan)
    if device.type == "cuda":
        num_rays = rung(num_rays)
    generator = generator_for(problem.seed, step, "rays", device)
    if is_stepped(problem.source):
        problem.source.turn_to(step)
    batch, regions = state.errors.draw(problem.source, num_rays, generator)
    generator = generator_for(problem.seed, step, "march", device)
    shape = (num_rays, batch.targets.shape[1])
    background = training_background(problem.settings.background, shape, generator, device)
    jitter = torch.rand(num_rays, generator=generator, device=device)
    own = group.own_slice()
    return StepInput(
        step=step,
        fraction=fraction,
        plan=plan,
        num_rays=num_rays,
        batch=batch[own] if group.size() > 1 else batch,
        regions=regions[own],
        background=background[own],
        jitter=jitter[own],
    )


class Outcomes:
    """What steps saw, with their inputs, in their order.

    Where it comes ``late`` that of the last step is left for the next: a GPU computes meanwhile.
    """

    def __init__(self, late: bool) -> None:
        self._late = late
        self._unread: list[tuple[StepInput, UnreadOutcome]] = []

    def add(self, drawn: StepInput, seen: UnreadOutcome) -> None:
        """Takes in one more step."""
        self._unread.append((drawn, seen))

    def known(self, wait: bool = False) -> list[tuple[StepInput, StepOutcome]]:
        """Those that were not handed out; all of them if that is worth to ``wait`` for."""
        last = len(self._unread) - (self._late and not wait)
        found, self._unread = self._unread[: max(0, last)], self._unread[max(0, last) :]
        return [(drawn, seen.read()) for drawn, seen in found]


def training_step(problem: Problem, state: TrainingState, drawn: StepInput) -> UnreadOutcome:
    """Fits the field to what was drawn, in place; the table may change until ``ops.finish``."""
    adam = adam_spec(problem.settings, drawn)
    figures, to_cameras = fit_batch(problem, state, drawn, adam)
    state.adjustment.descend(to_cameras, drawn.step, drawn.fraction)
    return UnreadOutcome(figures, drawn.num_rays)


def adam_spec(settings: TrainingSettings, drawn: StepInput) -> AdamSpec:
    """Adam's numbers for a step."""
    return AdamSpec(
        learning_rate=drawn.plan.learning_rate,
        step=drawn.step,
        beta1=settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
    )


def fit_batch(
    problem: Problem, state: TrainingState, drawn: StepInput, adam: AdamSpec
) -> tuple[Float64[Tensor, " figures"], Mapping[str, Tensor]]:
    """One step of Adam for the field; what the batch saw, and the gradient to what is learnt of
    cameras."""
    decay, num_rays = problem.settings.weight_decay, drawn.num_rays
    if group.size() > 1:
        found = batch_gradients(problem, state, drawn)
        optimizer_step(problem.field, state.moments, found.parameters, adam, decay)
        return observed(state, found.seen, found.regions, num_rays), found.cameras
    shown = state.adjustment.apply(drawn.batch)
    task, given = posed(problem, state, drawn, shown)

    def work(given: Given, adam: AdamSpec) -> tuple[Float64[Tensor, " figures"], InputGradients]:
        *tensors, regions = given
        seen, gradients, to_inputs = loss_gradients(problem, task, tuple(tensors))
        optimizer_step(problem.field, state.moments, gradients, adam, decay)
        return observed(state, seen, regions, num_rays), to_inputs

    given = *given, drawn.regions
    if task.is_always_alike(problem):
        figures, to_inputs = problem.replays.do(task, given, work, adam)
    else:
        figures, to_inputs = work(given, adam)
    return figures, state.adjustment.gradients(shown, to_inputs)


def observed(
    state: TrainingState, seen: RenderLoss, regions: Int[Tensor, " known"], num_rays: int
) -> Float64[Tensor, " figures"]:
    """The figures of `UnreadOutcome`; the error map takes the errors in."""
    state.errors.observe(regions, seen.squared)
    # Of the uniform rays alone: those drawn by the error map say nothing of the whole.
    squared_error = seen.squared[state.errors.num_chosen(num_rays) :].mean()
    fitting = seen.num_fitting
    fitting = seen.num_survived.new_full((), num_rays) if fitting is None else fitting
    figures = seen.loss, squared_error, seen.num_survived, seen.num_marched, fitting
    return torch.stack([figure.double() for figure in figures])


@dataclass(frozen=True, kw_only=True)
class Task:
    """The loss of a batch, but for its tensors."""

    loss: LossSpec
    step_scale: float
    blur: float
    first_channel: int

    def is_always_alike(self, problem: Problem) -> bool:
        """Whether steps differ in their tensors alone, and are nothing but the backend's work."""
        loss, renderer = self.loss, problem.renderer
        return (
            loss.distance_weight == 0
            and loss.normal_weight == 0
            and self.blur == 0
            and renderer.projection.is_identity
            and not problem.field.has_far
            and not torch.are_deterministic_algorithms_enabled()  # which wait for the device
        )


def posed(
    problem: Problem, state: TrainingState, drawn: StepInput, shown: AdjustedBatch
) -> tuple[Task, Given]:
    """The loss of what was drawn, as its photos show it, and the tensors of its rays."""
    batch, rays = drawn.batch, shown.rays
    side = problem.renderer.occupancy.side(0)
    loss = loss_spec(problem.settings, problem.color_space, drawn.fraction, side)
    task = Task(
        loss=replace(loss, room=math.ceil(ROOM * drawn.plan.num_samples / group.size())),
        step_scale=drawn.plan.step_scale,
        blur=state.adjustment.blur(drawn.fraction),
        first_channel=batch.first_channel,
    )
    seen = batch.targets, batch.opacity, drawn.background, batch.weights
    surfaces = batch.distance, batch.normals
    more = shown.gain, shown.conditions, drawn.jitter
    return task, (rays.origins, rays.directions, rays.footprint, *seen, *surfaces, *more)


def loss_gradients(
    problem: Problem, task: Task, given: Given
) -> tuple[RenderLoss, dict[str, Tensor | FactoredGradient], InputGradients]:
    """See ``Renderer.loss_gradients``."""
    origins, directions, footprint, colors, opacity, background, weights, *rest = given
    distance, normals, gain, conditions, jitter = rest
    renderer = problem.renderer.blurred(task.blur) if task.blur else problem.renderer
    return renderer.loss_gradients(
        problem.field,
        Rays(origins=origins, directions=directions, footprint=footprint),
        targets=ColorTargets(
            colors=colors,
            opacity=opacity,
            background=background,
            weights=weights,
            distance=distance,
            normals=normals,
            first_channel=task.first_channel,
            gain=gain,
        ),
        loss=task.loss,
        jitter=jitter,
        conditions=conditions,
        step_scale=task.step_scale,
    )


def batch_gradients(problem: Problem, state: TrainingState, drawn: StepInput) -> BatchGradients:
    """The gradients of the loss of the whole batch of which ``drawn`` is this process's share."""
    shown = state.adjustment.apply(drawn.batch)
    seen, gradients, to_inputs = loss_gradients(problem, *posed(problem, state, drawn, shown))
    part = BatchGradients(
        seen=seen,
        regions=drawn.regions,
        parameters=gradients,
        cameras=state.adjustment.gradients(shown, to_inputs),
    )
    return of_whole_batch(part, drawn.num_rays)
