"""Two processes share a step's rays and take the step that one process would take."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from neural_render.core.errors import CheckpointError, OutputError
from neural_render.core.processes import group
from neural_render.kernels import dispatch
from neural_render.training.loop import check_same_start
from neural_render.training.runs.folder import RunFolder
from tests.tiny_capture import write_blender_capture
from tests.training.processes import worker

ROOT = Path(__file__).resolve().parents[3]
# Of the largest entry: sums of float32 in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process left, and what each of two left."""
    folder = tmp_path_factory.mktemp("shared")
    write_blender_capture(folder / "tiny", num_train=6, num_test=1, size=32)
    threads = torch.get_num_threads()
    try:
        worker.work(folder)
    finally:
        dispatch.select("auto", 2)
        torch.set_num_threads(threads)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    module = ["-m", "tests.training.processes.worker", str(folder)]
    done = subprocess.run(
        [sys.executable, *launch, *module], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_two_halves_of_a_batch_give_the_gradient_of_all_of_it(folder: Path) -> None:
    whole = load_file(folder / "gradients_1_0")
    assert {"table", "density_weights", "color_weights", "pose", "exposure"} <= set(whole)
    assert len(whole["squared"]) == worker.NUM_RAYS
    for rank in (0, 1):
        shared = load_file(folder / f"gradients_2_{rank}")
        assert set(shared) == set(whole)
        for name, wanted in whole.items():
            largest = float(wanted.double().abs().max())
            assert largest > 0, name
            away = float((shared[name].double() - wanted.double()).abs().max())
            assert away <= TOLERANCE * largest, f"{name}: {away / largest}"


def test_both_processes_have_the_same_state_bit_for_bit(folder: Path) -> None:
    assert different(folder, "state") == []


def test_parameters_that_drifted_apart_become_the_first_ones(folder: Path) -> None:
    assert different(folder, "synchronised") == []
    before, after = load_file(folder / "state_2_0"), load_file(folder / "synchronised_2_0")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_as_much_is_learnt_as_by_one_process(folder: Path) -> None:
    """The steps differ by which samples roulette leaves out alone."""
    one, two = load_file(folder / "state_1_0"), load_file(folder / "state_2_0")
    begun = worker.tiny_field().state_dict()
    for name in ("table", "density_weights", "color_weights"):
        learnt = [state[f"field.{name}"] - begun[name] for state in (one, two)]
        assert cosine(*learnt) > 0.9, name


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of two."""
    place = group.Place(rank=1, size=2, local_rank=0, local_size=1)
    monkeypatch.setattr(group, "_here", [place])


def test_processes_that_see_different_runs_do_not_train(
    folder: Path, monkeypatch: pytest.MonkeyPatch, second_of_two: None
) -> None:
    _, state = worker.begin(folder)
    run = RunFolder(path=folder / "run")
    monkeypatch.setattr(group, "gathered", lambda own: (torch.stack([own, own]),))
    check_same_start(state, run)
    monkeypatch.setattr(group, "gathered", lambda own: (torch.stack([own + 7, own]),))
    with pytest.raises(CheckpointError, match=r"begin at steps \[7, 0\]: let outputs lie"):
        check_same_start(state, run)


def test_a_run_folder_that_another_machine_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second_of_two: None
) -> None:
    there = RunFolder(path=tmp_path / "there")
    monkeypatch.setattr(group, "of_first", lambda make: there)
    begun = partial(RunFolder.begun, "", str(tmp_path), "name")
    told = r"there, where this run is kept, .* by process 1: let"
    with pytest.raises(OutputError, match=told), begun():
        pass
    there.path.mkdir()
    with begun() as found:
        assert found == there
    assert there.path.is_dir()  # the first process removes it, if anyone does


def different(folder: Path, what: str) -> list[str]:
    first, second = (load_file(folder / f"{what}_2_{rank}") for rank in (0, 1))
    assert set(first) == set(second)
    return [name for name in first if not torch.equal(first[name], second[name])]


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))
