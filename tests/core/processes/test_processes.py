"""What processes tell each other arrives; who is alone or lost gets to know it."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from neural_render.core.errors import ProcessError
from neural_render.core.processes import group
from neural_render.core.processes.launch import VARIABLES, assigned_place, joined, shared_gpu

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes heard."""
    folder = tmp_path_factory.mktemp("heard")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    module = ["-m", "tests.core.processes.worker", str(folder)]
    done = subprocess.run(
        [sys.executable, *launch, *module], cwd=ROOT, capture_output=True, text=True, check=False
    )
    files = [folder / f"{rank}.json" for rank in (0, 1)]
    assert all(path.exists() for path in files), done.stderr
    return [json.loads(path.read_text()) for path in files]


def test_tensors_arrive_bit_for_bit_in_the_order_of_the_processes(heard) -> None:
    for rank, one in enumerate(heard):
        assert one["rank"] == rank
        assert one["gathered"] == [
            [[0.1], [1.1]],
            [[True, False, False], [True, True, False]],
            [[], []],
            [[[0, 0]] * 3, [[1, 1]] * 3],
            [0, 1],
        ]
        assert one["objects"] == [{"name": "process 0"}, {"name": "process 1"}]


def test_the_first_process_makes_and_tells(heard) -> None:
    for one in heard:
        assert one["of_first"] == "made by 0"
        assert one["tensor_of_first"] == [[0, 0], [0, 0]]
    assert [one["after_first"] for one in heard] == [len("found"), True]


def test_pictures_come_to_the_first_one_in_their_order(heard) -> None:
    assert [one["share"] for one in heard] == [[0, 2, 4], [1, 3]]
    assert heard[0]["pictures"] == [[number] * 3 * (number + 1) for number in range(5)]
    assert heard[1]["pictures"] == []


def test_what_fails_in_the_first_one_ends_the_others(heard) -> None:
    assert heard[0]["failure"] == "KeyError: 'a bug'"
    assert heard[1]["failure"].startswith("ProcessError: the first process of this job failed")


def test_a_process_that_is_gone_is_noticed(heard) -> None:
    assert "another process of this job is gone or cannot be reached" in heard[0]["gone"]


def test_a_process_alone_tells_itself_everything() -> None:
    assert (group.size(), group.is_first(), group.share([1, 2])) == (1, True, [1, 2])
    tensor = torch.arange(3)
    (stacked,) = group.gathered(tensor)
    assert stacked.tolist() == [[0, 1, 2]] and stacked.data_ptr() == tensor.data_ptr()
    assert group.tensor_of_first(tensor) is tensor
    assert group.gathered_objects(5) == [5]
    assert (group.of_first(lambda: 6), group.after_first(lambda: 7)) == (6, 7)
    assert list(group.in_turn(iter([tensor]), 1)) == [tensor]
    with joined():
        assert group.place() == group.ALONE


def test_a_place_is_what_torchrun_says() -> None:
    said = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    place = group.Place(rank=3, size=4, local_rank=1, local_size=2)
    assert assigned_place(said) == place
    for missing in said:
        assert assigned_place({k: v for k, v in said.items() if k != missing}) == group.ALONE


def test_processes_that_have_one_gpu_between_them_are_named() -> None:
    """One that sees a single GPU has it to itself, whatever others of its machine see."""
    assert shared_gpu(["", "", ""]) == shared_gpu(["one", "", "other", ""]) == ""
    fault = shared_gpu(["one of here", "one of there", "two of here", "one of there"])
    assert "processes 1 and 3 of this job have one GPU between them (one of there)" in fault
    assert fault.endswith("with torchrun --nproc-per-node, or add kernels.device=cpu.")


def test_a_shared_gpu_ends_only_what_needs_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    here = group.Place(rank=1, size=2, fault=shared_gpu(["one", "one"]))
    monkeypatch.setattr(group, "_here", [here])
    group.check_exchange(torch.device("cpu"))
    with pytest.raises(ProcessError, match="processes 0 and 1 of this job have one GPU"):
        group.check_exchange(torch.device("cuda"))
    monkeypatch.setattr(group, "_here", [replace(here, fault="")])
    group.check_exchange(torch.device("cuda"))


def test_who_finds_nobody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES.values(), ("1", "2", "1", "2"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")  # where nothing listens
    with (
        pytest.raises(ProcessError, match=r"process 1 of 2 did not find .*rdzv-endpoint"),
        joined(timedelta(seconds=1)),
    ):
        pass
    assert group.place() == group.ALONE
