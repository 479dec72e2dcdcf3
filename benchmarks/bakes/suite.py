"""Suite ``bake``: what baked scenes cost and are worth, whatever their materials and triangles.

Every bake is a run of ``scripts/bake.py`` with the same budget and size of field, one at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.bakes.noise import TracerCost, tracer_costs
from benchmarks.bakes.scenes import MATERIALS, SUN, write_box, write_moving
from benchmarks.bakes.timing import FrameTimes, frame_times
from benchmarks.options import BAKE_PARTS, BenchmarkOptions
from benchmarks.processes import baked, measures
from benchmarks.records import append, bar_plot, print_table, start
from neural_render.core.errors import SettingError

SECONDS = 60.0
TRIANGLES = {"1k": 1_000, "100k": 100_000, "1M": 1_000_000}
VIEW_SIDE = 128
REFERENCE_SAMPLES = 256  # of each half: glass is noisy
FIGURES = (
    "psnr",
    "psnr_reference",
    "mean_ratio",
    "relative_mse",
    "train_seconds",
    "train_cpu_seconds",
    "num_steps",
    "num_rays",
    "num_samples",
    "num_samples_marched",
)
ENVIRONMENTS = (".exr", ".hdr")
# Both ways in which first surfaces teach a field where it is empty.
SUPERVISION = {
    "both": ("training.distance_weight=10", "tracer.carve=true"),
    "distances only": ("training.distance_weight=10", "tracer.carve=false"),
    "carving only": ("training.distance_weight=0", "tracer.carve=true"),
    "neither": ("training.distance_weight=0", "tracer.carve=false"),
}


def run(options: BenchmarkOptions) -> None:
    """Bakes, measures, prints, plots and records each of the ``parts``, which stand alone."""
    if len(options.seconds) > 1 or 0 in options.seconds:
        raise SettingError("suite=bake takes one number of seconds above 0.")
    if options.views < 1 or not options.seeds:
        raise SettingError("suite=bake needs views=1 at least, and a seed.")
    wanted = options.parts_of(BAKE_PARTS)
    resolved, threads = start(options.backend, options.threads, options.precision)
    parts: dict[str, Callable[[BenchmarkOptions, int], dict[str, Any]]] = {
        "materials": materials,
        "triangles": triangles,
        "moving": moving,
        "supervision": supervision,
    }
    for part in wanted:
        values = {
            "part": part,
            "seconds": budget(options),
            "log2_rows": options.log2_rows,
            "precision": options.precision,
            **parts[part](options, threads),
        }
        print(append("bake", resolved, threads, values), flush=True)


def budget(options: BenchmarkOptions) -> float:
    """CPU seconds per thread of each bake."""
    return options.seconds[0] if options.seconds else SECONDS


def bake_words(options: BenchmarkOptions, scene: str) -> list[str]:
    """The settings of ``scripts/bake.py`` that all bakes share, and those of ``scene``."""
    path, environment = file_and_environment(scene)
    words: dict[str, Any] = {
        "scene.path": path,
        "scene.environment": environment,
        "training.max_seconds": budget(options),
        "training.clock": "cpu",
        "field.grid.log2_rows": options.log2_rows,
        "views.test": options.views,
        "views.test_size": VIEW_SIDE,
        "views.reference_samples": REFERENCE_SAMPLES,
        "kernels.backend": options.backend,
        "kernels.threads": options.threads,
        "tracer.threads": options.threads,
    }
    if options.precision != "auto":
        words["kernels.precision"] = options.precision
    return [f"{name}={value}" for name, value in words.items() if value != ""]


def file_and_environment(scene: str) -> tuple[str, str]:
    """The parts of ``FILE+ENVIRONMENT``, a file lit by a picture that ends in .exr or .hdr."""
    path, plus, environment = scene.rpartition("+")
    if plus and environment.lower().endswith(ENVIRONMENTS):
        return path, environment
    return scene, ""


def bake(options: BenchmarkOptions, name: str, scene: str, *more: str) -> Path:
    """The run folder of one bake; its PSNR is said."""
    outputs = Path(options.outputs).expanduser()
    found = baked([*bake_words(options, scene), *more], outputs, name)
    record = measures(found)
    print(
        f"{name}: {record['psnr']:.2f} dB (reference {record['psnr_reference']:.2f}) {found}",
        flush=True,
    )
    return found


def figures(run: Path) -> dict[str, Any]:
    """What a bake's record says of its quality and cost."""
    record = measures(run)
    return {name: record[name] for name in FIGURES} | {"tracer": record["tracer"]}


def materials(options: BenchmarkOptions, threads: int) -> dict[str, Any]:
    """One geometry in several materials: frames, beside the path tracer at equal noise."""
    paths = {
        name: write_box(_scratch(options) / name, material) for name, material in MATERIALS.items()
    }
    runs = {name: bake(options, name, str(path)) for name, path in paths.items()}
    times = frame_times(runs, max(1, options.repeats), threads)
    traced = tracer_costs(paths, options.threads)
    ratios = show_frames("materials", runs, times) | show_tracer(traced)
    return {
        **_recorded(runs, times, ratios),
        "tracer": {name: asdict(cost) for name, cost in traced.items()},
    }


def triangles(options: BenchmarkOptions, threads: int) -> dict[str, Any]:
    """The same object in several numbers of triangles."""
    runs = {}
    for name, number in TRIANGLES.items():
        folder = _scratch(options) / f"knot_{name}"
        path = write_box(folder, MATERIALS["diffuse"], number)
        runs[name] = bake(options, folder.name, str(path))
    times = frame_times(runs, max(1, options.repeats), threads)
    return _recorded(runs, times, show_frames("triangles", runs, times))


def moving(options: BenchmarkOptions, threads: int) -> dict[str, Any]:
    """A sun that moves, seen from held-out cameras while it shines from directions never seen."""
    path = write_moving(_scratch(options) / "moving")
    run = bake(options, "moving", str(path), f"scene.moving={SUN}")
    record = measures(run)
    views = {view["name"]: view["psnr"] for view in record["views"]}
    rows = [
        [view["name"], f"{view['psnr']:.2f}", f"{view['psnr_reference']:.2f}"]
        for view in [*record["views"], {**record, "name": "mean"}]
    ]
    print_table("the sun from directions never seen", ["view", "PSNR", "reference"], rows)
    bar_plot("bake_moving", "the sun from directions never seen", views, "PSNR, dB")
    return {"results": {"moving": figures(run)}, "views": views}


def supervision(options: BenchmarkOptions, threads: int) -> dict[str, Any]:
    """Distances of first surfaces used or not, in the loss and to carve space: their mean PSNR."""
    scenes = options.scenes or tuple(
        str(write_box(_scratch(options) / name, MATERIALS[name])) for name in ("diffuse", "glass")
    )
    results: dict[str, Any] = {}
    for scene in scenes:
        path = Path(file_and_environment(scene)[0])
        name = path.parent.name if path.stem == "scene" else path.stem
        # Ways take turns, so that a change of the machine meets all alike.
        for seed in options.seeds:
            for way, words in SUPERVISION.items():
                run = bake(options, f"supervised_{name}", scene, *words, f"seed={seed}")
                results.setdefault(f"{name}, {way}", []).append(figures(run))
    rows = []
    for name, records in results.items():
        mean = _means(records)
        numbers = (f"{mean['psnr']:.2f}", f"{mean['mean_ratio']:.3f}", f"{mean['num_steps']:.0f}")
        rows.append([name, *numbers, f"{mean['num_samples_marched'] / mean['num_rays']:.1f}"])
    heads = ["first surfaces", "PSNR", "mean light / reference", "steps", "samples/ray"]
    title = f"first surfaces in training, seeds: {len(options.seeds)}"
    print_table(title, heads, rows)
    scores = {name: _means(records)["psnr"] for name, records in results.items()}
    bar_plot("bake_supervision", title, scores, "PSNR, dB")
    return {"seeds": options.seeds, "results": results}


def slowest_over_fastest(values: Mapping[str, float]) -> float:
    """The ratio that a bar is set for."""
    return max(values.values()) / min(values.values())


def show_frames(
    part: str, runs: Mapping[str, Path], times: Mapping[str, Mapping[str, FrameTimes]]
) -> dict[str, float]:
    """Prints and plots frames; slowest over fastest of each kind and clock, by name."""
    heads = [part, "PSNR", "reference"]
    for how in times:
        heads += [f"{how}: samples/ray", "coloured", "wall ms", "CPU ms / threads"]
    rows = []
    for name, run in runs.items():
        record = measures(run)
        cells = [name, f"{record['psnr']:.2f}", f"{record['psnr_reference']:.2f}"]
        for how in times:
            seen = times[how][name]
            cells += [f"{seen.marched:.1f}", f"{seen.colored:.1f}"]
            cells += [f"{seen.cost.wall * 1e3:.0f}", f"{seen.cost.cpu * 1e3:.0f}"]
        rows.append(cells)
    print_table(f"{part}: one frame", heads, rows)
    ratios, bars = {}, {}
    for how, seen in times.items():
        for clock in ("wall", "cpu"):
            costs = {name: getattr(each.cost, clock) for name, each in seen.items()}
            ratios[f"{how} {clock}"] = slowest_over_fastest(costs)
        bars |= {f"{name}, {how}": each.cost.cpu * 1e3 for name, each in seen.items()}
    _say(ratios)
    bar_plot(f"bake_{part}", f"{part}: one frame", bars, "CPU ms / threads")
    return ratios


def show_tracer(costs: Mapping[str, TracerCost]) -> dict[str, float]:
    """Prints and plots the path tracer's costs; slowest over fastest, by name."""
    least = min(cost.at_equal_noise for cost in costs.values())
    rows = [
        [
            name,
            f"{cost.seconds * 1e6:.2f}",
            f"{cost.variance:.3g}",
            f"{cost.median_variance:.3g}",
            f"{cost.at_equal_noise / least:.2f}",
        ]
        for name, cost in costs.items()
    ]
    heads = ["path tracer", "CPU us/path", "variance", "median variance", "cost at equal noise"]
    print_table("the path tracer on the same scenes", heads, rows)
    ratios = {
        "tracer, equal paths": {name: cost.seconds for name, cost in costs.items()},
        "tracer, equal noise": {name: cost.at_equal_noise for name, cost in costs.items()},
        "tracer, equal median noise": {
            name: cost.at_equal_median_noise for name, cost in costs.items()
        },
    }
    found = {name: slowest_over_fastest(values) for name, values in ratios.items()}
    _say(found)
    bars = {name: cost.at_equal_noise / least for name, cost in costs.items()}
    bar_plot("bake_tracer", "the path tracer at equal noise", bars, "times the cheapest")
    return found


def _say(ratios: Mapping[str, float]) -> None:
    for name, ratio in ratios.items():
        print(f"slowest over fastest, {name}: {ratio:.2f}")


def _recorded(
    runs: Mapping[str, Path],
    times: Mapping[str, Mapping[str, FrameTimes]],
    ratios: Mapping[str, float],
) -> dict[str, Any]:
    """A part with frames, for its line."""
    return {
        "results": {name: figures(run) for name, run in runs.items()},
        "frames": {
            how: {name: asdict(each) for name, each in seen.items()} for how, seen in times.items()
        },
        "ratios": dict(ratios),
    }


def _means(records: list[dict[str, Any]]) -> dict[str, float]:
    return {name: sum(record[name] for record in records) / len(records) for name in FIGURES}


def _scratch(options: BenchmarkOptions) -> Path:
    """Where scenes are written: they are the same each time, so references are found again."""
    return Path(options.outputs).expanduser() / "scenes"
