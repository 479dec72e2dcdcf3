"""Processes that fork after kernels have run on several threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neural_render.kernels import dispatch

ROOT = Path(__file__).parents[3]
# A child has none of its parent's threads, and is not to wait for them at its end.
SCRIPT = """
import os
import sys
import torch
from neural_render.kernels import dispatch, ops
from neural_render.kernels.specs import AdamSpec

def step():
    weights = torch.ones(4, 1 << 16).unbind()
    ops.adam_step(weights[0], weights[1:3], weights[3], AdamSpec(learning_rate=0.1, step=1))

torch.set_num_threads(1)  # whose own threads a child waits for
dispatch.select("cpu", threads=2)
step()
for runs in (0, 1):
    child = os.fork()
    if not child:
        for _ in range(runs):
            step()
        sys.exit(0)
    print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(
    bool(dispatch.unavailable_reason("cpu")), reason="the native kernels are not installed here"
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_child_ends_whether_it_has_run_kernels_or_not() -> None:
    words = [sys.executable, "-c", SCRIPT]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (found.returncode, found.stdout.split()) == (0, ["0", "0"]), found.stderr
