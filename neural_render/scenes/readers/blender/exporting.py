"""Run by Blender, never by us: opens or imports a file and exports it as GLB.

``blender --background --python exporting.py -- FILE OUTPUT.glb``. glTF has no area lights: they are
made into meshes that emit. What glTF cannot hold stands beside the output, in ``OUTPUT.glb.json``:
the world's colour (``world``, black if it has none) and what is lost (``lost``).
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

ROUND = 64  # corners of what is round
# Operators by the file's ending; the names differ from version to version, the first there is run.
IMPORTERS = {
    ".usd": ("wm.usd_import",),
    ".usda": ("wm.usd_import",),
    ".usdc": ("wm.usd_import",),
    ".usdz": ("wm.usd_import",),
    ".fbx": ("import_scene.fbx", "wm.fbx_import"),
    ".abc": ("wm.alembic_import",),
}


def run(bpy: Any, source: Path, output: Path) -> None:
    """Exports ``source``."""
    if source.suffix.lower() == ".blend":
        bpy.ops.wm.open_mainfile(filepath=str(source), use_scripts=False)
    else:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        _import(bpy, source)
    lost = emitting_meshes(bpy)
    export(bpy, output)
    world, lost_too = world_color(bpy)
    told = {"world": world, "lost": [*lost, *lost_too]}
    Path(f"{output}.json").write_text(json.dumps(told), encoding="utf-8")


def _import(bpy: Any, source: Path) -> None:
    failed = None
    for name in IMPORTERS[source.suffix.lower()]:
        group, operator = name.split(".")
        try:
            getattr(getattr(bpy.ops, group), operator)(filepath=str(source))
            return
        except AttributeError as error:  # this version of Blender lacks it
            failed = error
    raise RuntimeError(f"this Blender imports no {source.suffix}") from failed


def export(bpy: Any, output: Path) -> None:
    """Everything that glTF holds and renders show; modifiers applied, lights in watts."""
    options: dict[str, Any] = {
        "filepath": str(output),
        "export_format": "GLB",
        "export_apply": True,
        "export_cameras": True,
        "export_lights": True,
        "use_renderable": True,
        "export_animations": False,
    }
    try:
        bpy.ops.export_scene.gltf(**options, export_import_convert_lighting_mode="COMPAT")
    except TypeError:  # an older Blender without that option
        bpy.ops.export_scene.gltf(**options)


def emitting_meshes(bpy: Any) -> list[str]:
    """Puts a mesh in the place of every area light; those for which that fails are named."""
    lost = []
    for thing in list(bpy.context.scene.objects):
        if thing.hide_render:
            continue
        if thing.type == "VOLUME":
            lost.append(f"the volume {thing.name}")
        elif thing.type == "LIGHT" and thing.data.type == "AREA":
            try:
                _add_emitting_mesh(bpy, thing)
            except (AttributeError, KeyError, TypeError) as error:  # another version's names
                lost.append(f"the area light {thing.name} ({error})")
    return lost


def _add_emitting_mesh(bpy: Any, thing: Any) -> None:
    """A surface that shines along -z with the light's power; disks and ellipses are polygons.

    As Cycles has it, its radiance is W / (4 m^2).
    """
    light = thing.data
    x = light.size / 2
    y = light.size_y / 2 if light.shape in ("RECTANGLE", "ELLIPSE") else x
    corners, area = [(-x, -y, 0.0), (x, -y, 0.0), (x, y, 0.0), (-x, y, 0.0)], 4 * x * y
    if light.shape in ("DISK", "ELLIPSE"):
        turns = [math.tau * index / ROUND for index in range(ROUND)]
        corners, area = [(x * math.cos(t), y * math.sin(t), 0.0) for t in turns], math.pi * x * y
    mesh = bpy.data.meshes.new(thing.name)
    mesh.from_pydata(corners, [], [(0, *range(len(corners) - 1, 0, -1))])
    material = bpy.data.materials.new(thing.name)
    material.use_nodes = True
    inputs = material.node_tree.nodes["Principled BSDF"].inputs
    scale = thing.matrix_world.to_scale()
    area *= abs(scale[0] * scale[1])
    emission = "Emission Color" if "Emission Color" in inputs else "Emission"
    inputs["Base Color"].default_value = (0, 0, 0, 1)
    inputs[emission].default_value = (*light.color[:3], 1)
    inputs["Emission Strength"].default_value = light.energy / (4 * area)
    mesh.materials.append(material)
    standing = bpy.data.objects.new(f"{thing.name}_mesh", mesh)
    standing.matrix_world = thing.matrix_world
    bpy.context.scene.collection.objects.link(standing)


def world_color(bpy: Any) -> tuple[list[float], list[str]]:
    """The radiance of a world of one colour; one with more in it is named as lost."""
    world = bpy.context.scene.world
    if world is None:
        return [0.0] * 3, []
    if not world.use_nodes:
        return [float(value) for value in world.color[:3]], []
    background = world.node_tree.nodes.get("Background")
    if background is None or any(background.inputs[key].is_linked for key in ("Color", "Strength")):
        return [0.0] * 3, [f"the world {world.name} (give its picture as scene.environment=FILE)"]
    strength = background.inputs["Strength"].default_value
    return [float(value) * strength for value in background.inputs["Color"].default_value[:3]], []


if __name__ == "__main__":
    import bpy  # pyright: ignore[reportMissingImports]

    _source, _output = sys.argv[sys.argv.index("--") + 1 :]
    run(bpy, Path(_source), Path(_output))
