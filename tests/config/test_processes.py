"""Programs in several processes: who speaks, who may, and whose cores are whose."""

import logging

import pytest

from neural_render.config.processes import listen_here, own_kernels, told_by, working_together
from neural_render.core.errors import SettingError
from neural_render.core.processes.launch import VARIABLES
from neural_render.kernels import dispatch
from neural_render.kernels.settings import KernelSettings


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch):
    """Makes this process the one of these numbers: rank, size, and the same on its machine."""

    def place(*numbers: int) -> None:
        for name, number in zip(VARIABLES.values(), numbers, strict=True):
            monkeypatch.setenv(name, str(number))

    return place


def test_a_program_that_shares_nothing_says_how_to_start_it(placed) -> None:
    placed(0, 2, 0, 2)
    with (
        pytest.raises(SettingError, match=r"scripts/bake\.py works in one process .* python scr"),
        working_together("scripts/bake.py", shares=False),
    ):
        pass


def test_one_process_of_any_program_works_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    with working_together("scripts/bake.py", shares=False):
        print("said")
    assert capsys.readouterr().out == "said\n"
    assert told_by() == ""


@pytest.mark.parametrize(
    ("numbers", "level", "begins"),
    [
        ((0, 4, 0, 2), logging.INFO, ""),
        ((1, 4, 1, 2), logging.ERROR, "process 1: "),
        ((2, 4, 0, 2), logging.WARNING, "process 2: "),
    ],
)
def test_the_first_one_speaks_and_one_of_each_other_machine_warns(
    numbers: tuple[int, ...], level: int, begins: str, placed
) -> None:
    logger = logging.getLogger("neural_render")
    before = logger.handlers[:], logger.level, logger.propagate
    placed(*numbers)
    try:
        listen_here()
        assert logger.level == level
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
    assert told_by() == begins


def test_processes_of_one_machine_divide_its_cores(placed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "usable_cores", lambda: 7)
    assert own_kernels(KernelSettings()).threads == 0
    placed(5, 12, 2, 3)
    assert own_kernels(KernelSettings()).threads == 2
    assert own_kernels(KernelSettings(threads=5)).threads == 5
    placed(5, 12, 2, 8)
    assert own_kernels(KernelSettings()).threads == 1
