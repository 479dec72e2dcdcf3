"""What a scene consists of: the files that it names, wherever it lies, and no others."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from neural_render.scenes.contents import changed_contents, files_beside, scene_contents
from neural_render.scenes.settings import SceneSettings

FILES = {
    "room.obj": "mtllib wood and stone.mtl\nv 0 0 0\n",
    "wood and stone.mtl": "newmtl a\nmap_Kd textures\\grain.png\n",
    "textures/grain.png": "a picture",
    "textures/other.png": "another picture",
    "notes.txt": "room.obj wants other.png",
}


def write(folder: Path) -> Path:
    """The scene's file, and others beside it."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "room.obj"


def test_they_are_the_files_that_are_named(tmp_path: Path) -> None:
    path, outputs = write(tmp_path / "here"), tmp_path / "here/outputs"
    outputs.mkdir()
    (outputs / "grain.png").write_text("a result", encoding="utf-8")
    found = scene_contents(path, SceneSettings(), outputs)
    assert set(found) == {"scene.path", "wood and stone.mtl", "textures/grain.png"}
    shutil.move(tmp_path / "here", tmp_path / "there")
    path = tmp_path / "there/room.obj"
    path.touch()
    assert scene_contents(path, SceneSettings(), tmp_path / "there/outputs") == found
    assert changed_contents(found, path, SceneSettings()) == []


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda here: (here / "room.obj").write_text("mtllib wood and stone.mtl"), {"scene.path"}),
        (lambda here: (here / "textures/grain.png").write_text("b"), {"textures/grain.png"}),
        (lambda here: (here / "textures/grain.png").unlink(), {"textures/grain.png"}),
        (lambda here: (here / "textures/other.png").write_text("b"), set()),
        (lambda here: (here / "sky.exr").write_text("b"), {"scene.environment"}),
    ],
)
def test_changes_are_known(
    tmp_path: Path, change: Callable[[Path], object], changed: set[str]
) -> None:
    path, sky = write(tmp_path), tmp_path / "sky.exr"
    sky.write_text("a", encoding="utf-8")
    settings = SceneSettings(environment=str(sky))
    before = scene_contents(path, settings, tmp_path / "outputs")
    change(tmp_path)
    assert set(changed_contents(before, path, settings)) == changed


def test_a_sky_that_came_or_went_is_a_change(tmp_path: Path) -> None:
    path = write(tmp_path)
    plain, sky = SceneSettings(), SceneSettings(environment=str(tmp_path / "notes.txt"))
    for before, after in ((plain, sky), (sky, plain)):
        found = scene_contents(path, before, tmp_path / "outputs")
        assert changed_contents(found, path, after) == ["scene.environment"]


def test_files_that_are_called_as_settings_begin_are_known(tmp_path: Path) -> None:
    path = tmp_path / "scene.gltf"
    path.write_text('{"buffers": [{"uri": "scene.bin"}]}', encoding="utf-8")
    (tmp_path / "scene.bin").write_bytes(b"numbers")
    found = scene_contents(path, SceneSettings(), tmp_path / "outputs")
    assert set(found) == {"scene.path", "scene.bin"}
    assert changed_contents(found, path, SceneSettings()) == []
    (tmp_path / "scene.bin").write_bytes(b"others")
    assert changed_contents(found, path, SceneSettings()) == ["scene.bin"]


def test_what_is_called_as_a_word_of_the_scene_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "room.gltf"
    path.write_text('{"texture": {"index": 0}, "images": [{"uri": "a/dark.png"}]}')
    for name in (".git/index", "index", "texture", "rk.png", ".hidden/dark.png", "a/dark.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = scene_contents(path, SceneSettings(), tmp_path / "outputs")
    assert set(found) == {"scene.path", "a/dark.png"}


def test_what_may_not_be_looked_at_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/index").write_text("x")
    assert sorted(name for name, _, _ in files_beside(path)) == sorted(FILES)


def test_names_of_gltf_are_those_of_addresses(tmp_path: Path) -> None:
    path = tmp_path / "room.gltf"
    path.write_text('{"buffers": [{"uri": "the%20room.bin"}]}', encoding="utf-8")
    (tmp_path / "the room.bin").write_bytes(b"numbers")
    assert set(scene_contents(path, SceneSettings(), tmp_path / "outputs")) == {
        "scene.path",
        "the room.bin",
    }
