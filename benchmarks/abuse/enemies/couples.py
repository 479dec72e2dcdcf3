"""Two programs at once where one would do: both work, or the second waits or says one sentence."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.abuse.enemies.material import STEPS, Material
from benchmarks.abuse.enemies.programs import Case, Ended, finished, leftovers, start, tree
from benchmarks.abuse.enemies.trainings import run_faults, weights
from benchmarks.abuse.enemies.writers import changed, commands

Words = Sequence[str | Path]
MORE = STEPS + 200


def cases(material: Material) -> list[Callable[[], Case]]:
    """All of it."""
    return [
        lambda: _same_training(material),
        lambda: _training_and_rendering(material),
        lambda: _films(material),
        lambda: _packages(material),
        lambda: _bakes(material),
        lambda: _motion(material),
        lambda: _beginnings(material),
    ]


def together(
    folder: Path, *programs: Words, environment: Mapping[str, str] | None = None
) -> list[Ended]:
    """How programs ended that were started at once."""
    begun = [start(words, folder=folder, environment=environment) for words in programs]
    return [program.ended() for program in begun]


def faults_of(ended: list[Ended], *codes: int) -> list[str]:
    """What is wrong with them; at least one must have gone well."""
    faults = [fault for done in ended for fault in done.faults(*codes)]
    return faults if any(done.code == 0 for done in ended) else [*faults, "none of them worked"]


def _same_training(material: Material) -> Case:
    reference, _ = material.trained
    folder = material.folder("same_training")
    alone, run = (material.copied_run(folder / name) for name in ("alone", "together"))
    more = f"training.num_steps={MORE}"
    faults = finished(("train.py", f"run={alone}", more), folder=folder).faults(0)
    words = ("train.py", f"run={run}", more)
    faults += faults_of(together(folder, words, words), 0, 2)
    last = finished(words, folder=folder)
    faults += [*last.faults(0), *run_faults(run, reference, MORE)]
    if not faults and weights(run, MORE) != weights(alone, MORE):
        faults.append("the weights are not those of an undisturbed run")
    return Case(part="couples", name="two trainings of a run", faults=tuple(faults))


def _training_and_rendering(material: Material) -> Case:
    folder = material.folder("training_and_rendering")
    run = material.copied_run(folder)
    often = (f"training.num_steps={MORE}", "training.checkpoint_steps=1")
    training = start(("train.py", f"run={run}", *often), folder=folder)
    faults = []
    while training.process.poll() is None and len(faults) < 3:
        faults += finished(commands(run)["video"], folder=folder).faults(0)
    faults += [*training.ended().faults(0), *leftovers(run)]
    return Case(part="couples", name="training and rendering", faults=tuple(faults))


def _films(material: Material) -> Case:
    """Three films at once, one of them on white: what lies in a folder is of one film."""
    folder = material.folder("films")
    run = material.copied_run(folder)
    before, words = tree(run), commands(run)["frames"]
    ended = together(folder, words, (*words, "render.backdrop=white"), words)
    faults = [*faults_of(ended, 0), *leftovers(run), *changed(before, run, ())]
    expected = 4 * 5 + 1
    for film in (run / "renders").glob("*64x64*"):
        if len(tree(film)) not in (expected, expected + 1):
            faults.append(f"{film.name} has {len(tree(film))} files, not {expected}")
    faults += finished(words, folder=folder).faults(0)
    return Case(part="couples", name="films into one folder", faults=tuple(faults))


def _packages(material: Material) -> Case:
    folder = material.folder("packages")
    run = material.copied_run(folder)
    words = (*commands(run)["package"], f"output={folder}/one.nrpack")
    faults = faults_of(together(folder, words, words), 0)
    shown = ("render.py", f"run={folder}/one.nrpack", "path=orbit", "frames=2", "size=32x32")
    faults += [*finished(shown, folder=folder).faults(0), *leftovers(folder)]
    return Case(part="couples", name="packages to one file", faults=tuple(faults))


def _bakes(material: Material) -> Case:
    """They share references, which nobody has traced yet."""
    reference, _ = material.baked
    folder = material.folder("bakes")
    ended = together(folder, material.baking, material.baking)
    faults = [*faults_of(ended, 0), *leftovers(folder / "outputs/references")]
    here, there = (tree(home / "references") for home in (folder / "outputs", reference.parents[1]))
    if sorted(here) != sorted(there):
        faults.append(f"references are {sorted(here)}, not {sorted(there)}")
    elif here != there:
        faults.append("references are not those of an undisturbed bake")
    return Case(part="couples", name="bakes of one scene", faults=tuple(faults))


def _motion(material: Material) -> Case:
    folder = material.folder("motions")
    words = ("scripts/inspect_capture.py", f"capture.path={material.photos(folder / 'photos')}")
    ended = together(folder, words, (*words, "outputs=other"))
    faults = [*faults_of(ended, 0), *leftovers(folder)]
    return Case(part="couples", name="structure from motion", faults=tuple(faults))


def _beginnings(material: Material) -> Case:
    """Three runs that begin at once: each has a folder, and `latest` is one of them."""
    folder = material.folder("beginnings")
    short = (*material.training, "training.num_steps=20", "render.output=none")
    ended = together(folder, short, short, short)
    faults = faults_of(ended, 0)
    runs = {(folder / done.last_line).resolve() for done in ended}
    if len(runs) != len(ended):
        faults.append(f"{len(ended)} runs share {len(runs)} folders")
    if (folder / "outputs/latest").resolve() not in runs:
        faults.append("latest is none of them")
    return Case(part="couples", name="runs that begin at once", faults=tuple(faults))
