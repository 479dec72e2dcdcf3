"""The programs of the command line, run as a user runs them, and a run small enough for tests."""

import importlib.util
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 200
SMALL = (
    "field.grid.levels=6",
    "field.grid.log2_rows=14",
    "field.grid.coarsest=8",
    "field.grid.finest=64",
    "field.width=32",
    "rendering.step=0.01",
    "training.samples_per_step=8192",
    "training.learning_rate=0.03",
    "training.tensorboard=false",
    "render.frames=3",
)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a program said and how it ended."""

    code: int
    output: str
    errors: str

    @property
    def last_line(self) -> str:
        """The last line on stdout."""
        return self.output.splitlines()[-1]


def command(program: str, *words: str | Path) -> list[str]:
    """The words with which a shell would start a program of this repository."""
    return [sys.executable, str(REPOSITORY / program), *map(str, words)]


def shared_command(program: str, *words: str | Path, logs: Path) -> list[str]:
    """The same for two processes, each of which says what it has to say in a file of its own."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    launch += ["--log-dir", str(logs), "--redirects=3"]
    return [sys.executable, *launch, *command(program, *words)[1:]]


def said(logs: Path, rank: int, stream: str = "stderr") -> str:
    """What one of the processes wrote to stdout or stderr."""
    (path,) = logs.glob(f"*/*/{rank}/{stream}.log")
    return path.read_text(encoding="utf-8")


def run(program: str, *words: str | Path, folder: Path) -> Finished:
    """A program that ran to its end in ``folder``."""
    done = subprocess.run(
        command(program, *words), capture_output=True, text=True, cwd=folder, check=False
    )
    return Finished(code=done.returncode, output=done.stdout, errors=done.stderr)


def succeed(program: str, *words: str | Path, folder: Path) -> Finished:
    """The same, which must end well and warn of nothing."""
    done = run(program, *words, folder=folder)
    assert done.code == 0, done.errors
    assert done.errors == ""
    return done


def run_here(
    program: str,
    *words: str | Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Finished:
    """A program that ran to its end in this process, which saves the seconds of its start."""
    path = REPOSITORY / program
    spec = importlib.util.spec_from_file_location(f"{path.stem}_program", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [program, *map(str, words)])
    logger = logging.getLogger("neural_render")
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        code = module.config.main(module.COMMAND, module.main)
    finally:  # a program takes the log for itself
        logger.handlers[:], logger.level, logger.propagate = before
    said = capsys.readouterr()
    return Finished(code=code, output=said.out, errors=said.err)


def weights_of(run_folder: Path, step: int) -> bytes:
    """All tensors of a checkpoint, as they lie on disk."""
    return (run_folder / f"checkpoints/{step}/weights.safetensors").read_bytes()
