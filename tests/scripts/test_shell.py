"""What shell scripts make of their arguments and of a checkout, up to where their work begins."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.sources import REPOSITORY

# Lacks a package, and shows what it is asked to run.
PYTHON = """#!/bin/sh
case $1 in
  -) case $(cat) in *find_spec*) echo safetensors ;; esac ;;
  -c) ;;
  *) printf '<%s>' "$@"; echo ;;
esac
"""
PYTHON_WITH_ALL = """#!/bin/sh
exit 0
"""
CMAKE = """#!/bin/sh
ls "$2" >&2
exit 3
"""
README = """# Checked

<!-- ci: set-up -->
```sh
ls >&2; exit 3
python train.py
```
<!-- ci: test -->
```sh
pytest
```
<!-- ci: lint -->
```sh
ruff check
```
"""


def ran(
    script: Path, *words: str, folder: Path, **programs: str
) -> subprocess.CompletedProcess[str]:
    """How a script ended in ``folder``, with stand-ins for other programs."""
    stand_ins = folder / "stand-ins"
    stand_ins.mkdir()
    for name, text in programs.items():
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    paths = f"{stand_ins}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", script, *words],
        cwd=folder,
        env={**os.environ, "PATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_gpu_check_takes_folders_as_its_caller_sees_them(tmp_path: Path) -> None:
    (tmp_path / "my data/nerf_synthetic/lego").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    words = ("--data", "my data", "--wheels", "wheels", "benchmarks")
    done = ran(REPOSITORY / "scripts/gpu_check.sh", *words, folder=tmp_path, python=PYTHON)
    assert done.returncode == 0, done.stderr
    assert f"<capture={tmp_path}/my data/nerf_synthetic/lego>" in done.stdout
    assert f"<--find-links><{tmp_path}/wheels>" in done.stdout


def test_the_gpu_check_fails_without_what_it_should_check_with(tmp_path: Path) -> None:
    if shutil.which("compute-sanitizer") or [*Path("/usr/local").glob("cuda*/bin/compute-san*")]:
        pytest.skip("compute-sanitizer is installed")
    script = REPOSITORY / "scripts/gpu_check.sh"
    done = ran(script, "sanitizer", folder=tmp_path, python=PYTHON_WITH_ALL)
    assert (done.returncode, done.stderr) == (1, "FAILED: sanitizer\n")
    assert "compute-sanitizer (of the CUDA toolkit) is not installed" in done.stdout


@pytest.mark.parametrize("name", [".ci/run", "scripts/sanitize.sh"])
def test_a_deleted_file_is_not_copied(name: str, tmp_path: Path) -> None:
    """Also where it is the last of the list."""
    script = tmp_path / name
    script.parent.mkdir()
    shutil.copy(REPOSITORY / name, script)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "z_last").touch()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    (tmp_path / "z_last").unlink()
    done = ran(script, folder=tmp_path, cmake=CMAKE, chromedriver="")
    assert (done.returncode, "README.md" in done.stderr) == (3, True), done.stderr
    assert "z_last" not in done.stderr


@pytest.mark.parametrize("mark", ["set-up", "test", "lint"])
def test_a_block_that_readme_lacks_is_said_before_anything_runs(mark: str, tmp_path: Path) -> None:
    """Its command would be empty, and pass."""
    script = tmp_path / ".ci/run"
    script.parent.mkdir()
    shutil.copy(REPOSITORY / ".ci/run", script)
    (tmp_path / "README.md").write_text(README.replace(f"<!-- ci: {mark} -->", ""))
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    done = ran(script, folder=tmp_path, chromedriver="")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"README.md has no code block under <!-- ci: {mark} -->" in done.stderr


def test_all_native_kernels_are_sanitized() -> None:
    """Those of rays and points have no word of their own: they are most of what is listed."""
    text = (REPOSITORY / "scripts/sanitize.sh").read_text(encoding="utf-8")
    paths = re.findall(r"tests/kernels[\w/]*(?:\.py)?", text)
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    (parity,) = re.findall(r'^parity="([^"]+)"', text, re.MULTILINE)
    (threads,) = re.findall(r'-k "([^"]+)"', text)
    sources = (REPOSITORY / "neural_render/kernels/csrc").glob("*_module.cpp")
    parts = {path.stem.removesuffix("_module") for path in sources}
    assert parts
    assert {part for part in parts if part not in parity} == set()
    assert parts <= set(threads.split(" or "))
