"""A step on a GPU does not wait for it, and what it saw is counted a step later."""

import pytest
import torch

from neural_render.core.processes import group
from neural_render.core.rays import RayBatch
from neural_render.kernels import dispatch
from neural_render.training.ema import AveragedWeights
from neural_render.training.loop import counted
from neural_render.training.rehearsal import compile_kernels
from neural_render.training.runs.state import Progress, TrainingState
from neural_render.training.sampling.error_map import new_error_map
from neural_render.training.step import (
    Outcomes,
    Problem,
    StepInput,
    UnreadOutcome,
    draw_step,
    training_step,
)
from neural_render.training.stepping.optimizer import new_moments
from tests.kernels.cuda.waiting import no_waiting
from tests.training.problems import CPU, DividedBall, settings_for, tiny_field, tiny_renderer


def begun(source: DividedBall | None = None) -> tuple[Problem, TrainingState]:
    """A run of few rays, some of them drawn by their error."""
    field, renderer, source = tiny_field(), tiny_renderer(), source or DividedBall()
    settings = settings_for(100, samples_per_step=64)
    problem = Problem(
        source=source,
        field=field,
        renderer=renderer,
        settings=settings,
        seed=3,
        device=CPU,
        color_space="srgb",
    )
    state = TrainingState(
        field=field,
        occupancy=renderer.occupancy,
        moments=new_moments(field),
        average=AveragedWeights(field, settings.ema_decay),
        errors=new_error_map(source, settings),
        progress=Progress(),
    )
    return problem, state


def test_what_compiles_kernels_changes_nothing() -> None:
    problem, state = begun()
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    with dispatch.using(dispatch.resolve("auto")):
        compile_kernels(problem, state)
    after = state.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)


class _TooLarge(DividedBall):
    """Whose rays find no memory."""

    def sample_regions(self, *_: object) -> RayBatch:
        raise torch.OutOfMemoryError("CUDA out of memory")

    sample = sample_regions


def test_only_a_process_alone_does_without_a_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others would wait for what it was to give."""
    problem, state = begun(_TooLarge())
    compile_kernels(problem, state)
    monkeypatch.setattr(group, "_here", [group.Place(rank=1, size=2)])
    with pytest.raises(torch.OutOfMemoryError):
        compile_kernels(problem, state)


def test_a_whole_step_waits_for_nothing() -> None:
    pytest.importorskip("triton", reason="Triton is not installed here")
    if not dispatch.load("cuda").is_interpreted():
        pytest.skip("its tensors would have to lie on the GPU")
    problem, state = begun()
    before = problem.field.table.detach().clone()
    with dispatch.using("cuda"):
        with no_waiting():
            drawn = draw_step(problem, state, 0.0)
            seen = training_step(problem, state, drawn)
        outcome = seen.read()
    assert outcome.loss > 0 and outcome.num_samples > 0
    assert not torch.equal(problem.field.table, before)
    with pytest.raises(AssertionError, match="a host waits for"), no_waiting():
        UnreadOutcome(torch.zeros(5, dtype=torch.double), 1).read()


def steps(late: bool) -> list[tuple[int, Progress]]:
    """What is known of three steps after each of them and, waiting for it, after the last."""
    problem, state = begun()
    outcomes, progress, found = Outcomes(late), Progress(), []
    drawn: list[StepInput] = [draw_step(problem, state, 0.1 * step) for step in range(3)]
    for number, one in enumerate((*drawn, None)):
        if one is not None:
            seen = [0.5, 0.25, 100.0 * (number + 1), 300.0, 64.0]
            figures = torch.tensor(seen, dtype=torch.double)
            outcomes.add(one, UnreadOutcome(figures, 64))
        known = outcomes.known(wait=one is None)
        assert all(earlier is drawn[outcome.num_samples // 100 - 1] for earlier, outcome in known)
        for earlier, outcome in known:
            progress = counted(progress, outcome, earlier.plan)
        found.append((len(known), progress))
    return found


def test_outcomes_come_at_once_or_a_step_late_and_none_is_lost() -> None:
    at_once, late = steps(late=False), steps(late=True)
    assert [number for number, _ in at_once] == [1, 1, 1, 0]
    assert [number for number, _ in late] == [0, 1, 1, 1]
    assert late[-1][1] == at_once[-1][1]
    assert late[-1][1].num_samples == 600 and late[-1][1].num_rays == 192
