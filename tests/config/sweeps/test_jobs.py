"""Jobs of a sweep write into places of their own, or are refused before the first one begins."""

import os
from pathlib import Path

import pytest

from neural_render.config.sweep import Program, check_apart, own_folders
from neural_render.core.errors import SettingError
from neural_render.core.processes.sweeps import (
    folder_of,
    own_folder,
    own_threads,
    told,
    told_here,
)

LIGHTS = (("lights.key=1", "render.output=frames"), ("lights.key=2", "render.output=frames"))


def program(place: str, *, needs_run: bool = True) -> Program:
    """What a sweep knows of a program that writes to such a place."""
    here = Path("program.py")
    return Program(
        task=print, path=here, configs=here, needs_run=needs_run, place=place, explain=str
    )


@pytest.mark.parametrize(
    ("place", "needs_run", "jobs", "sentence"),
    [
        ("run", True, LIGHTS, "would write into the latest run one over the other: give each a"),
        ("run", True, (("seed=0", "run='a'"), ("seed=1", "run='a'")), "would write into 'a' one"),
        ("run", False, (("seed=0", "run='a'"), ("seed=1", "run='a'")), "would write into 'a' one"),
        ("export.output", True, (("export.output='a'",), ("export.output='a'",)), "='a' one over"),
    ],
)
def test_jobs_that_would_write_over_each_other_are_refused(
    place: str, needs_run: bool, jobs: tuple[tuple[str, ...], ...], sentence: str
) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_apart(program(place, needs_run=needs_run), jobs)


@pytest.mark.parametrize(
    ("place", "needs_run", "jobs"),
    [
        ("run", False, LIGHTS),
        ("run", True, (("run='a'",), ("run='b'",))),
        ("", True, LIGHTS),
        ("export.output", True, LIGHTS),
        ("export.output", True, (("export.output='a'",), ("export.output='b'",))),
    ],
)
def test_jobs_apart_are_not(place: str, needs_run: bool, jobs: tuple[tuple[str, ...], ...]) -> None:
    check_apart(program(place, needs_run=needs_run), jobs)


def test_each_job_has_a_folder_that_says_what_it_is() -> None:
    shown = frozenset({"lights.key"})
    assert own_folders(program(""), LIGHTS, shown) == ("0_lights.key=1", "1_lights.key=2")
    assert own_folders(program("run"), LIGHTS, shown) == ("", "")
    runs = (("run='a'",), ("run='b'",))
    assert own_folders(program(""), runs, frozenset({"run"})) == ("", "")
    assert folder_of(3, ("lights.Größe 1=[1,0.5,0]",)) == "3_lights.Größe_1=_1_0.5_0"
    assert len(folder_of(3, ("render.path=" + "x" * 300,))) < 90


def test_a_job_is_told_by_its_environment() -> None:
    assert (own_folder({}), own_threads({})) == ("", 0)
    both = told("0_seed=1", 3)
    assert (own_folder(both), own_threads(both)) == ("0_seed=1", 3)
    assert own_threads(told("")) == 0
    before = dict(os.environ)
    with told_here("1_seed=2"):
        assert own_folder() == "1_seed=2"
    assert dict(os.environ) == before
