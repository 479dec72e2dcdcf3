"""Importing a module builds, prints and probes nothing, and needs no more than its floor may."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, REPOSITORY, python, write_tree

PROBE = Path(__file__).with_name("import_probe.py")

# Libraries without which everything below the command line has to run.
NOT_NEEDED_BELOW = ["hydra", "omegaconf", "OpenImageIO", "beartype", "mitsuba", "trimesh"]


def package_modules() -> list[str]:
    """The package's modules by dotted name."""
    return [source.module for source in python() if source.module.split(".")[0] == PACKAGE]


def probe(root: Path, modules: list[str], blocked: list[str]) -> tuple[list[str], str]:
    """What importing did, and what it printed; fails where a module cannot be imported."""
    result = subprocess.run(
        [sys.executable, str(PROBE), str(root), ",".join(modules), ",".join(blocked)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    *printed, done = result.stdout.splitlines()
    return json.loads(done), "\n".join([*printed, result.stderr]).strip()


def test_everything_below_the_command_line_is_light_and_quiet() -> None:
    modules = [name for name in package_modules() if not name.startswith(f"{PACKAGE}.config")]
    assert probe(REPOSITORY, modules, NOT_NEEDED_BELOW) == ([], "")


def test_the_command_line_is_quiet() -> None:
    modules = [name for name in package_modules() if name.startswith(f"{PACKAGE}.config")]
    assert probe(REPOSITORY, modules, ["beartype", "mitsuba"]) == ([], "")


def test_the_package_itself_loads_nothing() -> None:
    """What it offers comes from the floors below when it is asked for."""
    code = f"import {PACKAGE}, sys; dir({PACKAGE}); print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    loaded = set(done.stdout.split())
    assert PACKAGE in loaded
    assert not {"torch", "numpy", "jaxtyping", "hydra"} & loaded
    assert not {name for name in loaded if name.startswith(f"{PACKAGE}.")}


def test_a_loud_module_is_found(tmp_path: Path) -> None:
    """Printing, writing, reading the machine's files, asking for a GPU, threads, environment."""
    text = """
import os, threading, torch
print("loud")
os.environ["LOUD"] = os.environ.get("LOUD", "") + "!"
open(__file__ + ".log", "w").close()
open(os.devnull).close()
torch.cuda.is_available()
torch.rand(1)
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
    write_tree(tmp_path, {"loud/__init__.py": "", "loud/module.py": text})
    done, printed = probe(tmp_path, ["loud.module"], [])
    assert printed == "loud\nloud"
    assert f"opened {tmp_path / 'loud/module.py.log'}" in done
    assert f"opened {os.devnull}" in done
    assert "asked for a GPU" in done
    assert "changed the environment" in done
    assert "changed the threads" in done or sys.platform != "linux"
    assert "changed the torch's random state" in done


def test_a_module_that_needs_too_much_is_found(tmp_path: Path) -> None:
    write_tree(tmp_path, {"heavy/module.py": "import hydra\n"})
    with pytest.raises(AssertionError, match="import of hydra halted"):
        probe(tmp_path, ["heavy.module"], NOT_NEEDED_BELOW)
