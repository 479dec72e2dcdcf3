"""A step for nothing, before the clock starts: it compiles what steps launch on a GPU."""

from contextlib import nullcontext, suppress
from copy import deepcopy

import torch

from neural_render.core.processes import group
from neural_render.core.waiting.patience import told_if_slow
from neural_render.kernels import ops
from neural_render.training.runs.state import TrainingState
from neural_render.training.step import Problem, adam_spec, batch_gradients, draw_step
from neural_render.training.stepping.optimizer import optimizer_step


@told_if_slow("compiling kernels for this GPU")
def compile_kernels(problem: Problem, state: TrainingState) -> None:
    """Rehearses the next step: a budget of seconds is for training.

    It needs copies, of which training has none: a process alone does without where they find no
    memory. One of several raises, for the others wait for its part of the step.
    """
    with suppress(torch.OutOfMemoryError) if group.size() == 1 else nullcontext():
        rehearse(problem, state)
    torch.cuda.empty_cache()


def rehearse(problem: Problem, state: TrainingState) -> None:
    """Takes the next step with copies of what it would change, and looks at space."""
    drawn, settings = draw_step(problem, state, fraction=0.0), problem.settings
    found = batch_gradients(problem, state, drawn)
    field = deepcopy(problem.field)
    moments = {name: moment.clone() for name, moment in state.moments.items()}
    adam = adam_spec(settings, drawn)
    optimizer_step(field, moments, found.parameters, adam, settings.weight_decay)
    ops.finish()
    with torch.no_grad():
        field.density(torch.zeros(1, 3, device=problem.device))
