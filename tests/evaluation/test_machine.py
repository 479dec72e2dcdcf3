"""The machine that figures were measured on, in words."""

import os
import re
from pathlib import Path

import pytest

from neural_render.evaluation.machine import machine_description


def test_a_machine_is_described_in_a_few_words() -> None:
    machine = machine_description()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert machine["processor"].endswith(f", {cores} cores") and machine["Python"] > "3"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux tells the generation")
def test_the_generation_of_a_processor_is_told_beside_its_name() -> None:
    """Clouds call each of theirs by one name."""
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    known = re.findall(r"^(?:cpu family|model)\s*: (\d+)$", described, re.MULTILINE)[:2]
    if not known:
        pytest.skip("only x86 has families and models")
    family, model = known
    assert f" (family {family}, model {model}), " in machine_description()["processor"]
