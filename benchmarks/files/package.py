"""Suite ``package``: how small a run becomes, and what that costs on its test views."""

import tempfile
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.options import BenchmarkOptions
from benchmarks.records import append, print_table, start
from neural_render.captures.opening import open_capture
from neural_render.config.composition import load_settings
from neural_render.training.packages.making import MadePackage, Original, make_package
from neural_render.training.packages.opening import open_scene
from neural_render.training.packages.settings import PackageSettings
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering

LOSSES = (0.02, 0.05, 0.1)  # dB that are allowed
HEADS = ["allowed", "MB", "ratio", "bits", "before", "after", "loss", "made", "opened"]


def run(options: BenchmarkOptions) -> None:
    """Packages the run once for each loss, shows and records sizes and PSNRs."""
    resolved, threads = start(options.backend, options.threads, options.precision)
    device = torch.device("cpu")
    folder = RunFolder.open(Path(options.run))
    original = Original(
        run=folder,
        scene=load_for_rendering(folder, device),
        capture=open_capture(load_settings(folder.config_path).capture, progress=False),
        background="auto",
    )
    results = {}
    with tempfile.TemporaryDirectory() as place:
        for allowed in LOSSES:
            settings = PackageSettings(output=f"{place}/run.nrpack", max_loss_db=allowed)
            began = perf_counter()
            made = make_package(original, settings)
            done = perf_counter()
            open_scene(made.file.path, device)
            results[f"{allowed:g}"] = _figures(made, done - began, perf_counter() - done)
    rows = [
        [
            f"{allowed} dB",
            f"{found['bytes'] / 1e6:.2f}",
            f"{found['ratio']:.1f}",
            f"{found['bits_per_entry']:.2f}",
            f"{found['psnr_run']:.2f}",
            f"{found['psnr_package']:.2f}",
            f"{found['loss_db']:.3f} dB",
            f"{found['seconds']:.0f} s",
            f"{found['opening_seconds']:.2f} s",
        ]
        for allowed, found in results.items()
    ]
    print_table(f"packages of {original.capture.name}", HEADS, rows)
    values = {"capture": original.capture.name, "steps": original.scene.progress.step}
    print(append("package", resolved, threads, values | {"packages": results}))


def _figures(made: MadePackage, seconds: float, opening: float) -> dict[str, float | str]:
    """What is recorded of a package."""
    quality = made.quality
    return {
        "bytes": made.num_bytes,
        "ratio": made.ratio,
        "bits_per_entry": made.bits_per_entry,
        "views": quality.views,
        "psnr_run": quality.psnr_run,
        "psnr_package": quality.psnr_package,
        "loss_db": quality.loss_db,
        "psnr_between": quality.psnr_between,
        "seconds": seconds,
        "opening_seconds": opening,
    }
