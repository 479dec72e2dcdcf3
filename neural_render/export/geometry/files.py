"""Meshes and point clouds as files, through trimesh: GLB, OBJ with its material, PLY."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8

from neural_render.core.errors import OutputError
from neural_render.core.files import whole_file

UNLIT = "KHR_materials_unlit"
MATERIAL = "surface"  # an OBJ's


@dataclass(frozen=True, kw_only=True)
class MeshFile:
    """What a mesh file holds, in world coordinates: a texture with places in it, or colours.

    ``uv`` counts from the texture's left and bottom, its rows from the top.
    """

    vertices: Float64[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]
    normals: Float[np.ndarray, "vertices 3"]
    colors: Float[np.ndarray, "colored 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    uv: Float64[np.ndarray, "textured 2"] = field(default_factory=lambda: np.zeros((0, 2)))
    texture: UInt8[np.ndarray, "height width 3"] = field(
        default_factory=lambda: np.zeros((0, 0, 3), dtype=np.uint8)
    )


def write_mesh(path: Path, mesh: MeshFile, *, up: str) -> tuple[Path, ...]:
    """The files that make up the mesh, written, ``path`` first; its ending says which kind.

    ``up``: the axis of the capture that becomes y, or ``as_is``.
    """
    writers: dict[str, Callable[[Path, Any], tuple[Path, ...]]] = {
        ".glb": _write_glb,
        ".obj": _write_obj,
        ".ply": _write_ply,
    }
    return writers[path.suffix.lower()](path, _trimesh(mesh, turn_to_y(up), path.stem))


def check_beside(path: Path) -> None:
    """OutputError where a new OBJ's material or picture would replace files of something else."""
    if path.suffix.lower() != ".obj" or path.exists():
        return
    for file in _beside(path):
        if file.exists():
            raise OutputError(
                f"{file} is there and belongs to no {path.name}, which would replace it: give"
                " another name with output=FILE, or move it away."
            )


def _beside(path: Path) -> tuple[Path, Path]:
    """An OBJ's material and its picture."""
    return path.with_suffix(".mtl"), path.with_suffix(".png")


def turn_to_y(up: str) -> Float64[np.ndarray, "3 3"]:
    """The rotation by a quarter turn, a half or none that makes the axis ``up`` the y axis."""
    if up == "as_is":
        return np.eye(3)
    axis = np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)
    y = np.array([0.0, 1.0, 0.0])
    if abs(axis @ y) == 1:
        return np.diag([1.0, axis @ y, axis @ y])
    side = np.cross(axis, y)
    # Axis to y, y to the axis's opposite, what is across both stays.
    return np.outer(y, axis) - np.outer(axis, y) + np.outer(side, side)


def _trimesh(mesh: MeshFile, turn: Float64[np.ndarray, "3 3"], name: str) -> Any:
    import PIL.Image
    import trimesh

    if len(mesh.uv):
        material = trimesh.visual.material.PBRMaterial(
            name=name,
            baseColorTexture=PIL.Image.fromarray(mesh.texture),
            metallicFactor=0.0,
            roughnessFactor=1.0,
        )
        visual = trimesh.visual.TextureVisuals(uv=mesh.uv, material=material)
    else:
        visual = trimesh.visual.ColorVisuals(
            vertex_colors=np.rint(255 * mesh.colors.clip(0, 1)).astype(np.uint8)
        )
    return trimesh.Trimesh(
        vertices=mesh.vertices @ turn.T,
        faces=mesh.faces,
        vertex_normals=mesh.normals @ turn.T,
        visual=visual,
        process=False,
    )


def _write_glb(path: Path, mesh: Any) -> tuple[Path, ...]:
    """Colours are radiance, not what a lamp is to shine on: the material is unlit."""
    from trimesh.exchange.gltf import export_glb

    def unlit(tree: dict[str, Any]) -> None:
        tree["extensionsUsed"] = sorted({*tree.get("extensionsUsed", []), UNLIT})
        for material in tree.get("materials", []):
            material.setdefault("extensions", {})[UNLIT] = {}

    data = export_glb(mesh.scene(), include_normals=True, tree_postprocessor=unlit)
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
    return (path,)


def _write_obj(path: Path, mesh: Any) -> tuple[Path, ...]:
    """With its material and its picture beside it, named like it."""
    from trimesh.exchange.obj import export_obj

    picture = mesh.visual.material.baseColorTexture
    material, image = _beside(path)
    mesh.visual.material = mesh.visual.material.to_simple()
    mesh.visual.material.name = MATERIAL
    text, _ = export_obj(
        mesh,
        include_normals=True,
        include_texture=True,
        return_texture=True,
        mtl_name=material.name,
    )
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")
    lines = (f"newmtl {MATERIAL}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", f"map_Kd {image.name}", "")
    # The OBJ first: beside it, the others are its own, should this end in between.
    for file, content in (
        (path, text.encode()),
        (material, "\n".join(lines).encode()),
        (image, encoded.getvalue()),
    ):
        with whole_file(file) as temporary:
            temporary.write_bytes(content)
    return path, material, image


def _write_ply(path: Path, mesh: Any) -> tuple[Path, ...]:
    from trimesh.exchange.ply import export_ply

    data = export_ply(mesh, encoding="binary", vertex_normal=True)
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
    return (path,)
