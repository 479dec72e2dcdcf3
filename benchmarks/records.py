"""Records of measurements: one JSON line each, with commit, machine and backend; and a table."""

import json
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from neural_render.evaluation.report import machine_description
from neural_render.kernels import dispatch

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Medians of repeated runs of one call: wall seconds, and process CPU seconds per thread."""

    wall: float
    cpu: float


def timed(call: Callable[[], Any], repeats: int, threads: int) -> Cost:
    """The cost of ``call``, after one run to warm up."""
    call()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append((time.process_time() - cpu) / threads)
    return Cost(wall=median(walls), cpu=median(cpus))


def commit() -> str:
    """The checked out commit, with ``+`` where files differ from it; "" outside a checkout."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        )
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True)
    except OSError:
        return ""
    return head.stdout.strip() + ("+" if changed.returncode == 1 else "")


def append(suite: str, backend: str, threads: int, values: dict[str, Any]) -> Path:
    """Adds one line to ``benchmarks/records/<suite>.jsonl`` and gives its path."""
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "commit": commit(),
        "machine": machine_description(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "backend": backend,
        "threads": threads,
        **values,
    }
    path = ROOT / "benchmarks" / "records" / f"{suite}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    return path


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under their heads, the first column left-aligned."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    print(title)
    for row in [heads, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells[1:]]))


def start(backend: str, threads: int) -> tuple[str, int]:
    """Selects a backend; gives its name and threads. One torch thread beside C++ kernels."""
    threads = threads or dispatch.usable_cores()
    resolved = dispatch.select(backend, threads)
    torch.set_num_threads(1 if resolved == "cpu" else threads)
    return resolved, threads
