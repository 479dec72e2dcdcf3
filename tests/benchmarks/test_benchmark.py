"""The benchmark program: what it times is what it says, and wrong settings get one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kernels import calls
from benchmarks.records import timed
from benchmarks.training import FINAL, prototype
from neural_render.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_a_call_is_repeated_after_one_to_warm_up():
    seen = []
    cost = timed(lambda: seen.append(None), repeats=3, threads=2)
    assert len(seen) == 4
    assert cost.wall >= 0


@pytest.mark.parametrize("name", list(calls(256)))
def test_every_op_of_the_suite_runs(name):
    calls(256)[name]()


def test_the_figures_of_the_prototype_are_found():
    line = (
        "MARK eff 15.0s wall 72.0s step 2714 psnr 27.566 loss 0.00122 render cpu/2 277.9 ms"
        " wall-med 619.5 ms samp/ray 6.40 col/ray 5.34 | surv/ray 5.33 slot/ray 6.29 | 2.999"
        " Msurv/s 3.448 Mslot/s 500.6 krays/s(eff) occ 3.088%"
    )
    assert FINAL.findall(line) == [("15.0", "72.0", "2714", "27.566", "2.999")]


def test_a_folder_without_the_prototype_is_said(tmp_path):
    with pytest.raises(UserError, match=r"has no ngp\.cpp"):
        prototype(tmp_path, tmp_path, 1.0)


@pytest.mark.parametrize("setting", ["suite=paint", "speed=9", "repeats=-1"])
def test_wrong_settings_get_one_sentence(setting):
    command = [sys.executable, ROOT / "scripts" / "benchmark.py", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert setting in done.stderr
