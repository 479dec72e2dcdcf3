"""Every kernel compiles for the GPUs that people have, also where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed here")

from tests.architecture.sources import REPOSITORY

CAPABILITIES = ("90", "80", "100", "75")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Triton keeps what it compiled, by its sources, from one run of the tests to the next:
    beside pytest's folders of the last runs."""
    base = tmp_path_factory.getbasetemp()
    runs = next((folder for folder in base.parents if folder.name.startswith("pytest-of-")), base)
    return runs / "compiled_programs"


def test_every_kernel_compiles(compiled: Path) -> None:
    words = [sys.executable, "-m", "tests.kernels.cuda.compile_all", *CAPABILITIES]
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(compiled)}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "FP_FUSION" not in done.stderr, "Triton warns where it is not told"
    for capability in CAPABILITIES:
        assert f"sm_{capability}: " in done.stdout
    assert done.stdout.count("field_backward_program") == len(CAPABILITIES)
