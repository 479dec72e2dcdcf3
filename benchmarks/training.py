"""Suite ``train``: whole training steps on a capture, beside the plain-PyTorch reference and, where
its source is given, the CPU prototype. One batch size and one table size on all sides.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import append, print_table, start
from neural_render.captures.opening import open_capture
from neural_render.captures.photos import PhotoSource
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import UserError
from neural_render.fields import FieldSettings, GridSettings, RadianceField, field_spec
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.training.loop import RunContext, train
from neural_render.training.randomness import generator_for
from neural_render.training.runs.folder import RunFolder
from neural_render.training.settings import TrainingSettings

SAMPLES_PER_STEP = 1 << 14
LOG2_ROWS = 17
REFERENCE_STEPS = 12  # enough for a rate; a step takes about a second
COMPILE = "g++ -O3 -march=native -mavx512bf16 -mprefer-vector-width=512 -ffast-math -fopenmp"
FINAL = re.compile(r"MARK eff ([\d.]+)s wall ([\d.]+)s step (\d+) psnr ([\d.]+).* ([\d.]+) Msurv/s")


def ours(
    source: PhotoSource, backend: str, threads: int, budget: TrainingSettings
) -> dict[str, Any]:
    """One training run's figures; million surviving samples per CPU second per thread."""
    device = torch.device("cpu")
    resolved, threads = start(backend, threads)
    frame = source.frame
    settings = FieldSettings(grid=GridSettings(log2_rows=LOG2_ROWS))
    spec = field_spec(settings, num_channels=3, cascades=frame.cascades, radiance="sigmoid")
    field = RadianceField(spec, generator_for(0, 0, "initialise", device))
    renderer = build_renderer(RenderingSettings(), frame, device)
    context = RunContext(seed=0, backend=resolved, threads=threads, capture="", config="")
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder), "benchmark")
        done = train(source, field, renderer, budget, run, context)
    return {
        "million_samples_per_second": done.num_samples / done.train_cpu_seconds / 1e6,
        "seconds": done.train_cpu_seconds,
        "wall_seconds": done.train_seconds,
        "steps": done.step,
        "samples": done.num_samples,
        "rays": done.num_rays,
    }


def prototype(source: Path, capture: Path, seconds: float) -> dict[str, Any]:
    """The CPU prototype's figures on the same machine, compiled and run as its README says."""
    if not (source / "ngp.cpp").is_file():
        raise UserError(f"prototype={source} has no ngp.cpp; give the prototype's folder.")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        subprocess.run([sys.executable, source / "prepare.py", capture, work / "data"], check=True)
        defines = f"-std=c++17 -DLOG2T={LOG2_ROWS} -DHALF=1 -DPF=1"
        program = [str(source / "ngp.cpp"), "-o", str(work / "ngp")]
        subprocess.run([*COMPILE.split(), *defines.split(), *program], check=True)
        arguments = f"-t {seconds} -b {SAMPLES_PER_STEP} -s4 200 -s2 600 -lrend .02"
        output = subprocess.run(
            [str(work / "ngp"), *arguments.split()],
            env={"PROTO_DATA": str(work / "data"), "OMP_WAIT_POLICY": "passive", "NOVAR": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    found = FINAL.findall(output)
    if not found:
        raise UserError(f"the prototype in {source} printed no figures: {output[-200:]!r}")
    spent, wall, steps, psnr, speed = (float(value) for value in found[-1])
    return {
        "million_samples_per_second": speed,
        "seconds": spent,
        "wall_seconds": wall,
        "steps": steps,
        "psnr_of_8_views": psnr,
    }


def run(backend: str, threads: int, capture: str, seconds: float, prototype_source: str) -> None:
    """Measures training by ``seconds`` of CPU time per thread, prints and records the ratios."""
    folder = Path(capture).expanduser()
    source = PhotoSource(open_capture(CaptureSettings(path=capture), progress=True))
    fixed = {"samples_per_step": SAMPLES_PER_STEP, "checkpoint_every": 1e9, "tensorboard": False}
    budget = TrainingSettings(max_seconds=seconds, clock="cpu", **fixed)
    results = {"neural_render": ours(source, backend, threads, budget)}
    if prototype_source:
        results["prototype"] = prototype(Path(prototype_source), folder, seconds)
    few = TrainingSettings(num_steps=REFERENCE_STEPS, **fixed)
    results["reference"] = ours(source, "reference", threads, few)
    speed = results["neural_render"]["million_samples_per_second"]
    rows = [
        [
            name,
            f"{figures['million_samples_per_second']:.3f}",
            f"{speed / figures['million_samples_per_second']:.2f}x",
            f"{figures['steps']:.0f}",
            f"{figures['seconds']:.1f}",
            f"{figures['wall_seconds']:.1f}",
        ]
        for name, figures in results.items()
    ]
    heads = ["training", "M samples/CPU s", "we are", "steps", "CPU s", "wall s"]
    print_table("surviving samples per CPU second (process CPU time / threads)", heads, rows)
    resolved, threads = start(backend, threads)
    values = {"capture": folder.name, "log2_rows": LOG2_ROWS, "results": results}
    print(append("train", resolved, threads, values))
