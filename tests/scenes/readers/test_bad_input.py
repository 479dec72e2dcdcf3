"""Scenes that cannot be opened end in one clear sentence: what, where, how to mend it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.opening import check_bounds, find_scene, load_scene
from neural_render.scenes.settings import SceneSettings
from tests.scenes.readers.scenes import cube, gltf_scene, load, mitsuba, write_obj_geometry
from tests.scenes.readers.test_formats import fake_blender, write_ply


def complaint(path: Path | str, **settings: Any) -> str:
    """The one sentence in which opening the scene ends."""
    with pytest.raises(SceneError) as raised:
        load_scene(SceneSettings(path=str(path), **settings))
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] not in ".:"
    return sentence


def test_what_is_no_scene_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scene.max").write_text("x")
    (tmp_path / "plain").write_text("x")
    (tmp_path / "empty.obj").touch()
    for name, words in {
        "scene.max": "no known format (.max)",
        "plain": "no known format (without an ending)",
        "gone.glb": "does not exist",
        "empty.obj": "is empty (0 bytes)",
        "~nobody_of_that_name/a.obj": "does not exist",
    }.items():
        stated = name if name.startswith("~") else str(tmp_path / name)
        assert words in complaint(stated), name


def test_a_folder_with_one_scene_stands_for_it(tmp_path: Path) -> None:
    assert "a folder without a scene file" in complaint(tmp_path)
    (tmp_path / "a.obj").write_text("x")
    assert find_scene(str(tmp_path)) == tmp_path / "a.obj"
    (tmp_path / "b.ply").write_text("x")
    assert "2 scene files (a.obj, b.ply)" in complaint(tmp_path)
    (tmp_path / "scene.xml").write_text("x")  # of which the meshes are parts
    assert find_scene(str(tmp_path)) == tmp_path / "scene.xml"
    (tmp_path / "scene.GLB").write_text("x")
    assert "2 scene files (scene.GLB, scene.xml)" in complaint(tmp_path)


def test_the_programs_own_scene_is_found() -> None:
    assert find_scene("").is_file()


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ((0, 0, 0), (0, 0, 0), "absurd scale"),
        ((0, 0, 0), (1e-7, 1e-8, 0), "absurd scale"),
        ((0, 0, 0), (2e6, 1, 1), "absurd scale"),
        ((1e7, 0, 0), (1e7 + 1, 1, 1), "absurd scale"),
        ((np.nan, 0, 0), (1, 1, 1), "no finite numbers"),
        ((0, 0, 0), (1, np.inf, 1), "no finite numbers"),
        ((np.inf,) * 3, (-np.inf,) * 3, "has no geometry"),
    ],
)
def test_absurd_bounds_are_refused(low: tuple[Any, ...], high: tuple[Any, ...], words: str) -> None:
    corners = [tuple(float(value) for value in corner) for corner in (low, high)]
    with pytest.raises(SceneError, match=words):
        check_bounds(Path("scene.obj"), *corners)
    check_bounds(Path("scene.obj"), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0))


@pytest.mark.parametrize("scale", [1e-8, 1e7])
def test_a_mesh_of_absurd_scale_is_refused(tmp_path: Path, scale: float) -> None:
    mitsuba()
    vertices, faces = cube()
    path = write_obj_geometry(tmp_path / "a.obj", [("", vertices * scale, faces)])
    assert "absurd scale" in complaint(path)


@pytest.mark.parametrize("value", ["nan", "inf", "1e39"])
def test_vertices_that_are_no_numbers_are_refused(tmp_path: Path, value: str) -> None:
    mitsuba()
    (tmp_path / "a.obj").write_text(f"v 0 0 {value}\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert "1 vertices that are no finite numbers" in complaint(tmp_path / "a.obj")
    text = write_ply(tmp_path).read_text().replace("-1.0", value, 1)
    (tmp_path / "a.ply").write_text(text)
    assert "1 vertices that are no finite numbers" in complaint(tmp_path / "a.ply")


BROKEN = {
    "points.obj": (b"v 0 0 0\nv 1 0 0\n", "has no geometry"),
    "text.obj": (b"hello world \xff\n", "has no geometry"),
    "past.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "cannot be read as OBJ"),
    "text.ply": (b"hello world\n", "cannot be read as PLY"),
    "short.ply": (b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\n", "as PLY"),
    "odd.ply": (
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar float x\n"
        b"property float y\nproperty float z\nelement face 1\n"
        b"property list uchar int vertex_indices\nend_header\n2 1 2 3 4\n3 0 0 0\n",
        "cannot be read as PLY",
    ),
    "text.stl": (b"solid nothing\nendsolid nothing\n", "has no geometry"),
    "short.stl": (b"\0" * 80 + b"\x09\0\0\0" + b"\0" * 60, "has no geometry"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_meshes_are_refused(tmp_path: Path, name: str) -> None:
    mitsuba()
    content, words = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    sentence = complaint(tmp_path / name)
    assert words in sentence and name in sentence


def test_more_than_any_memory_holds_is_told(tmp_path: Path) -> None:
    mitsuba()
    path = gltf_scene().write(tmp_path / "scene.gltf")
    content = json.loads(path.read_text(encoding="utf-8"))
    for accessor in content["accessors"]:
        accessor.pop("bufferView", None)
        accessor["count"] = 10**14
    path.write_text(json.dumps(content), encoding="utf-8")
    assert "holds more than the memory does (" in complaint(path)


def test_files_of_materials_are_checked(tmp_path: Path) -> None:
    mitsuba()
    path = tmp_path / "a.obj"
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n"
    path.write_text(f"mtllib a.mtl\n{corners}usemtl wood\nf 1/1 2/2 3/3\n")
    (warning, _) = sorted(load(path).warnings, key=lambda text: "studio" in text)
    assert "the material file a.mtl, which is missing" in warning
    (tmp_path / "a.mtl").write_text("newmtl wood\nmap_Kd wood.png\n")
    assert "the texture wood.png, not to be found" in complaint(path)
    (tmp_path / "wood.png").touch()
    assert "the texture wood.png, of 0 bytes" in complaint(path)
    (tmp_path / "wood.png").write_bytes(b"no picture")
    assert "the texture wood.png is no picture" in complaint(path)
    (tmp_path / "a.mtl").write_text("newmtl wood\nmap_Kd ../wood.png\n")
    assert "../wood.png, outside its own folder" in complaint(path)


def test_what_needs_blender_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scene.blend"
    path.write_text("x")
    monkeypatch.delenv("NEURAL_RENDER_BLENDER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    sentence = complaint(path)
    assert "no blender is on PATH" in sentence and "export the scene as glTF" in sentence
    monkeypatch.setenv("NEURAL_RENDER_BLENDER", str(tmp_path / "gone"))
    assert "gone is no program" in complaint(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sys.exit(3)", "it said nothing"),
        ("print('Blender 4.2'); print('Error: not a blend file'); sys.exit(1)", "not a blend file"),
        ("print('Blender quit')", "Blender quit"),
        ("open(sys.argv[-1], 'wb').write(b'glTF')", "as Blender exported it"),
    ],
)
def test_what_blender_cannot_export_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setenv("NEURAL_RENDER_BLENDER", fake_blender(tmp_path, text))
    (tmp_path / "scene.fbx").write_text("x")
    sentence = complaint(tmp_path / "scene.fbx")
    assert words in sentence and "scene.fbx" in sentence


@pytest.mark.parametrize("module", ["mitsuba", "trimesh"])
def test_a_library_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """As where only the program itself is installed, without its extra ``bake``."""
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    if module == "mitsuba":
        path = gltf_scene().write(tmp_path / "scene.glb")
    else:
        path = write_obj_geometry(tmp_path / "scene.obj", [("", *cube())])
    sentence = complaint(path)
    assert module in sentence and "[bake]" in sentence
