"""The CPU prototype on the same machine: one hard-wired C++ file, compiled as its README says."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neural_render.core.errors import UserError

COMPILE = "g++ -O3 -march=native -mavx512bf16 -mprefer-vector-width=512 -ffast-math -fopenmp"
FINAL = re.compile(r"MARK eff ([\d.]+)s wall ([\d.]+)s step (\d+) psnr ([\d.]+).* ([\d.]+) Msurv/s")
# Coarse steps until iterations 200 and 600, and the last learning rate: its README's settings.
SCHEDULE = "-s4 200 -s2 600 -lrend .02"


class Prototype:
    """The prototype made ready in ``work``: one capture's data, a program for each table size."""

    def __init__(self, source: Path, capture: Path, work: Path) -> None:
        if not (source / "ngp.cpp").is_file():
            raise UserError(f"prototype={source} has no ngp.cpp; give the prototype's folder.")
        self._source, self._work = source.resolve(), work
        _run([sys.executable, source / "prepare.py", capture, work / "data"])

    def train(self, seconds: float, batch: int, log2_rows: int, rising: int = 0) -> dict[str, Any]:
        """Figures after a budget of CPU seconds; ``rising``: the batch that it starts with."""
        program = self._program(log2_rows)
        first = f" -b0 {rising}" if rising else ""
        arguments = f"-t {seconds} -b {batch}{first} {SCHEDULE}"
        environment = {"PROTO_DATA": str(self._work / "data"), "OMP_WAIT_POLICY": "passive"}
        output = _run([program, *arguments.split()], {**environment, "NOVAR": "1"})
        found = FINAL.findall(output)
        if not found:
            raise UserError(f"the prototype printed no figures: {output[-200:]!r}")
        spent, wall, steps, psnr, speed = (float(value) for value in found[-1])
        return {
            "million_samples_per_second": speed,
            "seconds": spent,
            "wall_seconds": wall,
            "steps": steps,
            "psnr_of_8_views": psnr,
        }

    def _program(self, log2_rows: int) -> Path:
        program = self._work / f"ngp{log2_rows}"
        if not program.exists():
            defines = f"-std=c++17 -DLOG2T={log2_rows} -DHALF=1 -DPF=1"
            words = [*COMPILE.split(), *defines.split()]
            _run([*words, self._source / "ngp.cpp", "-o", program])
        return program


def _run(words: Sequence[str | Path], environment: dict[str, str] | None = None) -> str:
    """What a program printed; UserError with its last words if it failed or is not there."""
    try:
        done = subprocess.run(
            [str(word) for word in words], env=environment, capture_output=True, text=True
        )
    except OSError as error:
        raise UserError(f"the prototype cannot be made ready here: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise UserError(f"the prototype cannot be measured here: {Path(words[0]).name}: {said}")
    return done.stdout
