"""The script that Blender runs, with a stand-in for Blender's module."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neural_render.scenes.readers.blender.exporting import ROUND, run


class Blender:
    """Just as much of ``bpy`` as the script touches; it notes what is called."""

    def __init__(self, objects: list[Any], world: Any, *, old: bool = False) -> None:
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.made: list[Any] = []
        self.emission = "Emission" if old else "Emission Color"
        self.old = old
        self.context = SimpleNamespace(
            scene=SimpleNamespace(
                objects=objects,
                world=world,
                collection=SimpleNamespace(objects=SimpleNamespace(link=self.made.append)),
            )
        )
        self.data = SimpleNamespace(
            meshes=SimpleNamespace(new=self._mesh),
            materials=SimpleNamespace(new=self._material),
            objects=SimpleNamespace(new=lambda name, mesh: SimpleNamespace(name=name, mesh=mesh)),
        )
        self.ops = SimpleNamespace(
            wm=self._operators(
                "open_mainfile", "read_factory_settings", "usd_import", "fbx_import"
            ),
            import_scene=self._operators(),
            export_scene=self._operators("gltf"),
        )

    def _operators(self, *names: str) -> SimpleNamespace:
        return SimpleNamespace(**{name: self._operator(name) for name in names})

    def _operator(self, name: str) -> Any:
        def call(**options: Any) -> None:
            if self.old and "export_import_convert_lighting_mode" in options:
                raise TypeError("keyword unrecognized")
            self.called.append((name, options))

        return call

    def _mesh(self, name: str) -> Any:
        mesh = SimpleNamespace(name=name, materials=[])
        mesh.from_pydata = lambda vertices, _, faces: mesh.__dict__.update(
            vertices=vertices, faces=faces
        )
        return mesh

    def _material(self, name: str) -> Any:
        keys = ("Base Color", self.emission, "Emission Strength")
        inputs = {key: SimpleNamespace(default_value=None) for key in keys}
        node = SimpleNamespace(inputs=inputs)
        tree = SimpleNamespace(nodes={"Principled BSDF": node})
        return SimpleNamespace(name=name, node_tree=tree, inputs=inputs)


def area_light(**more: Any) -> Any:
    data = {"type": "AREA", "shape": "RECTANGLE", "size": 2.0, "size_y": 3.0, "energy": 60.0}
    light = SimpleNamespace(**data, color=(1.0, 0.5, 0.25))
    place = SimpleNamespace(to_scale=lambda: (2.0, 1.0, 1.0))
    stated = {"type": "LIGHT", "name": "Panel", "data": light, "matrix_world": place}
    return SimpleNamespace(**{**stated, "hide_render": False, **more})


def world(color: Any = (0.5, 0.5, 1.0, 1.0), strength: float = 2.0, linked: bool = False) -> Any:
    inputs = {
        "Color": SimpleNamespace(default_value=color, is_linked=linked),
        "Strength": SimpleNamespace(default_value=strength, is_linked=False),
    }
    tree = SimpleNamespace(nodes={"Background": SimpleNamespace(inputs=inputs)})
    return SimpleNamespace(name="World", use_nodes=True, node_tree=tree)


@pytest.mark.parametrize("old", [False, True])
def test_area_lights_become_meshes_that_emit(tmp_path: Path, old: bool) -> None:
    volume = SimpleNamespace(type="VOLUME", name="Smoke", hide_render=False)
    broken = area_light(name="Broken", matrix_world=None)
    off = area_light(name="Off", hide_render=True)
    blender = Blender([area_light(), volume, broken, off], world(), old=old)
    run(blender, tmp_path / "scene.blend", tmp_path / "scene.glb")
    assert [name for name, _ in blender.called] == ["open_mainfile", "gltf"]
    assert blender.called[0][1]["use_scripts"] is False
    assert blender.called[1][1]["use_renderable"] is True
    (made,) = blender.made
    assert made.name == "Panel_mesh"
    assert made.mesh.faces == [(0, 3, 2, 1)]  # it looks along -z
    assert made.mesh.vertices[2] == (1.0, 1.5, 0)
    inputs = made.mesh.materials[0].inputs
    assert inputs[blender.emission].default_value == (1.0, 0.5, 0.25, 1)
    # 60 watts from 12 square metres, as Cycles has it.
    assert inputs["Emission Strength"].default_value == pytest.approx(60 / 48)
    told = json.loads((tmp_path / "scene.glb.json").read_text())
    assert told["world"] == [1, 1, 2]
    assert told["lost"][0] == "the volume Smoke" and "the area light Broken" in told["lost"][1]


def test_round_lights_are_round(tmp_path: Path) -> None:
    light = area_light()
    light.data.shape = "DISK"
    blender = Blender([light], None)
    run(blender, tmp_path / "scene.blend", tmp_path / "scene.glb")
    (made,) = blender.made
    assert [math.hypot(x, y) for x, y, _ in made.mesh.vertices] == pytest.approx([1.0] * ROUND)
    strength = made.mesh.materials[0].inputs["Emission Strength"].default_value
    assert strength == pytest.approx(60 / (8 * math.pi))  # twice as wide as the unit disk


@pytest.mark.parametrize(
    ("stated", "color", "lost"),
    [
        (None, [0, 0, 0], 0),
        (world(linked=True), [0, 0, 0], 1),
        (SimpleNamespace(use_nodes=False, color=(0.1, 0.2, 0.3), name="W"), [0.1, 0.2, 0.3], 0),
    ],
)
def test_worlds_that_are_not_one_colour_are_named(
    tmp_path: Path, stated: Any, color: list[float], lost: int
) -> None:
    run(Blender([], stated), tmp_path / "a.blend", tmp_path / "a.glb")
    told = json.loads((tmp_path / "a.glb.json").read_text())
    assert told["world"] == color and len(told["lost"]) == lost


def test_other_formats_are_imported_by_what_this_blender_has(tmp_path: Path) -> None:
    for ending, operator in {".usdz": "usd_import", ".fbx": "fbx_import"}.items():
        blender = Blender([], None)
        run(blender, tmp_path / f"a{ending}", tmp_path / "a.glb")
        names = [name for name, _ in blender.called]
        assert names == ["read_factory_settings", operator, "gltf"]
    with pytest.raises(RuntimeError, match=r"imports no \.abc"):
        run(Blender([], None), tmp_path / "a.abc", tmp_path / "a.glb")
