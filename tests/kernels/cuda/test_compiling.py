"""Every kernel compiles for the GPUs that people have, also where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed here")

from tests.architecture.sources import REPOSITORY


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_every_kernel_compiles(capability: int, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.kernels.cuda.compile_all", str(capability)]
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"sm_{capability}: " in done.stdout and "field_backward_program" in done.stdout
