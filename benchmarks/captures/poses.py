"""Suite ``poses``: what refinement makes of a COLMAP capture whose poses were disturbed.

Two runs of ``train.py``: as the capture is, and with cameras turned about random axes and moved in
random directions, which are then refined. Both are measured plainly, and with each test view's pose
fitted to its left half and measured on the right one.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import processes
from benchmarks.options import BenchmarkOptions
from benchmarks.records import append, print_table, start
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import SettingError

SECONDS = 600.0
FITS = ("none", "pose")
REFINED = ("capture.adjust.poses=true",)
Measure = Callable[[Sequence[str], Sequence[Sequence[str]]], list[dict[str, Any]]]


def run(options: BenchmarkOptions, measure: Measure = processes.measured) -> None:
    """Makes both runs, shows and records them."""
    if len(options.seconds) > 1 or 0 in options.seconds:
        raise SettingError("suite=poses takes one number of seconds, above 0.")
    resolved, threads = start(options.backend, options.threads, options.precision)
    seconds = options.seconds[0] if options.seconds else SECONDS
    source = Path(options.capture).resolve()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        moved = Path(scratch) / source.name
        side = disturb(source, moved, options.degrees, options.shift)
        sides = {"as given": (source, ()), "disturbed, refined": (moved, REFINED)}
        for name, (folder, more) in sides.items():
            words = [
                f"capture.path={folder.resolve()}",
                f"capture.max_side={options.max_side}",
                "capture.check=off",
                f"training.max_seconds={seconds:g}",
                "training.clock=cpu",
                f"kernels.backend={options.backend}",
                f"kernels.threads={threads}",
                f"kernels.precision={options.precision}",
                *more,
            ]
            results = measure(words, [[f"evaluation.fit={fit}"] for fit in FITS])
            found[name] = {fit: each["psnr"] for fit, each in zip(FITS, results, strict=True)}
            kept = ("ssim", "num_steps", "train_seconds", "num_views")
            found[name] |= {key: results[0][key] for key in kept}
            print(f"{name}: {found[name]}", flush=True)
    rows = [[name, *(f"{figures[fit]:.2f}" for fit in FITS)] for name, figures in found.items()]
    title = f"{source.name}, {seconds:g} s, turned by {options.degrees:g} degrees and moved by"
    print_table(f"{title} {options.shift * side:.3g} units", ["", *FITS], rows)
    about = {"capture": source.name, "seconds": seconds, "max_side": options.max_side}
    about |= {"degrees": options.degrees, "shift": options.shift, "precision": options.precision}
    print(append("poses", resolved, threads, {**about, "sides": found}))


def disturb(source: Path, target: Path, degrees: float, shift: float) -> float:
    """Writes a COLMAP capture with other poses to ``target``; returns the scene's size.

    Each camera is turned by ``degrees`` about a random axis and moved by ``shift`` of the side of
    the cube of interest, whose size in world units that is. Photos and points stay.
    """
    import pycolmap

    model = source / "sparse" / "0"
    if not model.is_dir():
        raise SettingError(f"capture={source} has no COLMAP model in sparse/0 to be disturbed.")
    if not (source / "images").is_dir():
        raise SettingError(f"capture={source} has no photos in images/.")
    opened = open_capture(CaptureSettings(path=str(source)), progress=False, images=False).frame
    side = opened.world_from_field.scale * 2.0 ** (1 - opened.cascades)
    reconstruction = pycolmap.Reconstruction(str(model))
    into = target / "sparse" / "0"
    into.mkdir(parents=True)
    reconstruction.write_text(str(into))
    for repeated in ("rigs.txt", "frames.txt"):  # what images.txt says too
        (into / repeated).unlink(missing_ok=True)
    (target / "images").symlink_to((source / "images").resolve(), target_is_directory=True)
    random = np.random.default_rng(0)
    lines = (into / "images.txt").read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#")]
    rest = lines[len(header) :]
    poses = [_moved(line, random, degrees, shift * side) for line in rest[::2]]
    pairs = [line for pair in zip(poses, rest[1::2], strict=True) for line in pair]
    (into / "images.txt").write_text("\n".join([*header, *pairs, ""]), encoding="utf-8")
    return side


def _moved(line: str, random: np.random.Generator, degrees: float, distance: float) -> str:
    """A line of ``images.txt`` (number, quaternion, translation, camera, name) of another pose."""
    import pycolmap

    number, *pose, camera, name = line.split(maxsplit=9)
    w, x, y, z, *translation = (float(text) for text in pose)
    turn = pycolmap.Rotation3d(np.array([x, y, z, w])).matrix()  # camera from world
    place = -turn.T @ translation
    axis, way = (vector / np.linalg.norm(vector) for vector in random.standard_normal((2, 3)))
    other = pycolmap.Rotation3d(np.radians(degrees) * axis).matrix() @ turn
    x, y, z, w = pycolmap.Rotation3d(other).quat
    given = [w, x, y, z, *(-other @ (place + distance * way))]
    return " ".join([number, *(f"{value:.12g}" for value in given), camera, name])
