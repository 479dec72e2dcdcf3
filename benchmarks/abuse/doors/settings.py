"""Settings and words of the command line, for every program."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.abuse.cases import Broken, Entry
from benchmarks.abuse.doors.captures import QUICK, copied, write_transforms
from benchmarks.abuse.doors.runs import SMALL_FILM
from benchmarks.abuse.doors.scenes import TINY, write_scene
from benchmarks.abuse.serving import load

VALUES = ("nan", "inf", "-inf", "1e400", "9" * 30, "-1", "", "null", "[]", "{}", "${oc.env:HOME}")
VALUES += ("${x", "'", "0x10", "1e-400", "x" * 5000, "a\nb", "\udcff", "-0.0", "[[1]]", "1,2")
WRONG = {
    "train": (
        "training.num_steps=-3",
        "training.max_seconds=nan",
        "training.max_seconds=inf",
        "training.learning_rate=1e400",
        "training.samples_per_step=" + "9" * 30,
        "field.grid.levels=1000000",
        "field.grid.log2_rows=62",
        "field.width=7",
        "field.grid.finest=4",
        "seed=-1",
        "seed=" + "9" * 30,
        "name=../../away",
        "name=" + "n" * 300,
        "name=a\nb",
        "name=..",
        "preset=slow",
        "preset=../../etc/passwd",
        "launcher=slurm",
        "hydra/launcher=none",
        "hydra.run.dir=/dev/null/x",
        "+new=1",
        "~seed",
        "training=3",
        "training.={a:1}",
        "=3",
        "seed",
        "--config-path=/etc",
        "--multirun --cfg",
        "--cfg",
        "--info",
        "-x",
        "capture.path=",
        "capture.path=${seed}",
        "capture.path=${oc.env:NOT_THERE}",
        "capture.path=/dev/null",
        "capture.path=/proc/self/mem",
        "capture.path=" + "a/" * 3000,
        "capture.path=\udcff",
        "capture.memory_limit_gb=nan",
        "capture.max_side=1",
        "capture.scale=inf",
        "kernels.threads=" + "9" * 9,
        "kernels.backend=cuda",
        "outputs=/proc/none",
        "outputs=/dev/null",
        "run=. seed=3",
        "run=/dev/zero",
        "evaluation.fit=everything",
        "viewer=maybe",
        "-m seed=1,1,x",
        "-m seed=range(1,2,0)",
        "-m capture.path=glob(x)",
        "-m launcher=nobody seed=1,2",
    ),
    "render": (
        "size=16",
        "size=-1x9",
        "size=99999x99999",
        "size=٣x٣",
        "frames=0",
        "frames=" + "9" * 12,
        "fps=nan",
        "fps=-1",
        "path=spiral,orbit",
        "output=gif",
        "output=video,none",
        "camera=fisheye render.fov=400",
        "render.lens.aperture=inf",
        "render.lens.focus=near",
        "render.supersampling=-1",
        "render.shutter=1e9",
        "render.light_at=[0,0]",
        "render.light_at=[nan,0,1]",
        "render.backdrop=sky",
        "render.backdrop=transparent output=video",
        "lights.key=2",
        "lights.=2",
        "lights.key=[1,2",
        "render.stereo.layout=top_bottom render.stereo.eyes=-1",
        "render.exposure=nan",
        "render.video.crf=64",
    ),
    "export": (
        "format=fbx",
        "format=mesh export.mesh.file=max",
        "export.points.count=-1",
        "format=mesh output=/dev/null/a.glb",
        "format=points output=a.xyz",
        "format=volume export.volume.resolution=" + "9" * 9,
        "format=splats export.splats.count=0",
    ),
    "package": ("max_loss_db=-1", "max_loss_db=nan", "output=/proc/x.nrpack", "output="),
    "evaluate": ("evaluation.max_views=-1", "evaluation.background=plaid", "training.num_steps=3"),
    "compare": ("run=a", "runs=[]", "/etc", "runs=[/etc]", "\udcff"),
    "view": ("port=0", "port=99999", "port=-1", "host=999.1.1.1", "host=", "viewer.host=\udcff"),
    "bake": (
        "scene.up=w",
        "views.fov=180",
        "views.radius=nan",
        "tracer.variant=gpu",
        "tracer.ring=1",
        "views.test=-1",
        "scene.path=/dev/zero",
        "scene.path=~nobody_here/x.xml",
        "capture.path=x",
    ),
    "inspect": ("capture.path=a b", "nowhere", "capture.max_side=x"),
}
PROGRAMS = {
    "train": ("train.py", ("capture.path={it}/capture", *QUICK)),
    "render": ("render.py", ("run={it}/run", *SMALL_FILM)),
    "export": ("scripts/export.py", ("run={it}/run", "format=points", "export.points.count=50")),
    "package": ("scripts/package.py", ("run={it}/run",)),
    "evaluate": ("scripts/evaluate.py", ("run={it}/run",)),
    "compare": ("scripts/compare.py", ("{it}/run", "{it}/other")),
    "view": ("scripts/view.py", ("run={it}/run",)),
    "bake": ("scripts/bake.py", ("scene.path={it}/scene.xml", *QUICK, *TINY)),
    "inspect": ("scripts/inspect_capture.py", ("capture.path={it}/capture",)),
}
NEED_NO_RUN = ("train", "bake", "inspect")


def wrong_value(program: str, chance: Random) -> Broken:
    """A setting of a program, by chance, with a value that hardly anyone would give."""
    setting = chance.choice(load(program).COMMAND.settings)
    value = chance.choice(VALUES)
    key = f"{setting.key}.a" if setting.is_free else setting.key
    return Broken(words=(f"{key}={value}",), about=(setting.key,))


def entries(base: Callable[[], Path]) -> list[Entry]:
    """One for each program; ``base`` makes the folder of a run, at its first call."""

    def make(folder: Path, with_run: bool) -> None:
        write_transforms(folder / "capture")
        if with_run:
            copied(base() / "run", folder / "run")
            copied(base() / "run", folder / "other")
        write_scene(folder)

    return [
        Entry(
            name=f"words of {name}",
            group="settings",
            program=program,
            words=words,
            make=partial(make, with_run=name not in NEED_NO_RUN),
            by_hand={text[:40]: _said(text) for text in WRONG[name]},
            sound=bool(words),
            serves=name == "view",
            needs_run=name not in NEED_NO_RUN,
        )
        for name, (program, words) in PROGRAMS.items()
    ]


def _said(text: str) -> Broken:
    """Words with spaces between them; the sentence may name any of them, or its name or value."""
    words = tuple(text.split(" "))
    about = [part for word in words for part in (word[:40], *word.split("=")) if len(part) > 1]
    about += [part.rpartition(".")[2] for part in about]
    return Broken(words=words, about=tuple(about))
