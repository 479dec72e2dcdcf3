"""Bars of the repository itself: its tests, its rules, and what its enemies come to."""

from statistics import median

from benchmarks.bars.records import Asked, Found, Row, number_at, passes, passes_tests
from benchmarks.options import KILL_PARTS
from benchmarks.repository.suite_runs import on_one_machine, series


def flaky(_: Found) -> float:
    """How many tests failed in some run at this commit."""
    return len({name for line in series() for name in line["failed"]})


def minutes(_: Found) -> float:
    """The median of their time on the machine of the newest run."""
    return median(line["wall_seconds"] for line in on_one_machine(series())) / 60


def bad_in(part: str) -> Asked:
    """How many cases of a part of ``suite=kills`` did not go well."""

    def figure(found: Found) -> float:
        return number_at(found.record, f"cases/{part}/1")

    return Asked(what=f"{part}: not resumed", figure=figure, at_most=0, unit="", digits=0)


def bad_elsewhere(found: Found) -> float:
    """Bad cases of all other parts of ``suite=kills``; NaN where one of them was left out."""
    parts = [part for part in KILL_PARTS if part not in ENDED]
    return sum(number_at(found.record, f"cases/{part}/1") for part in parts)


ENDED = ("training", "baking")

ROWS = (
    Row(
        name="ci",
        command="bash .ci/run",
        asked=(
            passes("README's set-up, main job, lint and tests on a fresh machine"),
            Asked(
                what="its time",
                figure=lambda found: found.wall / 60,
                at_most=20,
                unit="min",
                digits=1,
            ),
        ),
    ),
    Row(
        name="tests",
        command="python scripts/benchmark.py suite=tests runs=1",
        asked=(
            Asked(what="runs", figure=lambda _: len(series()), at_least=20, unit="", digits=0),
            Asked(what="tests that failed in some", figure=flaky, at_most=0, unit="", digits=0),
            Asked(
                what="median of their time",
                figure=minutes,
                at_most=10,
                unit="min",
                digits=1,
            ),
        ),
        protocol="README's test command; all runs at this commit, one more each time",
    ),
    Row(
        name="house",
        command="python -m pytest -q -n 2 tests/architecture",
        asked=passes_tests("no upward import, no import circle, nothing longer than its limit"),
        protocol="limits without an exception: modules 400 lines, functions 60",
    ),
    Row(
        name="inputs",
        command="python scripts/benchmark.py suite=inputs",
        asked=(
            Asked(
                what="broken inputs",
                figure=lambda found: number_at(found.record, "cases"),
                at_least=200,
                unit="",
                digits=0,
            ),
            Asked(
                what="not ended in one sentence",
                figure=lambda found: (
                    number_at(found.record, "cases") - number_at(found.record, "good")
                ),
                at_most=0,
                unit="",
                digits=0,
            ),
        ),
        protocol="by hand and by chance, at every door; exit code 2, nothing changed",
    ),
    Row(
        name="kills",
        command="python scripts/benchmark.py suite=kills",
        asked=(
            *map(bad_in, ENDED),
            Asked(what="bad elsewhere", figure=bad_elsewhere, at_most=0, unit="", digits=0),
        ),
        protocol="30 trainings (weights bit for bit) and 10 bakes ended at random instants; also"
        " films, packages, exports, placing photos, full disks, two programs at once, odd names,"
        " clocks that jump",
    ),
)
