"""Suite ``gpu``: kernels, steps, quality and frames on a GPU, beside the reference on the same one.

Everything is timed with the device waited for before and behind it. Without a GPU it runs on the
CPU, with ``backend=cpu``, which says nothing of a GPU but shows that the suite works.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.devices import profile
from benchmarks.kernels import Workload
from benchmarks.options import BenchmarkOptions
from benchmarks.records import append, print_table
from benchmarks.steps import context_of, problem_of
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.color import quantised
from neural_render.evaluation.metrics import over_background, psnr
from neural_render.kernels import dispatch
from neural_render.rendering import render_image
from neural_render.training.loop import train
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene, load_for_rendering
from neural_render.training.settings import TrainingSettings
from neural_render.training.step import Problem

SAMPLES = {"cuda": 1 << 18, "cpu": 1 << 14}  # of a step
SECONDS = (10.0, 60.0)
WARM, REFERENCE_STEPS = 2, 5
FRAME = (1920, 1080)
RECORDS = "gpu"


def run(options: BenchmarkOptions) -> None:
    """Measures what ``measures`` names, shows and records it."""
    backend = dispatch.resolve(options.backend)
    device = torch.device("cuda" if backend in dispatch.ON_GPU else "cpu")
    measures = {"kernels": _kernels, "steps": _steps, "quality": _quality, "profile": _profile}
    for name in options.measures:
        compute_with(backend, options.precision)
        values = measures[name](options, backend, device)
        values |= {"measure": name, "device": device_name(device), "precision": options.precision}
        print(append(RECORDS, backend, dispatch.usable_cores(), values))


def compute_with(backend: str, precision: str = "auto") -> None:
    """From here on this backend computes."""
    dispatch.select(backend, 0, precision if backend != "reference" else "auto")


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def milliseconds(
    call: Callable[..., Any],
    device: torch.device,
    repeats: int,
    prepare: Callable[[], Any] | None = None,
) -> float:
    """The median of the wall milliseconds of a call, its device waited for; warm."""
    taken = []
    for _ in range(WARM + repeats):
        given = (prepare(),) if prepare else ()
        taken.append(seconds_of(device, call, *given) * 1e3)
    return median(taken[WARM:])


def wait_for(device: torch.device) -> None:
    """Returns when the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _kernels(options: BenchmarkOptions, backend: str, device: torch.device) -> dict[str, Any]:
    """Milliseconds of each op on as many samples as a step has."""
    count, found = SAMPLES[device.type], {}
    for name in dict.fromkeys((backend, "reference")):
        repeats = max(1, options.repeats if name == backend else options.repeats // 2)
        compute_with(name, options.precision)
        with torch.device(device):
            for op, case in Workload(count, device).cases().items():
                cost = milliseconds(case.undifferentiated, device, repeats)
                found.setdefault(op, {})[name] = cost
                if case.inputs:
                    cost = milliseconds(case.backward, device, repeats, prepare=case.graph)
                    found.setdefault(f"{op} backward", {})[name] = cost
    rows = [
        [
            op,
            f"{ms[backend]:.3f}",
            f"{ms['reference']:.2f}",
            f"{ms['reference'] / ms[backend]:.1f}x",
        ]
        for op, ms in found.items()
    ]
    print_table(f"ms of {count} samples", ["op", backend, "reference", "ratio"], rows)
    return {"samples": count, "milliseconds": found}


def _steps(options: BenchmarkOptions, backend: str, device: torch.device) -> dict[str, Any]:
    """Whole training steps a second of a field that is past its beginning, and how many the
    reference makes from where these ended."""
    settings = _settings(device, num_steps=10 * profile.WARM)
    steps, found = profile.Steps(_problem(options, settings, device)), {}
    steps.take(profile.WARM)
    for name in dict.fromkeys((backend, "reference")):
        compute_with(name, options.precision)
        count = options.steps if name == backend else REFERENCE_STEPS
        steps.take(WARM)
        before, wall = steps.state.progress, seconds_of(device, steps.take, count)
        samples = (steps.state.progress.num_samples - before.num_samples) / count
        found[name] = {"steps": count, "wall": wall, "per_second": count / wall, "samples": samples}
    rows = [
        [
            name,
            f"{each['per_second']:.1f}",
            f"{each['per_second'] / found['reference']['per_second']:.1f}x",
            f"{each['samples']:.0f}",
        ]
        for name, each in found.items()
    ]
    print_table("steps a second", ["backend", "steps/s", "ratio", "samples"], rows)
    return {"samples": SAMPLES[device.type], "warm_steps": profile.WARM, "runs": found}


def seconds_of(device: torch.device, call: Callable[..., Any], *given: Any) -> float:
    """The wall seconds of a call, its device waited for."""
    wait_for(device)
    began = time.perf_counter()
    call(*given)
    wait_for(device)
    return time.perf_counter() - began


def _quality(options: BenchmarkOptions, backend: str, device: torch.device) -> dict[str, Any]:
    """Mean PSNR of the test views on white after each budget, and frames a second."""
    found, rows = {}, []
    for seconds in options.seconds or SECONDS:
        settings = _settings(device, max_seconds=seconds)
        wall, samples, scene = _trained(options, settings, backend, device)
        capture = _opened(options)
        score = _score(scene, capture, device)
        rate = _frames(scene, capture, device, options.repeats)
        steps = scene.progress.step
        found[f"{seconds:g}"] = {"psnr": score, "frames_per_second": rate, "steps": steps}
        found[f"{seconds:g}"] |= {"wall": wall, "samples": samples}
        rows.append([f"{seconds:g} s", f"{score:.2f}", f"{steps / wall:.0f}", f"{rate:.1f}"])
    size = f"{FRAME[0]}x{FRAME[1]}"
    print_table("quality", ["budget", "PSNR", "steps/s", f"frames/s at {size}"], rows)
    return {"capture": options.capture, "max_side": options.max_side, "budgets": found}


def _profile(options: BenchmarkOptions, backend: str, device: torch.device) -> dict[str, Any]:
    """Where the time of a step goes, and that of a frame, kernel by kernel."""
    del backend
    settings = _settings(device, num_steps=10 * profile.WARM)
    problem = _problem(options, settings, device)
    found = profile.of_steps(problem, lambda: wait_for(device))
    print(f"{found['milliseconds']:.3f} ms a step")
    frame = problem.source.frame.world_from_field.inverse()
    cameras = _opened(options).test.cameras.in_frame(frame).resized(*FRAME).to(device)
    white = torch.ones(3, device=device)

    def picture() -> None:
        render_image(problem.renderer, problem.field, cameras, 0, white)
        wait_for(device)

    taken = milliseconds(picture, device, options.repeats)
    print(f"{taken:.2f} ms a frame of {FRAME[0]}x{FRAME[1]}")
    return {
        "step": found,
        "frame": {"milliseconds": taken, "kernels": profile.of_kernels(picture, 1)},
    }


def _settings(device: torch.device, **budget: Any) -> TrainingSettings:
    return TrainingSettings(
        samples_per_step=SAMPLES[device.type], checkpoint_every=1e9, tensorboard=False, **budget
    )


def _problem(
    options: BenchmarkOptions, settings: TrainingSettings, device: torch.device
) -> Problem:
    given = {"capture": options.capture, "max_side": options.max_side}
    return problem_of({**given, "log2_rows": options.log2_rows}, settings, device)


def _trained(
    options: BenchmarkOptions, settings: TrainingSettings, backend: str, device: torch.device
) -> tuple[float, int, TrainedScene]:
    """Wall seconds and samples of a training run, and what it learnt."""
    problem = _problem(options, settings, device)
    context = context_of(backend, dispatch.usable_cores())
    parts = (problem.source, problem.field, problem.renderer, settings)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder), "benchmark")
        done = train(*parts, run, context)
        return done.train_seconds, done.num_samples, load_for_rendering(run, device)


def _opened(options: BenchmarkOptions) -> Capture:
    settings = CaptureSettings(path=options.capture, max_side=options.max_side)
    return open_capture(settings, progress=False)


def _score(scene: TrainedScene, capture: Capture, device: torch.device) -> float:
    """The mean PSNR of the test views, of 8-bit pictures on white."""
    frame = scene.record.frame.world_from_field.inverse()
    cameras = capture.test.cameras.in_frame(frame).to(device)
    white, scores = torch.ones(3, device=device), []
    white_srgb = (1.0, 1.0, 1.0)
    for index in range(len(cameras)):
        color = render_image(scene.renderer, scene.field, cameras, index, white).color.cpu()
        photo = over_background(capture.test.image(index).cpu(), white_srgb)
        everywhere = torch.ones(photo.shape[:2], dtype=torch.bool)
        scores.append(psnr(quantised(color), photo, everywhere))
    return sum(scores) / len(scores)


def _frames(scene: TrainedScene, capture: Capture, device: torch.device, repeats: int) -> float:
    """How many pictures of `FRAME` size a second the first test camera takes."""
    frame = scene.record.frame.world_from_field.inverse()
    cameras = capture.test.cameras.in_frame(frame).resized(*FRAME).to(device)
    white = torch.ones(3, device=device)

    def picture() -> Any:
        return render_image(scene.renderer, scene.field, cameras, 0, white)

    return 1e3 / milliseconds(picture, device, max(1, repeats // 2))
