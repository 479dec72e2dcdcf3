"""Suite ``render``: whole frames of a trained run's test cameras, in milliseconds."""

import time
from pathlib import Path

import torch

from benchmarks.options import BenchmarkOptions
from benchmarks.records import append, bar_plot, print_table, start, timed
from benchmarks.steps import seconds_of_phases
from neural_render.captures.opening import open_capture
from neural_render.config.composition import load_settings
from neural_render.rendering import Image, render_image
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering


def run(options: BenchmarkOptions) -> None:
    """Measures ``views`` test views spread over the split, shows and records their times, and how
    the middle one's is shared by the phases of the fused renderer."""
    resolved, threads = start(options.backend, options.threads, options.precision)
    folder = RunFolder.open(Path(options.run))
    scene = load_for_rendering(folder, torch.device("cpu"))
    settings = load_settings(folder.config_path).capture
    capture = open_capture(settings, progress=False, images=False)
    cameras = capture.test.cameras.in_frame(scene.record.frame.world_from_field.inverse())
    chosen = range(0, len(cameras), max(1, len(cameras) // max(1, options.views)))
    rows, costs = [], []

    def frame(index: int) -> Image:
        return render_image(scene.renderer, scene.field, cameras, index, scene.background)

    for index in chosen:
        cost = timed(lambda index=index: frame(index), max(1, options.repeats), threads)
        costs.append(cost)
        size = f"{int(cameras.width[index])}x{int(cameras.height[index])}"
        name = capture.test.names[index]
        rows.append([name, size, f"{cost.wall * 1e3:.0f}", f"{cost.cpu * 1e3:.0f}"])
    print_table("one frame", ["view", "size", "wall ms", "CPU ms / threads"], rows)
    wall = sorted(cost.wall for cost in costs)[len(costs) // 2]
    cpu = sorted(cost.cpu for cost in costs)[len(costs) // 2]
    print(f"median: {wall * 1e3:.0f} ms wall, {cpu * 1e3:.0f} ms CPU / threads")
    began = time.perf_counter()
    with seconds_of_phases(resolved) as spent:
        for _ in range(max(1, options.repeats)):
            frame(chosen[len(chosen) // 2])
    whole = threads * (time.perf_counter() - began)
    phases = {name: seconds / whole for name, seconds in spent.items()}
    if phases:
        told = ", ".join(f"{name} {100 * share:.1f} %" for name, share in phases.items())
        print(f"share of wall time within the fused renderer: {told}")
    frames = {row[0]: cost.wall * 1e3 for row, cost in zip(rows, costs, strict=True)}
    bar_plot("render", f"one frame of {capture.name}", frames, "wall ms")
    values = {"capture": capture.name, "steps": scene.progress.step, "wall": wall, "cpu": cpu}
    values |= {"precision": options.precision, "phases": phases}
    print(append("render", resolved, threads, values))
