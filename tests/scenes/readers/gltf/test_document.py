"""glTF's JSON, buffers and accessors, and what is broken in them. Needs no Mitsuba."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.gltf.document import open_document
from neural_render.scenes.readers.gltf.nodes import matrix_of, placed_nodes
from neural_render.scenes.readers.gltf.pictures import uv_matrix
from tests.scenes.readers.scenes import Gltf, cube, gltf_scene


def refusal(path: Path) -> str:
    """The one sentence in which opening ends."""
    with pytest.raises(SceneError) as raised:
        open_document(path)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] not in ".:" and path.name in sentence
    return sentence


def text_file(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A .gltf file whose JSON ``change`` has edited."""
    path = gltf_scene().write(folder / "scene.gltf")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("ending", ["gltf", "glb"])
def test_accessors_are_read_back(tmp_path: Path, ending: str) -> None:
    made = Gltf()
    floats = np.arange(12, dtype=np.float32).reshape(4, 3)
    bytes_ = np.array([[0, 255], [51, 102]], np.uint8)
    first, second = made.accessor(floats), made.accessor(bytes_, normalized=True)
    document = open_document(made.write(tmp_path / f"scene.{ending}"))
    np.testing.assert_array_equal(document.array(first), floats)
    np.testing.assert_allclose(document.array(second), bytes_ / 255)


def test_interleaved_and_sparse_accessors(tmp_path: Path) -> None:
    made = Gltf()
    rows = np.arange(20, dtype="<f4").reshape(4, 5)
    made.accessor(rows[:, :2].copy())
    view = made.view(rows.tobytes())
    made.content["bufferViews"][view]["byteStride"] = 20
    made.content["accessors"][0] |= {"bufferView": view, "byteOffset": 8}
    made.content["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": made.view(bytes([2])), "componentType": 5121},
        "values": {"bufferView": made.view(struct.pack("<2f", 70, 80))},
    }
    document = open_document(made.write(tmp_path / "scene.glb"))
    expected = rows[:, 2:4].copy()
    expected[2] = [70, 80]
    np.testing.assert_array_equal(document.array(0), expected)


def test_a_file_beside_is_read_and_its_name_decoded(tmp_path: Path) -> None:
    path = gltf_scene().write(tmp_path / "scene.gltf")
    content = json.loads(path.read_text())
    (tmp_path / "the mesh.bin").write_bytes(open_document(path).buffers[0])
    content["buffers"][0]["uri"] = "the%20mesh.bin"
    path.write_text(json.dumps(content))
    assert len(open_document(path).array(0)) == len(cube()[0])


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "no glTF": (lambda c: c.pop("asset"), ["no glTF", "asset"]),
    "glTF 1": (lambda c: c["asset"].update(version="1.0"), ["glTF 1.0", "2.0"]),
    "compressed": (
        lambda c: c.update(extensionsRequired=["KHR_draco_mesh_compression"]),
        ["Draco", "without compression"],
    ),
    "a missing buffer": (
        lambda c: c["buffers"][0].update(uri="gone.bin"),
        ["the mesh buffer gone.bin", "not to be found"],
    ),
    "a missing texture": (
        lambda c: c.update(images=[{"uri": "gone.png"}]),
        ["the texture gone.png", "not to be found"],
    ),
    "a texture elsewhere": (
        lambda c: c.update(images=[{"uri": "../a.png"}]),
        ["../a.png", "outside its own folder"],
    ),
    "a buffer that is too short": (
        lambda c: c["buffers"][0].update(byteLength=10**6),
        ["cut short", "1000000"],
    ),
    "no base64": (
        lambda c: c["buffers"][0].update(uri="data:application/octet-stream;base64,A"),
        ["no base64"],
    ),
    "a list of the wrong things": (lambda c: c.update(buffers=[3]), ["is broken glTF"]),
    "no list": (lambda c: c.update(images=True), ["is broken glTF"]),
    "no data": (lambda c: c["buffers"][0].pop("uri"), ["cut short"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_document_ends_in_a_sentence(tmp_path: Path, case: str) -> None:
    change, words = BROKEN[case]
    sentence = refusal(text_file(tmp_path, change))
    assert all(word in sentence for word in words), sentence


def test_an_empty_texture_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    path = text_file(tmp_path, lambda content: content.update(images=[{"uri": "empty.png"}]))
    assert "the texture empty.png, of 0 bytes" in refusal(path)


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff\xfe", b"[" * 100000, b"3"])
def test_broken_json_ends_in_a_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "scene.gltf").write_bytes(data)
    assert "JSON" in refusal(tmp_path / "scene.gltf")


def test_a_broken_binary_ends_in_a_sentence(tmp_path: Path) -> None:
    whole = gltf_scene().write(tmp_path / "scene.glb").read_bytes()
    for size, words in [(10, "cut short"), (200, "cut short"), (len(whole) - 1, "cut short")]:
        (tmp_path / "scene.glb").write_bytes(whole[:size])
        assert words in refusal(tmp_path / "scene.glb")
    (tmp_path / "scene.glb").write_bytes(b"solid cube")
    assert "no binary glTF" in refusal(tmp_path / "scene.glb")


def test_an_accessor_past_its_view_ends_in_a_sentence(tmp_path: Path) -> None:
    path = text_file(tmp_path, lambda content: content["accessors"][0].update(count=1000))
    with pytest.raises(SceneError, match="accessor 0 wants 1000 values"):
        open_document(path).array(0)


def test_nodes_compose_and_cycles_are_refused(tmp_path: Path) -> None:
    made = Gltf()
    made.node({"translation": [1, 2, 3], "scale": [2, 2, 2], "children": [1]})
    made.content["nodes"].append({"rotation": [0, 0, np.sqrt(0.5), np.sqrt(0.5)]})
    document = open_document(made.write(tmp_path / "scene.gltf"))
    placed = {index: matrix for index, _, matrix in placed_nodes(document)}
    np.testing.assert_allclose(placed[1] @ [1, 0, 0, 1], [1, 4, 3, 1], atol=1e-12)
    stated = {"matrix": placed[1].T.ravel().tolist()}
    np.testing.assert_allclose(matrix_of(stated), placed[1])
    document.content["nodes"][1]["children"] = [0]
    with pytest.raises(ValueError, match="twice"):
        list(placed_nodes(document))


def test_texture_transforms_are_the_extensions() -> None:
    """The extension's own example: turned by 90 degrees about the upper left corner."""
    matrix = uv_matrix({"offset": [0, 1], "rotation": np.pi / 2, "scale": [0.5, 0.5]})
    np.testing.assert_allclose(matrix @ [0, 0, 1], [0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(matrix @ [1, 0, 1], [0, 0.5, 1], atol=1e-12)
    np.testing.assert_allclose(matrix @ [0, 1, 1], [0.5, 1, 1], atol=1e-12)
