"""What each of the tests' processes does and leaves in a folder; torchrun starts it with that."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from neural_render.captures.adjustment.adjustment import CameraAdjustment
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.captures.opening import open_capture
from neural_render.captures.photos import PhotoSource
from neural_render.captures.settings import CaptureSettings
from neural_render.core.processes import group
from neural_render.core.processes.launch import joined
from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FactoredGradient
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.training.ema import AveragedWeights
from neural_render.training.loop import advanced, counted, refresh_errors, update_occupancy
from neural_render.training.runs.state import Progress, TrainingState
from neural_render.training.sampling.error_map import new_error_map
from neural_render.training.schedules import Clock
from neural_render.training.step import Problem, batch_gradients, draw_step, training_step
from neural_render.training.stepping.gathering import BatchGradients, synchronise
from neural_render.training.stepping.optimizer import new_moments
from tests.training.problems import CPU, settings_for, tiny_field

STEPS = 40
NUM_RAYS = 417  # an odd number: one process has a ray more than the other
ADJUSTED = AdjustmentSettings(exposure=True, poses=True)


def begin(folder: Path, **changes: object) -> tuple[Problem, TrainingState]:
    """A fresh field before the photos in ``folder``, whose exposures and poses are learnt too."""
    capture = open_capture(CaptureSettings(path=str(folder / "tiny")), progress=False)
    source = PhotoSource(capture)
    problem = Problem(
        source=source,
        field=tiny_field(),
        renderer=build_renderer(RenderingSettings(step=0.01), capture.frame, CPU),
        settings=settings_for(100, samples_per_step=NUM_RAYS * 40, coarse_start=False, **changes),
        seed=3,
        device=CPU,
        color_space="srgb",
    )
    cameras = capture.train.cameras.in_frame(capture.frame.world_from_field.inverse())
    state = TrainingState(
        field=problem.field,
        occupancy=problem.renderer.occupancy,
        moments=new_moments(problem.field),
        average=AveragedWeights(problem.field, 0.99),
        errors=new_error_map(source, problem.settings),
        progress=Progress(survivors_per_ray=40.0),
        adjustment=CameraAdjustment(cameras, ADJUSTED),
    )
    return problem, state


def tensors_of(found: BatchGradients, problem: Problem) -> dict[str, Tensor]:
    """Everything in one dictionary, the table's gradient dense."""
    table, field = found.parameters["table"], problem.field
    if isinstance(table, FactoredGradient):
        scatter = dispatch.active().scatter_table_gradient
        table = scatter(table, field.table.detach(), field.spec.grid)
    seen = found.seen
    dense = {name: g for name, g in found.parameters.items() if isinstance(g, Tensor)}
    told = {"loss": seen.loss, "squared": seen.squared, "regions": found.regions}
    counts = {"marched": seen.num_marched, "survived": seen.num_survived}
    return dense | {"table": table} | dict(found.cameras) | told | counts


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes copies."""
    copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(copies, path)


def leave_gradients(folder: Path) -> None:
    """The gradients of one batch of photos, without roulette, whose chances depend on chunks."""
    problem, state = begin(folder, roulette=0.0)
    drawn = draw_step(problem, state, 0.0)
    assert drawn.num_rays == NUM_RAYS
    found = tensors_of(batch_gradients(problem, state, drawn), problem)
    save(found, folder / f"gradients_{group.size()}_{group.place().rank}")


def leave_state(folder: Path) -> None:
    """All that is learnt after some steps."""
    problem, state = begin(folder)
    clock = Clock(1)
    for step in range(1, STEPS + 1):
        drawn = draw_step(problem, state, step / 100)
        outcome = training_step(problem, state, drawn).read()
        refresh_errors(problem, state, step)
        state.progress = counted(advanced(state, step, clock), outcome, drawn.plan)
        ops.finish()
        update_occupancy(problem, step, drawn.plan)
        state.average.update(problem.field, step)
    rank = group.place().rank
    save(state.tensors(), folder / f"state_{group.size()}_{rank}")
    with torch.no_grad():
        state.field.table.add_(rank)
    synchronise(state)
    save(state.tensors(), folder / f"synchronised_{group.size()}_{rank}")


def work(folder: Path) -> None:
    """Does all of it, in 32-bit floats."""
    dispatch.select("auto", 1, "float32")
    torch.set_num_threads(1)
    leave_gradients(folder)
    leave_state(folder)


if __name__ == "__main__":
    with joined():
        work(Path(sys.argv[1]))
