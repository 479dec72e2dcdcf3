"""Run by Blender, never by us: opens or imports a file and exports it as GLB.

``blender --background --python exporting.py -- FILE OUTPUT.glb``; what glTF cannot hold is listed
beside the output, in ``OUTPUT.glb.json``.
"""

import json
import sys
from pathlib import Path
from typing import Any

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
    export(bpy, output)
    Path(f"{output}.json").write_text(json.dumps(lost(bpy)), encoding="utf-8")


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
    """Everything that glTF holds, with modifiers applied and lights in watts, not in lumens."""
    options: dict[str, Any] = {
        "filepath": str(output),
        "export_format": "GLB",
        "export_apply": True,
        "export_cameras": True,
        "export_lights": True,
        "export_animations": False,
    }
    try:
        bpy.ops.export_scene.gltf(**options, export_import_convert_lighting_mode="COMPAT")
    except TypeError:  # an older Blender without that option
        bpy.ops.export_scene.gltf(**options)


def lost(bpy: Any) -> list[str]:
    """What of the open scene glTF has no word for."""
    scene = bpy.context.scene
    found = [
        f"the area light {thing.name}"
        for thing in scene.objects
        if thing.type == "LIGHT" and thing.data.type == "AREA"
    ]
    found += [f"the volume {thing.name}" for thing in scene.objects if thing.type == "VOLUME"]
    if scene.world is not None:
        found.append(f"the world {scene.world.name} (give scene.environment=FILE.exr)")
    return found


if __name__ == "__main__":
    import bpy  # pyright: ignore[reportMissingImports]

    _source, _output = sys.argv[sys.argv.index("--") + 1 :]
    run(bpy, Path(_source), Path(_output))
