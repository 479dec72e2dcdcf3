"""Suite ``kills``: programs that run are killed, starved of disk, doubled, confused, and go on.

Nothing may be lost or left half-written, and what a program says is one sentence. What is done
depends on the seed alone, when it hits on the machine.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.abuse.enemies import clocks, couples, disks, places, trainings, writers
from benchmarks.abuse.enemies.material import Material
from benchmarks.abuse.enemies.programs import Case
from benchmarks.options import KILL_PARTS, BenchmarkOptions
from benchmarks.records import append, print_table, start

AT_ONCE = 2  # programs beside each other: starting one keeps one core busy
HEADS = ["part", "cases", "good", "bad"]
OTHERS = {
    part.__name__.rpartition(".")[2]: part.cases
    for part in (writers, disks, couples, places, clocks)
}
Cases = list[Callable[[], Case]]


def cases_of(part: str, material: Material, options: BenchmarkOptions) -> Cases:
    """What is to be done in one part."""
    if part == "training":
        return trainings.training_cases(material, options.trainings)
    if part == "baking":
        return trainings.baking_cases(material, options.bakes)
    return OTHERS[part](material)


def run(options: BenchmarkOptions) -> None:
    """Does it all; shows and records how many cases of each part went well, and what went wrong."""
    wanted = options.parts_of(KILL_PARTS)
    resolved, threads = start("cpu", options.threads, options.precision)
    found: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="neural_render_kills_") as place:
        material = Material(place=Path(place), seed=options.seed)
        for part in wanted:
            for case in attempted(part, cases_of(part, material, options)):
                found.append(case)
                for fault in case.faults:
                    print(f"{case.part}: {case.name}: {fault}", flush=True)
    counts = counted(found)
    rows = [[part, *map(str, (good + bad, good, bad))] for part, (good, bad) in counts.items()]
    print_table("ended, starved, doubled, confused", HEADS, rows)
    values = {"seed": options.seed, "cases": counts}
    faults = [f"{case.part}: {case.name}: {fault}" for case in found for fault in case.faults]
    print(append("kills", resolved, threads, values | {"faults": faults}))


def attempted(part: str, cases: Cases) -> Iterator[Case]:
    """What came of the cases of a part, a few at once; one that breaks off is a bad one."""

    def tried(number: int, case: Callable[[], Case]) -> Case:
        try:
            return case()
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            return Case(part=part, name=f"case {number} broke off", faults=(fault,))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(tried, range(1, len(cases) + 1), cases)


def counted(cases: list[Case]) -> dict[str, list[int]]:
    """Good and bad cases of each part."""
    found: dict[str, list[int]] = {}
    for case in cases:
        found.setdefault(case.part, [0, 0])[bool(case.faults)] += 1
    return found
