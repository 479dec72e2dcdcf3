"""Suite ``train``: whole training steps on a capture, beside the plain-PyTorch reference and, where
they are asked for, the CPU prototype and peers. One batch size and one table size on all sides.
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.options import BenchmarkOptions
from benchmarks.peers.prototype import Prototype
from benchmarks.processes import LeftOut, ask
from benchmarks.records import append, bar_plot, print_table, start
from neural_render.core.errors import SettingError

REFERENCE_STEPS = 12  # enough for a rate; a step takes about a second
SECONDS = 30.0
SCALING_REPEATS = 5
PEERS = {"torch.compile": "compiled", "nerfstudio": "nerfstudio"}  # modules of benchmarks.peers
UNIT = "million surviving samples per CPU second (process CPU time / threads)"


def ours(options: BenchmarkOptions, isa: str = "", **more: Any) -> dict[str, Any]:
    """Figures of the project's own training, in a process of its own."""
    sent = {
        "capture": options.capture,
        "max_side": options.max_side,
        "backend": options.backend,
        "precision": options.precision,
        "threads": options.threads,
        "batch": options.batch,
        "log2_rows": options.log2_rows,
    }
    return ask("benchmarks.steps", {**sent, **more}, {"NEURAL_RENDER_ISA": isa} if isa else {})


def prototype(options: BenchmarkOptions, seconds: float) -> dict[str, Any]:
    """Figures of the prototype at the same batch and table size."""
    with tempfile.TemporaryDirectory() as work:
        capture = Path(options.capture).expanduser()
        ready = Prototype(Path(options.prototype), capture, Path(work))
        return ready.train(seconds, options.batch, options.log2_rows)


def sides_of(
    options: BenchmarkOptions, seconds: float, threads: int
) -> dict[str, Callable[[], dict[str, Any]]]:
    """How each side but the reference is measured, by name, our own first."""
    sides: dict[str, Any] = {
        f"neural_render {isa}".strip(): lambda isa=isa: ours(options, isa, seconds=seconds)
        for isa in options.isa or ("",)
    }
    if not options.isa:
        sides["the same, no roulette"] = lambda: ours(options, seconds=seconds, exact=True)
    if options.prototype:
        sides["prototype"] = lambda: prototype(options, seconds)
    if options.peers:
        sent = {"batch": options.batch, "log2_rows": options.log2_rows, "threads": threads}
        folder = {"folder": str(Path(options.nerfstudio).expanduser().resolve())}
        for name, module in PEERS.items():
            extra = folder if name == "nerfstudio" else {}
            asked = (f"benchmarks.peers.{module}", {**sent, **extra})
            sides[name] = lambda asked=asked: ask(*asked)
    return sides


def measured(options: BenchmarkOptions, seconds: float, threads: int) -> dict[str, dict[str, Any]]:
    """The figures of every side by name, from the round of its median speed.

    Sides take turns, so that a change of the machine meets all alike. Those that cannot be had are
    said. The reference, which is slow and far behind, is measured once.
    """
    few = {"backend": "reference", "precision": "auto", "steps": REFERENCE_STEPS}
    once = {"reference": lambda: ours(options, **few)}
    sides, rounds = sides_of(options, seconds, threads), max(1, options.rounds)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in [*sides, *once]}
    for turn in range(rounds):
        for name, measure in {**sides, **(once if turn == 0 else {})}.items():
            if turn > 0 and not found[name]:
                continue
            try:
                found[name].append(measure())
            except LeftOut as reason:
                print(f"{name} is left out: {reason}", flush=True)
            else:
                print(f"{name}: {speed_of(found[name][-1]):.3f} M samples/CPU s", flush=True)
    results = {}
    for name, each in found.items():
        if each:
            results[name] = sorted(each, key=speed_of)[len(each) // 2]
            results[name]["rounds"] = [speed_of(one) for one in each]
    return results


def speed_of(figures: dict[str, Any]) -> float:
    """Million samples per CPU second."""
    return figures["million_samples_per_second"]


def show(results: dict[str, dict[str, Any]]) -> None:
    """Prints the table of all sides and where the CPU time of our own goes."""
    rates = {name: found["million_samples_per_second"] for name, found in results.items()}
    speed = next(iter(rates.values()))
    rows = [
        [
            name,
            f"{rates[name]:.3f}",
            f"{speed / rates[name]:.2f}x",
            f"{figures['steps']:.0f}",
            f"{figures['seconds']:.2f}",
            f"{figures['wall_seconds']:.2f}",
        ]
        for name, figures in results.items()
    ]
    heads = ["training", "M samples/CPU s", "first is", "steps", "CPU s", "wall s"]
    print_table(UNIT, heads, rows)
    for name, figures in results.items():
        if "parts" in figures:
            parts = (f"{part} {rate:.2f}" for part, rate in figures["parts"].items())
            print(f"{name}, M samples/CPU s of its parts: {', '.join(parts)}")
        if "shares" in figures:
            shares = sorted(figures["shares"].items(), key=lambda pair: -pair[1])
            text = ", ".join(f"{op} {100 * share:.1f} %" for op, share in shares)
            print(f"{name}, share of CPU time: {text}")
        if figures.get("phases"):
            text = ", ".join(f"{phase} {100 * x:.1f} %" for phase, x in figures["phases"].items())
            print(f"{name}, share of wall time within the fused ops: {text}")


def run(options: BenchmarkOptions) -> None:
    """Measures all sides, prints, plots and records them."""
    if not options.capture:
        raise SettingError("suite=train needs capture=DIR, the folder of a capture.")
    if len(options.seconds) > 1:
        raise SettingError("suite=train takes one number of seconds.")
    seconds = options.seconds[0] if options.seconds else SECONDS
    resolved, threads = start(options.backend, options.threads, options.precision)
    folder = Path(options.capture).expanduser()
    values: dict[str, Any] = {
        "capture": folder.name,
        "precision": options.precision,
        "log2_rows": options.log2_rows,
        "batch": options.batch,
    }
    if options.scaling:
        found = scaling(options, threads)
        show_scaling(found)
        print(append("scaling", resolved, threads, {**values, "results": found}))
        return
    results = measured(options, seconds, threads)
    if not results:
        raise SettingError("nothing could be measured: see above.")
    show(results)
    rates = {name: found["million_samples_per_second"] for name, found in results.items()}
    bar_plot("train", f"training steps, {folder.name}", rates, UNIT)
    print(append("train", resolved, threads, {**values, "results": results}))


def scaling(options: BenchmarkOptions, threads: int, **more: int) -> dict[str, Any]:
    """The same work on 1 and on all threads, and beside it as many programs at once as there are
    threads, one thread each: what the cores give to work that shares nothing (nor a table in the
    cache, so that threads may do better).

    ``more``: options of ``benchmarks.steps``.
    """
    isa, sent = options.isa[0] if options.isa else "", {"scaling": SCALING_REPEATS, **more}
    found = ours(options, isa, **sent)
    with ThreadPoolExecutor(threads) as pool:
        alone = {**sent, "threads": 1}
        running = [pool.submit(ours, options, isa, **alone) for _ in range(threads)]
        walls = [wall for each in running for wall in each.result()["walls"]["1"]]
    apart = threads * found["medians"]["1"] / median(walls)
    return {**found, "programs": walls, "speedup_of_programs": apart}


def show_scaling(found: dict[str, Any]) -> None:
    """Prints the wall time of the same work for each number of threads."""
    medians = found["medians"]
    rows = [
        [f"{threads} threads", f"{seconds:.2f}", f"{medians['1'] / seconds:.2f}x"]
        for threads, seconds in medians.items()
    ]
    programs = f"{found['threads']} programs of 1 thread, for each"
    more = found["speedup_of_programs"]
    rows.append([programs, f"{median(found['programs']):.2f}", f"{more:.2f}x together"])
    title = f"wall seconds of the same {found['steps']} steps, median of {SCALING_REPEATS}"
    print_table(title, ["", "wall s", "speed-up"], rows)
    bar_plot("scaling", title, {f"{name} threads": wall for name, wall in medians.items()}, "s")
