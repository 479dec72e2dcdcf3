"""Steps that are recorded and replayed are the steps that would have been taken."""

import pytest

pytest.importorskip("triton", reason="Triton is not installed here")

import torch
from torch import Tensor

from neural_render.kernels import cuda, dispatch, ops
from neural_render.kernels.specs import AdamSpec
from neural_render.training.step import MIN_RAYS, rung
from neural_render.training.stepping.replaying import MOST_GRAPHS, Given, Replays

DEVICE = torch.device("cpu" if cuda.is_interpreted() else "cuda")


class Fitted:
    """A parameter with its moments, drawn to what is given."""

    def __init__(self) -> None:
        self.parameter, *self.moments = torch.zeros(3, 4, device=DEVICE).unbind()

    def step(self, given: Given, adam: AdamSpec) -> Tensor:
        """One step of Adam; the loss before it."""
        gradient = self.parameter - given[0].mean(0)
        ops.adam_step(self.parameter, (self.moments[0], self.moments[1]), gradient, adam)
        return gradient.square().sum()


def adam(step: int) -> AdamSpec:
    """Each step has a learning rate of its own."""
    return AdamSpec(learning_rate=0.1 / step, step=step)


@pytest.fixture
def cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend itself, also where tests have one that moves tensors to a GPU and back."""
    monkeypatch.setitem(dispatch.BACKENDS, "cuda", "neural_render.kernels.cuda")


def test_replayed_steps_are_the_same_steps(cuda_alone: None) -> None:
    """Of any number of rays, in any order, each with its own Adam."""
    plain, replayed, replays = Fitted(), Fitted(), Replays()
    with dispatch.using("cuda"):
        for step, num_rays in enumerate((5, 5, 3, 5, 3, 7, 5), start=1):
            given = (torch.full((num_rays, 4), float(step), device=DEVICE),)
            expected = plain.step(given, adam(step))
            found = replays.do("kind", given, replayed.step, adam(step))
            assert torch.allclose(found, expected)
    assert plain.parameter.abs().min() > 0
    assert torch.equal(replayed.parameter, plain.parameter)


def test_few_graphs_are_kept(cuda_alone: None) -> None:
    fitted, replays = Fitted(), Replays()
    with dispatch.using("cuda"):
        for num_rays in range(1, MOST_GRAPHS + 10):
            given = (torch.ones(num_rays, 4, device=DEVICE),)
            replays.do("kind", given, fitted.step, adam(num_rays))
    assert len(replays._graphs) == MOST_GRAPHS


def test_backends_without_graphs_do_the_work_itself() -> None:
    asked = []
    with dispatch.using("reference"):
        for step in (1, 2, 3):
            given = (torch.ones(step, 4),)
            Replays().do("kind", given, lambda given, adam: asked.append(given[0]), adam(step))
            assert asked[-1] is given[0]


def test_a_gpu_takes_few_numbers_of_rays() -> None:
    numbers = {rung(wanted) for wanted in range(1, 1 << 20, 77)}
    assert len(numbers) < 120 and all(number % 64 == 0 for number in numbers)
    for wanted in (4000, 35_712, 99_999, 1 << 20):
        assert abs(rung(wanted) / wanted - 1) < 0.06
        assert rung(rung(wanted)) == rung(wanted)
    assert rung(1) == MIN_RAYS


def test_without_memory_for_a_graph_steps_go_on(
    cuda_alone: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory is left")

    monkeypatch.setattr(cuda, "Recorded", full)
    plain, replayed, replays = Fitted(), Fitted(), Replays()
    with dispatch.using("cuda"):
        for step in range(1, 5):
            given = (torch.full((5, 4), float(step), device=DEVICE),)
            plain.step(given, adam(step))
            replays.do("kind", given, replayed.step, adam(step))
    assert torch.equal(replayed.parameter, plain.parameter)
    assert caplog.text.count("no memory is left") == 1
