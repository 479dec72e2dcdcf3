"""Run folders, checkpoints, packages and camera paths, for all that opens them."""

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.abuse.cases import Broken, Damage, Entry
from benchmarks.abuse.doors.captures import QUICK, copied, edited, written
from benchmarks.abuse.serving import run_program
from neural_render.core.errors import UserError
from tests.tiny_capture import write_blender_capture

STEPS = 120
LONGER = (
    f"training.num_steps={STEPS}",
    "training.samples_per_step=8192",
    "training.learning_rate=0.03",
)
SMALL_FILM = ("output=frames", "size=16x16", "frames=2", "kernels.threads=1")
CHECKPOINT = f"run/checkpoints/{STEPS}"
OF_RUN = ("run/config.yaml", f"{CHECKPOINT}/state.json", f"{CHECKPOINT}/weights.safetensors")
EYE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
TURNED = [[0, 0, 1, 4], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
FLIGHT = {
    "keyframes": [
        {"transform_matrix": EYE, "fov_deg": 40, "time": 0.0},
        {"transform_matrix": TURNED, "fov_deg": 30, "time": 1.5},
    ],
    "frames": 2,
}
FRAMES = {
    "camera_type": "perspective",
    "render_height": 12,
    "render_width": 16,
    "camera_path": [
        {"camera_to_world": [*EYE[0], *EYE[1], *EYE[2], *EYE[3]], "fov": 50, "aspect": 1.0}
    ]
    * 2,
    "fps": 24,
    "seconds": 1,
}


def trained(scratch: Path) -> Path:
    """A run that was trained for some steps, and its package beside it: ``run``, ``a.nrpack``."""
    folder = scratch / "trained"
    folder.mkdir()
    write_blender_capture(folder / "capture", num_train=8, num_test=2, size=16)
    words = (f"capture.path={folder / 'capture'}", *QUICK, *LONGER)
    run = _done("train.py", *words, folder=folder)
    copied(folder / run, folder / "run")
    words = (f"run={folder / 'run'}", "output=a.nrpack", "kernels.threads=1")
    _done("scripts/package.py", *words, folder=folder)
    return folder


def _done(program: str, *words: str, folder: Path) -> str:
    ended = run_program(program, words, folder)
    if ended.code:
        raise UserError(f"{program} did not make what is to be broken: {ended.errors}")
    return ended.output.splitlines()[-1]


def header(change: Callable[[dict[str, Any]], object], name: str) -> Damage:
    """A change of what a safetensors file says at its beginning."""

    def damage(folder: Path, chance: Random) -> None:
        path = folder / name
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        said = json.loads(content[8 : 8 + length])
        change(said)
        text = json.dumps(said).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return damage


def _of_tensors(name: str) -> dict[str, Broken]:
    def first(it: dict[str, Any]) -> dict[str, Any]:
        return next(value for key, value in it.items() if key != "__metadata__")

    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "a tensor of no known numbers": lambda it: first(it).update(dtype="F8_E9"),
        "a tensor of 2^60 rows": lambda it: first(it).update(shape=[2**60, 2**30]),
        "a tensor beyond the end": lambda it: first(it).update(data_offsets=[0, 2**40]),
        "a tensor less": lambda it: it.pop(next(key for key in it if key != "__metadata__")),
        "a tensor of another shape": lambda it: first(it).update(shape=[-1]),
        "no header": lambda it: it.clear(),
    }
    found = {what: Broken(damage=header(change, name)) for what, change in changes.items()}
    found["a header of 2^60 bytes"] = Broken(damage=written(name, struct.pack("<Q", 2**60)))
    return found


def _state(**values: Any) -> Broken:
    return Broken(damage=edited(f"{CHECKPOINT}/state.json", lambda it: it.update(values)))


YAML_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
OF_CONFIG = {
    "a bomb of YAML": YAML_BOMB,
    "YAML that would run a program": "!!python/object/apply:os.system ['touch owned']\n",
    "settings that refer to each other": "name: ${seed}\nseed: ${name}\n",
    "a setting from the environment": "seed: ${oc.env:HOME}\n",
    "a setting of another program": "learning_rate: 3\n",
    "a list": "- 1\n- 2\n",
    "a setting of another type": "seed: [1, 2]\n",
    "a capture that is a number": "capture: 3\n",
    "a capture that is gone": "capture:\n  path: /gone/away\n",
}


def _runs(base: Callable[[], Path]) -> list[Entry]:
    def make(folder: Path) -> None:
        copied(base() / "run", folder / "run")

    config = {
        what: Broken(damage=written("run/config.yaml", text), about=("/gone/away",))
        for what, text in OF_CONFIG.items()
    }
    state = {
        "a step of a text": _state(step="12"),
        "a step below zero": _state(step=-5),
        "a format of later": _state(format="neural_render checkpoint 99"),
    }
    weights = _of_tensors(f"{CHECKPOINT}/weights.safetensors")
    none = {
        "no checkpoint": Broken(damage=lambda at, _: (at / "run/checkpoints").rename(at / "old")),
        "checkpoints of other names": Broken(
            damage=lambda at, _: (at / CHECKPOINT).rename(at / "run/checkpoints/²")
        ),
    }
    on = (f"training.num_steps={STEPS + 1}", "render.output=none", "kernels.threads=1")
    doors = {
        "train": ("train.py", on, OF_RUN, config | none),
        "render": ("render.py", SMALL_FILM, OF_RUN, weights | state),
        "evaluate": ("scripts/evaluate.py", ("kernels.threads=1",), OF_RUN[1:], {}),
        "export": ("scripts/export.py", ("format=points", "export.points.count=50"), OF_RUN, {}),
        "package": ("scripts/package.py", ("output=made.nrpack",), OF_RUN[1:], {}),
    }
    return [
        Entry(
            name=name,
            group="runs",
            program=program,
            words=("run={it}/run", *words),
            make=make,
            victims=victims,
            by_hand=by_hand,
            needs_run=True,
        )
        for name, (program, words, victims, by_hand) in doors.items()
    ]


def _comparison(base: Callable[[], Path]) -> Entry:
    def make(folder: Path) -> None:
        for name in ("one", "other"):
            copied(base() / "run", folder / name)

    victims = ("one/evaluation/metrics.json", "other/config.yaml", "one/metrics.jsonl")
    return Entry(
        name="compare",
        group="runs",
        program="scripts/compare.py",
        words=("{it}/one", "{it}/other"),
        make=make,
        victims=(*victims, "other/evaluation/metrics.json"),
        needs_run=True,
    )


def _packages(base: Callable[[], Path]) -> list[Entry]:
    def make(folder: Path) -> None:
        (folder / "a.nrpack").write_bytes((base() / "a.nrpack").read_bytes())

    render = ("run={it}/a.nrpack", *SMALL_FILM)
    by_hand = _of_tensors("a.nrpack") | {
        "a version of later": Broken(
            damage=header(lambda it: it["__metadata__"].update(version="9"), "a.nrpack")
        ),
        "another document": Broken(
            damage=header(lambda it: it["__metadata__"].update(document="{}"), "a.nrpack")
        ),
        "no checksum": Broken(
            damage=header(lambda it: it["__metadata__"].pop("sha256"), "a.nrpack")
        ),
        "a package to train on": Broken(words=("run={it}",)),
    }
    made = partial(Entry, group="packages", make=make, victims=("a.nrpack",), needs_run=True)
    return [
        made(name="render a package", program="render.py", words=render, by_hand=by_hand),
        made(name="view a package", program="scripts/view.py", words=render[:1], serves=True),
    ]


def _paths(base: Callable[[], Path]) -> list[Entry]:
    def make(folder: Path, content: Any) -> None:
        copied(base() / "run", folder / "run")
        (folder / "flight.json").write_text(json.dumps(content), encoding="utf-8")

    def flight(**values: Any) -> Broken:
        return Broken(damage=edited("flight.json", lambda it: it.update(values)))

    by_hand = {
        "one keyframe": flight(keyframes=FLIGHT["keyframes"][:1]),
        "no keyframes": flight(keyframes=[]),
        "times that go back": flight(
            keyframes=[dict(k, time=-i) for i, k in enumerate(FLIGHT["keyframes"])]
        ),
        "10^9 frames": flight(frames=10**9),
        "half a frame": flight(frames=0.5),
        "seconds without an end": flight(frames=None, seconds=float("inf"), fps=30),
        "a field of view of 360 degrees": flight(
            keyframes=[dict(k, fov_deg=360) for k in FLIGHT["keyframes"]]
        ),
        "a path that is not there": Broken(words=("path={it}/gone.json",)),
        "a path that is a folder": Broken(words=("path={it}",)),
        "a path that is a picture": Broken(
            words=("path={it}/x.png",), damage=written("x.png", b"\x89PNG")
        ),
    }
    made = partial(
        Entry,
        group="camera paths",
        program="render.py",
        words=("run={it}/run", "path={it}/flight.json", *SMALL_FILM[:2], "kernels.threads=1"),
        victims=("flight.json",),
        needs_run=True,
    )
    return [
        made(name="keyframes", make=partial(make, content=FLIGHT), by_hand=by_hand),
        made(name="finished frames", make=partial(make, content=FRAMES)),
    ]


def entries(base: Callable[[], Path]) -> list[Entry]:
    """All that opens a run or a package; ``base`` makes the folder of one, at its first call."""
    return [*_runs(base), _comparison(base), *_packages(base), *_paths(base)]
