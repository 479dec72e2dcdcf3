"""Reads what only Blender reads: it exports glTF in a process of its own, which is read here.

Blender is the user's own program (GPL): it is found on PATH or named by NEURAL_RENDER_BLENDER, and
nothing of it is ever imported.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.building import rgb
from neural_render.scenes.readers.found import ENVIRONMENT
from neural_render.scenes.readers.gltf import reading as gltf
from neural_render.scenes.readers.lighting import rebuilt
from neural_render.scenes.readers.parts import SceneParts

VARIABLE = "NEURAL_RENDER_BLENDER"
MAX_SECONDS = 1800
MIN_WORLD = 0.1  # Blender's own grey world, 0.05, is no light to see by
_SCRIPT = Path(__file__).with_name("exporting.py")


def read(path: Path) -> SceneParts:
    """The scene of a file that Blender opens or imports; SceneError if there is no Blender."""
    blender = find_blender(path)
    with tempfile.TemporaryDirectory(prefix="neural_render_") as folder:
        exported = Path(folder) / f"{path.stem}.glb"
        _export(blender, path, exported)
        try:
            parts = gltf.read(exported)
        except SceneError as error:
            text = str(error).replace(str(exported), f"{path} (as Blender exported it)")
            raise SceneError(text) from error
        told = _told(Path(f"{exported}.json"))
        digest = hashlib.sha256(json.dumps(told).encode() + exported.read_bytes()).hexdigest()
    kind = f"{path.suffix[1:].upper()} through Blender"
    lost = (*parts.lost, *(str(what) for what in told["lost"]))
    world = [float(value) for value in told["world"]]
    parts = replace(parts, format=kind, lost=lost, exported=digest)
    if max(world) <= 0:
        return parts
    import mitsuba

    environment = mitsuba.load_dict({"type": "constant", "radiance": rgb(world)})
    scene = parts.again({ENVIRONMENT: environment})
    return replace(
        parts,
        scene=scene,
        again=partial(rebuilt, scene),
        lit=parts.lit or max(world) >= MIN_WORLD,
    )


def _told(path: Path) -> dict[str, Any]:
    """What the script in Blender says beside the exported file."""
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {"world": [0.0] * 3, "lost": [], **told}


def find_blender(path: Path) -> str:
    """The Blender program; SceneError says how to get one, or to do without."""
    named = os.environ.get(VARIABLE, "")
    found = shutil.which(named or "blender")
    if found:
        return found
    missing = f"{VARIABLE}={named} is no program" if named else "no blender is on PATH"
    raise SceneError(
        f"{path} is read through Blender, and {missing}: install Blender from blender.org (or point"
        f" {VARIABLE} to it), or export the scene as glTF (.glb) and give that"
    )


def _export(blender: str, path: Path, exported: Path) -> None:
    """Runs Blender without windows, the user's settings or scripts inside the file."""
    command = [blender, "--background", "--factory-startup", "--disable-autoexec"]
    command += ["--python-exit-code", "1", "--python", str(_SCRIPT), "--"]
    try:
        done = subprocess.run(
            [*command, str(path), str(exported)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=MAX_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SceneError(
            f"{path} could not be exported by Blender ({blender}: {error}): export it as glTF"
            " (.glb) yourself and give that"
        ) from error
    if done.returncode != 0 or not exported.is_file():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        wrong = [line for line in lines if "error" in line.lower()]
        said = " ".join((wrong or lines or ["it said nothing"])[-1].split())
        raise SceneError(
            f"{path} could not be exported by Blender ({said}): open it there and export it as"
            " glTF (.glb)"
        )
