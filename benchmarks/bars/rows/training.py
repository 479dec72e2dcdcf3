"""Bars of training and rendering photographs on a CPU."""

import math

from benchmarks.bars.records import Asked, Found, Row, number_at, value_at

LEGO = "DATA/nerf_synthetic/lego"
WHITE = "25 test views of 800x800, on white"
SPEED = "results/{}/million_samples_per_second"


def ratio(ours: str, other: str, what: str, least: float = -math.inf) -> Asked:
    """How many times as many samples a CPU second one side of ``suite=train`` takes."""

    def figure(found: Found) -> float:
        sides = [number_at(found.record, SPEED.format(side)) for side in (ours, other)]
        return sides[0] / sides[1]

    return Asked(what=what, figure=figure, at_least=least, unit="x")


def curve(place: int, seconds: int, least: float) -> Asked:
    """PSNR after one of the budgets of ``suite=curve``."""
    figure = value_at(f"results/neural_render/{place}/psnr")
    return Asked(what=f"PSNR after {seconds} s", figure=figure, at_least=least)


def lost_by_bfloat16(found: Found) -> float:
    """Mean PSNR with float32 less mean PSNR with bfloat16, of the lines of ``scripts/tune.py``."""
    psnr: dict[str, list[float]] = {}
    for line in found.lines:
        psnr.setdefault(str(line.get("variant")), []).append(number_at(line, "psnr"))
    default = psnr.pop("[]", [])
    (changed,) = psnr.values() if len(psnr) == 1 else ([],)
    if not default or len(default) != len(changed):
        return float("nan")
    return (sum(changed) - sum(default)) / len(default)


def _lego(name: str, seconds: int, least: float, *more: Asked) -> Row:
    bar = Asked(what=f"PSNR after {seconds} s", figure=value_at("psnr"), at_least=least)
    return Row(
        name=name,
        command=f"python train.py name={name} capture.path={LEGO} training.max_seconds={seconds}"
        " training.clock=cpu render.output=none",
        asked=(bar, *more),
        protocol=f"{WHITE}; CPU seconds per thread",
    )


ROWS = (
    Row(
        name="cove",
        command="python train.py",
        asked=(
            Asked(what="PSNR", figure=value_at("psnr"), at_least=28),
            Asked(
                what="the whole command, film included",
                figure=lambda found: found.wall,
                at_most=120,
                unit="s",
                digits=0,
            ),
        ),
        protocol="the embedded capture, 10 test views of 400x400",
    ),
    _lego(
        "lego-60",
        60,
        28.5,
        Asked(
            what="memory at most",
            figure=lambda found: found.peak_gib * 1.073741824,
            at_most=2.5,
            unit="GB",
        ),
    ),
    Row(
        name="curve",
        command=f"python scripts/benchmark.py suite=curve capture={LEGO} seconds=15,30,60",
        asked=(curve(0, 15, 28.0), curve(1, 30, 29.5), curve(2, 60, 31.0)),
        protocol=f"{WHITE}; CPU seconds per thread; one run of train.py each",
        missed="its budget is CPU seconds, and the speed of a shared machine changes: in 15 s the"
        " same Xeon made 1,579 steps (9096be2, 28.84 dB) and 1,012 (ca627fa, 27.38 dB;"
        " records/curve.jsonl). Faster steps or a quieter machine would close it",
    ),
    _lego("lego-300", 300, 33.5),
    Row(
        name="frame",
        command="python scripts/benchmark.py suite=render run=RUN(lego-300)",
        asked=(
            Asked(
                what="one 800x800 frame, wall",
                figure=lambda found: number_at(found.record, "wall") * 1000,
                at_most=190,
                unit="ms",
                digits=0,
            ),
        ),
        protocol="median of 7 of each of 5 test views of lego after 300 s",
        missed="it was set on a processor (Zen 5, 2026-11-21) that is 1.5 times as fast: what"
        " needed 189 ms there (commit a0f6569) needs 287 and 315 ms on a Zen 4 (family 25, model"
        " 17), where f319484 needed 288 and 295 ms for the same run (suite=render, both in turn)."
        " On a Xeon with AMX reading the grid is two fifths of it (suite=render). Fewer samples on"
        " each ray would bring it nearer, as with smaller cells near surfaces",
    ),
    _lego("lego-1200", 1200, 32.5),
    Row(
        name="lego-long",
        command=f"python train.py name=lego-long capture.path={LEGO} training.num_steps=20000"
        " training.samples_per_step=262144 field.grid.log2_rows=19 render.output=none",
        asked=(Asked(what="PSNR", figure=value_at("psnr"), at_least=35.0),),
        protocol=f"{WHITE}; 20,000 steps of 2^18 samples, 2^19 rows",
    ),
    Row(
        name="prototype",
        command=f"python scripts/benchmark.py suite=train capture={LEGO} seconds=30"
        " prototype=PROTOTYPE",
        asked=(
            ratio("neural_render", "prototype", "samples a CPU second, over it", 1.0),
            ratio("neural_render", "reference", "over the PyTorch reference"),
        ),
        protocol="whole steps, 2^14 samples, 2^17 rows, median of 3 rounds of 30 s in turn",
    ),
    Row(
        name="peers",
        command=f"python scripts/benchmark.py suite=train capture={LEGO} seconds=10 batch=2^16"
        " peers=true",
        asked=(
            ratio("neural_render", "torch.compile", "over torch.compile", 2.5),
            ratio("neural_render", "nerfstudio", "over nerfstudio's torch field", 25),
        ),
        protocol="whole steps, 2^16 samples, 2^17 rows, median of 3 rounds of 10 s in turn",
    ),
    Row(
        name="isa",
        command=f"python scripts/benchmark.py suite=train capture={LEGO} seconds=8"
        " isa=avx512bf16,avx2",
        asked=(ratio("neural_render avx2", "neural_render avx512bf16", "AVX2 over AVX-512", 0.4),),
        protocol="whole steps, 2^14 samples, median of 3 rounds of 8 s in turn",
    ),
    Row(
        name="scaling",
        command=f"python scripts/benchmark.py suite=train capture={LEGO} scaling=true",
        asked=(
            Asked(
                what="2 threads over 1, wall",
                figure=value_at("results/speedup"),
                at_least=1.8,
                unit="x",
            ),
            Asked(
                what="2 programs of 1 thread at once over 1",
                figure=value_at("results/speedup_of_programs"),
                unit="x",
            ),
        ),
        protocol="the same 100 steps in turn, median of 5; beside them as many programs at once,"
        " which share nothing, not even their tables in the cache",
        missed="9% of a step's CPU time is Python between the kernels, on one thread alone (what"
        " the shares in records/train.jsonl leave): two threads that share the rest evenly can be"
        " 1.83 times as fast; a Zen 4 had 1.79. With AMX the kernels take half as long, Python does"
        " not. Fewer operations of PyTorch between kernels would bring it nearer",
    ),
    Row(
        name="bfloat16",
        command=f"python scripts/tune.py capture={LEGO} steps=4500 seeds=0,1,2"
        " kernels.precision=float32",
        asked=(Asked(what="float32 better by", figure=lost_by_bfloat16, at_most=0.1),),
        protocol="4,500 steps each (60 s of bfloat16), photos held out of training, mean of three"
        " seeds, for one parts from another by more than the limit",
        missed="a figure of before 8733c9a is of one seed, which parts from others by more than the"
        " limit: on a Xeon with AMX seeds 0, 1 and 2 had +0.15, +0.02 and -0.10 dB"
        " (records/tuning.jsonl), +0.02 together",
    ),
)
