"""Bars of looking at a run and of what leaves the program."""

from statistics import median

from benchmarks.bars.records import PASSES, Asked, Found, Row, number_at, passes_tests, value_at

RUN = "run=RUN(lego-1200)"


def first_picture(found: Found) -> float:
    """The median of the waits for a first picture."""
    return median(found.record["first_seconds"])


ROWS = (
    Row(
        name="viewer",
        command=f"python scripts/benchmark.py suite=viewer {RUN}",
        asked=(
            Asked(what="first picture", figure=first_picture, at_most=2, unit="s"),
            Asked(
                what="pictures a second while moving",
                figure=value_at("rate"),
                at_least=5,
                unit="",
                digits=1,
            ),
            Asked(
                what="the same with all 400x400 pixels",
                figure=value_at("whole/rate"),
                at_least=5,
                unit="",
                digits=1,
            ),
        ),
        protocol="lego after 1200 s; headless Chromium on the same cores, a page of 400x400;"
        " median of 3 openings",
    ),
    Row(
        name="browser",
        command="python -m pytest -q tests/viewer/test_browser.py tests/test_browser.py",
        asked=passes_tests("connect, orbit, dial, path editor: asserted on pixels"),
    ),
    Row(
        name="package",
        command=f"python scripts/benchmark.py suite=package {RUN}",
        asked=(
            Asked(
                what="size",
                figure=lambda found: number_at(found.record, "packages/0.1/bytes") / 1e6,
                at_most=12,
                unit="MB",
            ),
            Asked(
                what="loss",
                figure=value_at("packages/0.1/loss_db"),
                at_most=0.1,
                digits=3,
            ),
        ),
        protocol="lego after 1200 s, 25 test views; a package that may lose 0.1 dB",
    ),
    Row(
        name="mesh",
        command=f"python scripts/benchmark.py suite=mesh {RUN} views=25",
        asked=(
            Asked(what="PSNR", figure=value_at("psnr"), at_least=24),
            Asked(
                what="watertight",
                figure=lambda found: 1 - number_at(found.record, "closed"),
                at_most=0,
                unit=PASSES,
            ),
        ),
        protocol="lego after 1200 s, 25 test views; cast by Mitsuba, unlit",
    ),
    Row(
        name="splats",
        command=f"python scripts/benchmark.py suite=splats {RUN} views=25",
        asked=(
            Asked(what="PSNR", figure=value_at("psnr"), at_least=25),
            Asked(
                what="the whole command",
                figure=lambda found: found.wall / 60,
                unit="min",
                digits=1,
            ),
        ),
        protocol="lego after 1200 s, 25 test views; fitted with the defaults, drawn by a second"
        " rasteriser",
    ),
    Row(
        name="pages",
        command="python -m pytest -q -n 2 tests/evaluation/pages tests/core/pages",
        asked=passes_tests("report and comparison ask no server for anything"),
    ),
)
