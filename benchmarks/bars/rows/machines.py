"""Bars of GPUs and of several processes."""

from collections.abc import Callable
from statistics import fmean, stdev

from benchmarks.bars.records import Asked, Found, Row, number_at, passes, passes_tests

SEEDS = ",".join(map(str, range(16)))
NO_GPU = (
    "an H200 was at hand in development, but not for this command, which measures it where there is"
    " one: nothing is claimed"
)


def beside_one(found: Found) -> list[float]:
    """Of each seed: PSNR of two processes less the mean of both runs of one."""
    return [
        number_at(pair, "several/psnr")
        - (number_at(pair, "one/psnr") + number_at(pair, "again/psnr")) / 2
        for pair in found.record["results"]
    ]


def apart(found: Found) -> float:
    """How far two processes are from one, on average over seeds."""
    return abs(fmean(beside_one(found)))


def doubt(found: Found) -> float:
    """The standard error of that average."""
    away = beside_one(found)
    return stdev(away) / len(away) ** 0.5


def on_gpu(path: str) -> Callable[[Found], float]:
    """A figure of the lines that ``suite=gpu`` recorded, one of each ``measure``."""

    def figure(found: Found) -> float:
        return number_at({line.get("measure"): line for line in found.lines}, path)

    return figure


def budget(seconds: str, least: float) -> Asked:
    """PSNR of a budget of ``suite=gpu``."""
    figure = on_gpu(f"quality/budgets/{seconds}/psnr")
    return Asked(what=f"lego after {seconds} s", figure=figure, at_least=least)


def over_reference(found: Found) -> float:
    """Steps a second over those of the reference on the same GPU."""
    rate = on_gpu("steps/runs/cuda/per_second")(found)
    return rate / on_gpu("steps/runs/reference/per_second")(found)


ROWS = (
    Row(
        name="gpu",
        command="bash scripts/gpu_check.sh parity sanitizer",
        asked=(passes("parity on the device, compute-sanitizer"),),
        protocol="one H200",
        missed=NO_GPU,
        device="cuda",
    ),
    Row(
        name="gpu-speed",
        command="bash scripts/gpu_check.sh --data DATA --seconds 10,60,300 benchmarks",
        asked=(
            Asked(
                what="a step over the reference's",
                figure=over_reference,
                at_least=20,
                unit="x",
            ),
            Asked(
                what="steps a second, 2^18 samples",
                figure=on_gpu("steps/runs/cuda/per_second"),
                at_least=350,
                unit="",
                digits=0,
            ),
            budget("10", 33.0),
            budget("60", 35.0),
            budget("300", 35.7),
            Asked(
                what="1920x1080 frames a second",
                figure=on_gpu("quality/budgets/300/frames_per_second"),
                at_least=100,
                unit="",
                digits=0,
            ),
        ),
        protocol="one H200",
        missed=NO_GPU,
        device="cuda",
    ),
    Row(
        name="interpreter",
        command="python -m pytest -q -n 2 tests/kernels/test_parity.py"
        " tests/kernels/test_parity_rendering.py tests/kernels/rays"
        " tests/kernels/cuda/test_backend.py -k 'cuda and not cpu'",
        asked=(
            *passes_tests("every Triton kernel against the reference"),
            Asked(
                what="its time", figure=lambda found: found.wall, at_most=180, unit="s", digits=0
            ),
        ),
        protocol="Triton's interpreter, 2 workers",
    ),
    Row(
        name="compiles",
        command="python -m pytest -q -n 2 tests/kernels/cuda/test_compiling.py",
        asked=passes_tests("every kernel compiles for sm_80, sm_90 and sm_100"),
    ),
    Row(
        name="gradients",
        command="python -m pytest -q tests/training/processes",
        asked=passes_tests("2 gloo processes: gradients of one batch equal to 1e-5"),
    ),
    Row(
        name="processes",
        command=f"python scripts/benchmark.py suite=processes seeds={SEEDS}",
        asked=(
            Asked(what="two processes from one", figure=apart, at_most=0.1),
            Asked(what="standard error of that", figure=doubt),
        ),
        protocol="500 steps of the embedded capture, 16 seeds; mean PSNR beside the mean of two"
        " runs of one process, which differ from each other by chance alone",
        missed="16 seeds know it to 0.05 or 0.06 dB: -0.07 on a Zen 4 (d926afd), -0.11 on a Xeon"
        " (1bd1491). Gradients of one batch agree to 1e-5 (row gradients); whether two processes"
        " learn a little less all the same, more seeds would tell, which nobody has run",
    ),
)
