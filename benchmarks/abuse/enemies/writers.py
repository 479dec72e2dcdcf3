"""Everything else that writes, ended at a random instant: its output is whole or not there.

The next call works and gives what an undisturbed one gives; the run it was made of is as before.
"""

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from benchmarks.abuse.enemies.material import Material
from benchmarks.abuse.enemies.programs import CODES, Case, finished, leftovers, start, tree

KINDS = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
TIMES = 3  # that each is ended
OWN = ("renders/", "mesh.", "points.", "tiny.nrpack", "evaluation/", "report.html", ".lock")


def commands(run: Path) -> dict[str, tuple[str, ...]]:
    """What is done with a run."""
    few = ("path=orbit", "frames=4", "size=64x64")
    return {
        "video": ("render.py", f"run={run}", *few, "output=video"),
        "frames": ("render.py", f"run={run}", *few, "output=frames,exr,depth"),
        "package": ("scripts/package.py", f"run={run}"),
        "mesh": ("scripts/export.py", f"run={run}", "format=mesh", "export.mesh.resolution=64"),
        "points": ("scripts/export.py", f"run={run}", "format=points", "export.points.count=2000"),
        "evaluation": ("scripts/evaluate.py", f"run={run}"),
    }


def cases(material: Material) -> list[Callable[[], Case]]:
    """All of it, and structure from motion."""
    names = commands(Path())
    return [
        *(lambda name=name: _ended_case(material, name) for name in names),
        lambda: _motion_case(material),
    ]


def _ended_case(material: Material, name: str) -> Case:
    rng, folder = random.Random(f"{material.seed} {name}"), material.folder(f"writer_{name}")
    whole = material.copied_run(folder / "whole")
    once = finished(commands(whole)[name], folder=folder)
    faults, expected = once.faults(0), set(tree(whole))
    run = material.copied_run(folder / "ended")
    before = tree(run)
    for number in range(TIMES):
        sent = KINDS[number % len(KINDS)]
        program = start(commands(run)[name], folder=folder)
        instant = once.seconds * (number + rng.random()) / TIMES
        program.when(lambda seconds, instant=instant: seconds >= instant)
        program.send(sent)
        done = program.ended()
        faults += [f"{sent.name}: {fault}" for fault in done.faults(0, *CODES[sent])]
        faults += changed(before, run)
    last = finished(commands(run)[name], folder=folder)
    faults += [f"at last: {fault}" for fault in last.faults(0)]
    faults += [f"missing: {file}" for file in sorted(expected - set(tree(run)))[:3]]
    faults += [*changed(before, run), *leftovers(run)]
    return Case(part="writers", name=name, faults=tuple(faults))


def changed(before: dict[str, bytes], run: Path, own: tuple[str, ...] = OWN) -> list[str]:
    """Faults: what was in a run and is no more as it was, but for what is written anew."""
    now = tree(run)
    names = [name for name in before if not name.startswith(own)]
    return [f"{name} was changed" for name in names if now.get(name) != before[name]][:2]


def _motion_case(material: Material) -> Case:
    """Photos without poses; their model is found after all, and then used."""
    folder, faults = material.folder("motion"), []
    photos = material.photos(folder / "photos")
    words = ("scripts/inspect_capture.py", f"capture.path={photos}")
    once = finished(words, folder=folder)
    faults += once.faults(0)
    made = {name for name in tree(photos) if not name.startswith("images/")}
    for index, share in enumerate((0.3, 0.6, 0.8)):
        for name in ("sparse", ".neural_render"):
            shutil.rmtree(photos / name, ignore_errors=True)
        sent = KINDS[index]
        program = start(words, folder=folder)
        program.when(lambda seconds, share=share: seconds >= share * once.seconds)
        program.send(sent)
        faults += [f"{sent.name}: {fault}" for fault in program.ended().faults(0, *CODES[sent])]
        last = finished(words, folder=folder)
        faults += [f"after {sent.name}: {fault}" for fault in last.faults(0)]
        now = {name for name in tree(photos) if not name.startswith("images/")}
        faults += [f"{name} is missing or too much" for name in sorted(now ^ made)[:2]]
    return Case(part="writers", name="structure from motion", faults=tuple(faults))
