"""Disks that are full or may not be written to, users without a home: small file systems in memory.

What was there before stays, one sentence says what happened, and when there is room, it goes on.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.abuse.enemies.material import BAKE_STEPS, STEPS, Material
from benchmarks.abuse.enemies.programs import Case, Ended, finished, leftovers, tree
from benchmarks.abuse.enemies.trainings import run_faults, weights
from benchmarks.abuse.enemies.writers import changed, commands

ROOMS = (0.02, 0.3, 0.7, 0.95)  # of what a whole run takes
LITTLE, ENOUGH = 24 << 10, 64 << 20  # bytes
NOBODY = 54321  # a user that the system has no name for
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
HOMELESS = "a user without a home"


@contextmanager
def disk(num_bytes: int) -> Iterator[Path]:
    """A file system with so much room."""
    with tempfile.TemporaryDirectory(prefix="neural_render_disk_") as place:
        _mount("-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", place)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def changed_disk(place: Path, options: str) -> None:
    """Gives a file system more room, or lets nobody write to it (``ro``)."""
    _mount("-o", f"remount,{options}", str(place))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def can_mount() -> bool:
    """Whether this user may mount file systems here."""
    try:
        with disk(1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def cases(material: Material) -> list[Callable[[], Case]]:
    """All of it; nothing where file systems cannot be mounted, which is said."""
    if not can_mount():
        print("disks: left out, since only root can mount file systems")
        return []
    names = commands(Path())
    return [
        *(lambda room=room: _full_training(material, room) for room in ROOMS),
        *(lambda room=room: _full_bake(material, room) for room in ROOMS[1:3]),
        *(lambda name=name: _full_writer(material, name) for name in names),
        *(lambda name=name: _read_only_run(material, name) for name in names),
        *(
            lambda name=name: _full_temporary(material, name)
            for name in ("package", "mesh", "bake")
        ),
        lambda: _read_only_outputs(material),
        lambda: _read_only_capture(material, posed=True),
        lambda: _read_only_capture(material, posed=False),
        lambda: _nowhere_to_keep(material),
        *([lambda: _nobody(material)] if nobody_may_start() else []),
    ]


def nobody_may_start() -> bool:
    """Whether a user without a home may start this Python; where not, that is said."""
    command = [*AS_NOBODY, "env", sys.executable, "-c", ""]
    if not shutil.which(command[0]) or subprocess.run(command, capture_output=True).returncode:
        print(f"disks: {HOMELESS}: left out, since others may not start this Python")
        return False
    return True


def _full_training(material: Material, room: float) -> Case:
    reference, _ = material.trained
    with _filled(material.training, reference, room) as (run, faults):
        faults += run_faults(run, reference, STEPS)
        if not faults and weights(run, STEPS) != weights(reference, STEPS):
            faults.append("the weights are not those of an undisturbed run")
    return Case(part="disks", name=f"training, {room:.0%} of the room", faults=tuple(faults))


def _full_bake(material: Material, room: float) -> Case:
    reference, _ = material.baked
    with _filled(material.baking, reference, room) as (run, faults):
        faults += run_faults(run, reference, BAKE_STEPS)
    return Case(part="disks", name=f"baking, {room:.0%} of the room", faults=tuple(faults))


@contextmanager
def _filled(
    words: tuple[str | Path, ...], reference: Path, room: float
) -> Iterator[tuple[Path, list[str]]]:
    """The run of a program whose disk was full until it had ended once, and its faults."""
    whole = sum(map(len, tree(reference).values()))
    with disk(max(LITTLE, int(room * whole))) as place:
        first = finished(words, folder=place)
        faults = [f"on a full disk: {fault}" for fault in first.faults(2)]
        faults += leftovers(place)
        changed_disk(place, f"size={ENOUGH}")
        runs = [path.parent for path in place.glob("outputs/*/*/config.yaml")]
        last = finished((words[0], f"run={runs[0]}") if runs else words, folder=place)
        faults += [f"with room: {fault}" for fault in last.faults(0)]
        yield place / last.last_line, faults


def _full_writer(material: Material, name: str) -> Case:
    whole = sum(map(len, tree(material.trained[0]).values()))
    with disk(whole + ENOUGH) as place:
        run = material.copied_run(place)
        used = shutil.disk_usage(place).used
        changed_disk(place, f"size={used}")
        before = tree(run)
        first = finished(commands(run)[name], folder=place)
        faults = [f"on a full disk: {fault}" for fault in first.faults(2)]
        faults += [*changed(before, run, ()), *leftovers(run)]
        changed_disk(place, f"size={used + ENOUGH}")
        last = finished(commands(run)[name], folder=place)
        faults += [f"with room: {fault}" for fault in last.faults(0)]
    return Case(part="disks", name=f"full, {name}", faults=tuple(faults))


def _read_only_run(material: Material, name: str) -> Case:
    with disk(ENOUGH) as place:
        run = material.copied_run(place)
        changed_disk(place, "ro")
        done = finished(commands(run)[name], folder=place)
        return Case(part="disks", name=f"read-only, {name}", faults=tuple(done.faults(2)))


def _full_temporary(material: Material, name: str) -> Case:
    """Hardly any room where temporary files go: it works, or says so."""
    folder = material.folder(f"temporary_{name}")
    words = material.baking if name == "bake" else commands(material.copied_run(folder))[name]
    with disk(LITTLE) as place:
        (place / "filling").write_bytes(bytes(LITTLE // 2))
        done = finished(words, folder=folder, environment={"TMPDIR": str(place)})
    return Case(part="disks", name=f"full TMPDIR, {name}", faults=tuple(done.faults(0, 2)))


def _read_only_outputs(material: Material) -> Case:
    with disk(ENOUGH) as place:
        changed_disk(place, "ro")
        done = finished((*material.training, f"outputs={place}/o"), folder=material.place)
        return Case(part="disks", name="read-only outputs", faults=tuple(done.faults(2)))


def _read_only_capture(material: Material, *, posed: bool) -> Case:
    """What would be kept beside the photos is kept elsewhere."""
    folder = material.folder(f"read_only_{posed}")
    with disk(ENOUGH) as place:
        if posed:
            shutil.copytree(material.capture, place / "photos")
        else:
            material.photos(place / "photos")
        changed_disk(place, "ro")
        faults = []
        for _ in range(2):
            words = ("train.py", *material.training[2:], f"capture.path={place}/photos")
            done = _with_cache(words, folder, str(folder / "cache"))
            faults += done.faults(0)
    return Case(part="disks", name=f"read-only capture, poses: {posed}", faults=tuple(faults))


def _nowhere_to_keep(material: Material) -> Case:
    """Neither beside the photos nor at home."""
    with disk(ENOUGH) as place:
        material.photos(place / "photos")
        changed_disk(place, "ro")
        words = ("scripts/inspect_capture.py", f"capture.path={place}/photos")
        done = _with_cache(words, material.place, str(place / "cache"))
    return Case(part="disks", name="read-only capture and home", faults=tuple(done.faults(2)))


def _with_cache(words: tuple[str | Path, ...], folder: Path, cache: str) -> Ended:
    return finished(words, folder=folder, environment={"XDG_CACHE_HOME": cache, "HOME": cache})


def _nobody(material: Material) -> Case:
    """A user without name and home, as containers have, and photos that others own."""
    folder = material.folder("nobody")
    photos = material.photos(folder / "photos")
    for path in (material.place, folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    work = folder / "work"
    work.mkdir()
    os.chown(work, NOBODY, NOBODY)
    done = finished(
        ("scripts/inspect_capture.py", f"capture.path={photos}"),
        folder=work,
        prefix=[*AS_NOBODY, "env", "--unset=HOME"],
    )
    return Case(part="disks", name=HOMELESS, faults=tuple(done.faults(0, 2)))
