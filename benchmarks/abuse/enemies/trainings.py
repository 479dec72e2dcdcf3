"""Training and baking, ended at a random instant and taken up again as a user would.

The instant is a random share of an undisturbed program's life, or the moment at which a file that
is still being written is seen. A training must end as if nothing had happened, bit for bit.
"""

import json
import random
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from pathlib import Path

from benchmarks.abuse.enemies.material import BAKE_STEPS, STEPS, Material
from benchmarks.abuse.enemies.programs import CODES, Case, finished, leftovers, shared_memory, start
from benchmarks.processes import measures

KILL, INTERRUPT, TERMINATE = signal.SIGKILL, signal.SIGINT, signal.SIGTERM
SIGNALS = (KILL, INTERRUPT, KILL, INTERRUPT, KILL, TERMINATE)
EVERY_WAITING = 3  # one in so many waits for a file
DRAFTS = (
    "*/*/checkpoints/*.partial",
    "*/*/evaluation/.*",
    "*/*/renders/*/.*",
    "*/*/.*.*",
    "latest*partial*",
    "references/*",
)
Due = Callable[[float], bool]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """When a program is ended, and how."""

    name: str
    signal: signal.Signals
    due: Callable[[Path], Due]  # of the outputs


def attacks(number: int, seed: int, seconds: float) -> list[Attack]:
    """``number`` attacks on a program that lives for ``seconds``."""
    rng = random.Random(seed)
    shares = [(index + rng.random()) / number for index in range(number)]
    signals = [*islice(cycle(SIGNALS), number)]
    rng.shuffle(shares)
    rng.shuffle(signals)
    drafts = cycle(DRAFTS)
    found = []
    for index, (share, sent) in enumerate(zip(shares, signals, strict=True)):
        if index % EVERY_WAITING == EVERY_WAITING - 1:
            pattern = next(drafts)
            name, due = f"at {pattern}", _when_there(pattern, 1.5 * seconds)
        else:
            name, due = f"at {100 * share:.0f} %", _at(share * seconds)
        found.append(Attack(name=f"{sent.name} {name}", signal=sent, due=due))
    return found


def _at(instant: float) -> Callable[[Path], Due]:
    return lambda _: lambda seconds: seconds >= instant


def _when_there(pattern: str, longest: float) -> Callable[[Path], Due]:
    def due(outputs: Path) -> Due:
        return lambda seconds: is_there(outputs, pattern) or seconds > longest

    return due


def is_there(folder: Path, pattern: str) -> bool:
    """Whether a file matches, in folders that come and go meanwhile."""
    try:
        return any(folder.glob(pattern))
    except FileNotFoundError:
        return False


def training_cases(material: Material, number: int) -> list[Callable[[], Case]]:
    """Trainings to be ended."""
    reference, done = material.trained
    found = attacks(number, material.seed, done.seconds)
    return [
        lambda index=index, attack=attack: _training(material, reference, index, attack)
        for index, attack in enumerate(found)
    ]


def baking_cases(material: Material, number: int) -> list[Callable[[], Case]]:
    """Bakes to be ended."""
    reference, done = material.baked
    found = attacks(number, material.seed + 1, done.seconds)
    return [
        lambda index=index, attack=attack: _baking(material, reference, index, attack)
        for index, attack in enumerate(found)
    ]


def _training(material: Material, reference: Path, index: int, attack: Attack) -> Case:
    folder = material.folder(f"training_{index}")
    run, faults = ended_and_resumed(material.training, folder, attack)
    faults += run_faults(run, reference, STEPS)
    if not faults and weights(run, STEPS) != weights(reference, STEPS):
        faults.append("the weights are not those of an undisturbed run")
    return Case(part="training", name=attack.name, faults=tuple(faults))


def _baking(material: Material, reference: Path, index: int, attack: Attack) -> Case:
    folder, before = material.folder(f"baking_{index}"), shared_memory()
    run, faults = ended_and_resumed(material.baking, folder, attack)
    faults += run_faults(run, reference, BAKE_STEPS)
    faults += leftovers(folder / "outputs/references")
    faults += [f"left shared memory {name}" for name in shared_memory() - before]
    return Case(part="baking", name=attack.name, faults=tuple(faults))


def ended_and_resumed(
    words: tuple[str | Path, ...], folder: Path, attack: Attack
) -> tuple[Path, list[str]]:
    """The run folder in which a program that was ended went on to its end, and the faults."""
    program = start(words, folder=folder)
    sent = program.when(attack.due(folder / "outputs"))
    program.send(attack.signal)
    first = program.ended()
    codes = (*CODES[attack.signal], *((0,) if not sent or first.output.count("\n") > 8 else ()))
    faults = [f"when ended: {fault}" for fault in first.faults(*codes)]
    runs = [path for path in (folder / "outputs").glob("*/*") if (path / "config.yaml").is_file()]
    runs = [path for path in runs if path.parent.name not in ("references", "latest")]
    again = (words[0], f"run={runs[0]}") if runs else words
    last = finished(again, folder=folder)
    faults += [f"when resumed: {fault}" for fault in last.faults(0)]
    return folder / last.last_line, faults


def run_faults(run: Path, reference: Path, steps: int) -> list[str]:
    """What is wrong with a run that should be as complete as another."""
    if not (run / "config.yaml").is_file():
        return [f"{run} is no run"]
    faults = leftovers(run)
    here, there = names(run), names(reference)
    faults += [f"{name} is missing" for name in sorted(there - here)[:3]]
    faults += [f"{name} is too much" for name in sorted(here - there)[:3]]
    if faults:
        return faults
    faults += metrics_faults(run / "metrics.jsonl", steps)
    for name, expected in (("num_steps", steps), ("num_views", measures(reference)["num_views"])):
        if measures(run)[name] != expected:
            faults.append(f"{name} is {measures(run)[name]}, not {expected}")
    return faults


def metrics_faults(path: Path, steps: int) -> list[str]:
    """What is wrong with the reports of a run of so many steps."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError as error:
        return [f"metrics.jsonl is broken: {error}"]
    faults = []
    for name in ("step", "seconds", "rays", "samples"):
        values = [line[name] for line in lines]
        rising = all(a < b or (name == "seconds" and a == b) for a, b in pairwise(values))
        faults += [] if rising else [f"{name} in metrics.jsonl does not rise"]
    if not lines or lines[-1]["step"] != steps:
        faults.append(f"metrics.jsonl ends before step {steps}")
    return faults


def names(run: Path) -> set[str]:
    """The files of a run; steps that differ by when it was ended are no difference."""
    found = {str(path.relative_to(run)) for path in run.rglob("*") if not path.is_dir()}
    return {re.sub(r"checkpoints/\d+/", "checkpoints/N/", name) for name in found}


def weights(run: Path, step: int) -> bytes:
    """The tensors of a checkpoint as they lie on disk."""
    return (run / f"checkpoints/{step}/weights.safetensors").read_bytes()
