"""One scene in all formats gives one picture, the same lights and the same box."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neural_render.scenes.readers.opening import DEFAULT_DEPTH, READERS
from tests.architecture.sources import REPOSITORY
from tests.scenes.readers.scenes import (
    LAMP_RADIANCE,
    Gltf,
    cube,
    gltf_scene,
    load,
    mitsuba,
    picture,
    sky,
    write_obj,
    write_obj_geometry,
    write_xml,
)

LIT: dict[str, Callable[[Path], Path]] = {
    "xml": write_xml,
    "gltf": lambda folder: gltf_scene().write(folder / "scene.gltf"),
    "glb": lambda folder: gltf_scene().write(folder / "scene.glb"),
    "obj": write_obj,
}
GREY = (
    '<bsdf type="twosided"><bsdf type="diffuse"><rgb name="reflectance" value="0.6"/></bsdf></bsdf>'
)


def write_ply(folder: Path) -> Path:
    vertices, faces = cube()
    lines = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    lines += [" ".join(map(str, vertex)) for vertex in vertices]
    lines += ["3 " + " ".join(map(str, face)) for face in faces]
    (folder / "cube.ply").write_text("\n".join(lines) + "\n")
    return folder / "cube.ply"


def write_stl(folder: Path) -> Path:
    vertices, faces = cube()
    lines = ["solid cube"]
    for face in faces:
        corners = "\n".join("vertex " + " ".join(map(str, vertices[corner])) for corner in face)
        lines.append(f"facet normal 0 0 0\nouter loop\n{corners}\nendloop\nendfacet")
    (folder / "cube.stl").write_text("\n".join([*lines, "endsolid cube"]) + "\n")
    return folder / "cube.stl"


PLAIN: dict[str, Callable[[Path], Path]] = {
    "obj": lambda folder: write_obj_geometry(folder / "plain.obj", [("", *cube())]),
    "ply": write_ply,
    "stl": write_stl,
}


@pytest.mark.parametrize("name", ["gltf", "glb", "obj"])
def test_all_formats_of_one_lit_scene_give_the_same_picture(tmp_path: Path, name: str) -> None:
    expected, loaded = load(write_xml(tmp_path)), load(LIT[name](tmp_path))
    for scene in (expected, loaded):
        assert [(light.name, light.kind) for light in scene.lights] == [("lamp", "area")]
        np.testing.assert_allclose(scene.lights[0].color, LAMP_RADIANCE, rtol=1e-5)
        np.testing.assert_allclose([scene.low, scene.high], [[-2, -1, -1], [2, 3, 3]], atol=1e-6)
        assert scene.max_depth == DEFAULT_DEPTH
        assert scene.warnings == ()
    shown, wanted = picture(loaded), picture(expected)
    assert wanted.mean() > 0.05
    np.testing.assert_allclose(shown.mean((0, 1)), wanted.mean((0, 1)), rtol=0.02)
    difference = float(np.abs(shown - wanted).mean())
    assert difference < 0.05 * float(wanted.mean())


@pytest.mark.parametrize("name", PLAIN)
def test_plain_meshes_under_one_sky_give_the_same_picture(tmp_path: Path, name: str) -> None:
    mitsuba()
    expected = load(
        write_xml(tmp_path, material=GREY, lit=False), environment=sky(tmp_path), up="y"
    )
    loaded = load(PLAIN[name](tmp_path), environment=sky(tmp_path), up="y")
    for scene in (expected, loaded):
        assert [light.name for light in scene.lights] == ["environment"]
        np.testing.assert_allclose([scene.low, scene.high], [[-1] * 3, [1] * 3], atol=1e-6)
    shown, wanted = picture(loaded), picture(expected)
    np.testing.assert_allclose(shown.mean((0, 1)), wanted.mean((0, 1)), rtol=0.02)
    difference = float(np.abs(shown - wanted).mean())
    assert difference < 0.05 * float(wanted.mean())


def fake_blender(folder: Path, text: str) -> str:
    """A program that takes Blender's arguments."""
    program = folder / "blender"
    program.write_text(f"#!{sys.executable}\nimport shutil, sys\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.mark.parametrize("ending", [".blend", ".usd", ".fbx"])
def test_what_blender_exports_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    mitsuba()
    made = gltf_scene().write(tmp_path / "exported.glb")
    told = json.dumps({"world": [0.1, 0.2, 0.3], "lost": ["the volume Smoke"]})
    program = fake_blender(
        tmp_path,
        f"assert sys.argv[1] == '--background' and sys.argv[-2].endswith('scene{ending}')\n"
        f"shutil.copy({str(made)!r}, sys.argv[-1])\n"
        f"open(sys.argv[-1] + '.json', 'w').write({told!r})",
    )
    monkeypatch.setenv("NEURAL_RENDER_BLENDER", program)
    (tmp_path / f"scene{ending}").write_text("not ours to read")
    scene = load(tmp_path / f"scene{ending}")
    assert [light.name for light in scene.lights] == ["environment", "lamp"]
    np.testing.assert_allclose(scene.lights[0].color, [0.1, 0.2, 0.3], rtol=1e-6)
    assert "Blender" in scene.format
    (warning,) = scene.warnings
    assert "the volume Smoke" in warning


def test_blenders_dim_grey_world_is_no_light_to_see_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mitsuba()
    made = Gltf()
    made.mesh(cube())
    made.write(tmp_path / "exported.glb")
    program = fake_blender(
        tmp_path,
        f"shutil.copy({str(tmp_path / 'exported.glb')!r}, sys.argv[-1])\n"
        "open(sys.argv[-1] + '.json', 'w').write('{\"world\": [0.05, 0.05, 0.05]}')",
    )
    monkeypatch.setenv("NEURAL_RENDER_BLENDER", program)
    (tmp_path / "scene.blend").write_text("not ours to read")
    scene = load(tmp_path / "scene.blend")
    assert [light.name for light in scene.lights] == ["environment", "key"]


def test_every_format_of_the_setting_has_a_reader() -> None:
    endings = ".xml .gltf .glb .obj .ply .stl .blend .usd .usda .usdc .usdz .fbx .abc"
    assert sorted(READERS) == sorted(endings.split())


def test_reading_needs_no_torch() -> None:
    """The path tracer's process has none: its threads and torch's would fight."""
    code = (
        "import sys, neural_render.scenes.readers.opening; "
        "print([name for name in ('torch', 'mitsuba', 'trimesh') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    assert done.stdout.strip() == "[]"
