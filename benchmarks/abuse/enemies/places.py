"""Names that shells, Hydra, ffmpeg, COLMAP and the tracer may trip over."""

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.abuse.enemies.material import Material
from benchmarks.abuse.enemies.programs import Case, finished
from benchmarks.abuse.enemies.writers import commands

NAMES = (
    "a space",
    'it\'s "quoted"',
    "é 漢字 🙂",
    "-leading=dash",
    "a=b,c",
    "[x] {y} (z)",
    "$HOME %s \\n",  # but ${name} is Hydra's own grammar: the value of another setting
    "#1; rm * & ?",
    "new\nline",
)


def cases(material: Material) -> list[Callable[[], Case]]:
    """One for each name."""
    return [
        lambda name=name, number=number: _named(material, name, number)
        for number, name in enumerate(NAMES)
    ]


def _named(material: Material, name: str, number: int) -> Case:
    """A capture, a run, films, exports, a package and a scene in folders of this name."""
    folder = material.folder(f"place_{number}") / name
    folder.mkdir()
    capture = Path(shutil.copytree(material.capture, folder / name))
    short = ("training.num_steps=30", "render.frames=2", f"outputs={folder / 'out'}")
    trained = finished(
        ("train.py", *material.training[2:], f"capture.path={capture}", *short), folder=folder
    )
    faults = [f"train.py: {fault}" for fault in trained.faults(0)]
    run = next(folder.glob("out/tiny/*"), folder)
    for words in (commands(run)["video"], commands(run)["frames"], *_elsewhere(run, folder, name)):
        faults += [
            f"{' '.join(words)[:99]}: {fault}" for fault in finished(words, folder=folder).faults(0)
        ]
    scene = shutil.copytree(material.scene.parent, folder / "scene" / name) / material.scene.name
    words = (*material.baking[:1], f"scene.path={scene}", *material.baking[2:], *short)
    faults += [f"bake.py: {fault}" for fault in finished(words, folder=folder).faults(0)]
    photos = material.photos(folder / "photos" / name)
    words = ("scripts/inspect_capture.py", f"capture.path={photos}")
    faults += [f"motion: {fault}" for fault in finished(words, folder=folder).faults(0)]
    return Case(part="places", name=repr(name), faults=tuple(faults))


def _elsewhere(run: Path, folder: Path, name: str) -> list[tuple[str, ...]]:
    """Outputs of this name, and what is opened again."""
    package, few = folder / f"{name}.nrpack", ("export.points.count=2000",)
    return [
        ("scripts/export.py", f"run={run}", "format=points", *few, f"output={folder / name}.ply"),
        ("scripts/package.py", f"run={run}", f"output={package}"),
        ("render.py", f"run={package}", "path=orbit", "frames=2", "size=32x32"),
    ]
