"""The machine that figures were measured on, in words."""

import re
from pathlib import Path

import pytest

from neural_render.evaluation.machine import machine_description
from neural_render.kernels import dispatch


def test_a_machine_is_described_in_a_few_words() -> None:
    machine = machine_description()
    cores = dispatch.usable_cores()
    assert machine["processor"].endswith(f", {cores} cores") and machine["Python"] > "3"


def test_a_container_has_the_cores_that_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "usable_cores", lambda: 37)
    assert machine_description()["processor"].endswith(", 37 cores")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux tells the generation")
def test_the_generation_of_a_processor_is_told_beside_its_name() -> None:
    """Clouds call each of theirs by one name."""
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    known = re.findall(r"^(?:cpu family|model)\s*: (\d+)$", described, re.MULTILINE)[:2]
    if not known:
        pytest.skip("only x86 has families and models")
    family, model = known
    assert f" (family {family}, model {model}), " in machine_description()["processor"]
