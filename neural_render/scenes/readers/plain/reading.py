"""Reads plain meshes through trimesh: OBJ with materials, PLY, STL.

A mesh without normals is faceted. PLY and STL, and what has no material, are grey or have the
colours of their vertices.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.building import Floats, MeshData, build_mesh, check_mesh, linear
from neural_render.scenes.readers.files import Reference, checked_paths, sentence
from neural_render.scenes.readers.found import Names, plain_identifier
from neural_render.scenes.readers.lighting import rebuilt
from neural_render.scenes.readers.parts import SceneParts
from neural_render.scenes.readers.plain import mtl

GREY = 0.6


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Faces of one material; its name is empty if there is none."""

    mesh: MeshData
    material: str


def read_obj(path: Path) -> SceneParts:
    """The scene of an OBJ file under Mitsuba's active variant; SceneError says what is wrong."""
    content = path.read_bytes()
    lost: list[str] = []
    materials: dict[str, mtl.Material] = {}
    for written in mtl.libraries(content):
        library = Reference(what="material file", written=written)
        if (path.parent / written.replace("\\", "/")).is_file():
            materials |= mtl.read_materials(checked_paths(path, [library])[0])
        else:
            lost.append(f"the material file {written}, which is missing")
    pieces = list(_obj_pieces(path, content, materials))
    return _scene(path, "OBJ", pieces, materials, lost)


def read_ply(path: Path) -> SceneParts:
    """The scene of a PLY file under Mitsuba's active variant; SceneError says what is wrong."""
    from trimesh.exchange.ply import load_ply

    found = _loaded(path, load_ply, path.read_bytes(), skip_materials=True)
    return _scene(path, "PLY", list(_pieces(path, {"mesh": found})), {}, [])


def read_stl(path: Path) -> SceneParts:
    """The scene of an STL file under Mitsuba's active variant; SceneError says what is wrong."""
    from trimesh.exchange.stl import load_stl

    found = _loaded(path, load_stl, path.read_bytes())
    meshes = found.get("geometry", {"mesh": found})
    return _scene(path, "STL", list(_pieces(path, meshes)), {}, [])


def _loaded(path: Path, load: Any, content: bytes, **options: Any) -> dict[str, Any]:
    """What trimesh makes of a file."""
    try:
        with np.errstate(over="ignore"):
            return load(io.BytesIO(content), **options)
    except Exception as error:  # trimesh checks little: a broken file may raise anything
        raise SceneError(
            f"{path} cannot be read as {path.suffix[1:].upper()} ({type(error).__name__}:"
            f" {sentence(error)}): export it anew"
        ) from error


def _obj_pieces(path: Path, content: bytes, materials: dict[str, mtl.Material]) -> Iterator[_Piece]:
    """The meshes of an OBJ file, one for each material."""
    from trimesh.exchange.obj import load_obj

    # trimesh names materials only if it has read them: it is given empty ones, and no pictures.
    stand_in = "".join(f"newmtl {name}\nKd 1 1 1\n" for name in materials).encode()
    names = dict.fromkeys((name.strip() for name in mtl.libraries(content)), stand_in)
    text = content.decode("utf-8", "replace").encode()
    found = _loaded(path, load_obj, text, resolver=names)
    return _pieces(path, found.get("geometry", {}))


def _pieces(path: Path, meshes: dict[str, Any]) -> Iterator[_Piece]:
    """Meshes out of trimesh's keywords; SceneError for vertices that are no numbers."""
    from trimesh.geometry import triangulate_quads

    for name, found in meshes.items():
        faces = found.get("faces")
        if faces is None or not len(faces):
            continue
        visual = found.get("visual")
        coordinates = getattr(visual, "uv", None)
        texcoords = np.zeros((0, 2), np.float32)
        if coordinates is not None and len(coordinates) == len(found["vertices"]):
            texcoords = np.asarray(coordinates, np.float32)[:, :2] * [1, -1] + [0, 1]
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            positions = np.asarray(found["vertices"], np.float32)
        mesh = MeshData(
            positions=positions,
            faces=np.asarray(triangulate_quads(faces)).astype(np.uint32),
            normals=_vectors(found.get("vertex_normals")),
            texcoords=texcoords.astype(np.float32),
            colors=_colors(found.get("vertex_colors")),
        )
        check_mesh(path, str(name), mesh)
        material = getattr(getattr(visual, "material", None), "name", None)
        yield _Piece(mesh=mesh, material=material or "")


def _vectors(values: Any) -> Floats:
    return np.zeros((0, 3), np.float32) if values is None else np.asarray(values, np.float32)


def _colors(values: Any) -> Floats:
    """Linear colours of vertices that trimesh has as sRGB, in bytes or in fractions."""
    if values is None:
        return np.zeros((0, 3), np.float32)
    colors: NDArray[Any] = np.asarray(values)[:, :3]
    if colors.dtype != np.uint8:
        colors = (np.clip(colors, 0, 1) * 255).round().astype(np.uint8)
    return linear(colors)


def _scene(
    path: Path,
    kind: str,
    pieces: list[_Piece],
    materials: dict[str, mtl.Material],
    lost: list[str],
) -> SceneParts:
    import mitsuba

    if not pieces:
        raise SceneError(f"{path} has no geometry: it holds no faces")
    names, found, lit = Names(), {}, False
    names.give("type")  # a key of Mitsuba's own
    for piece in pieces:
        material = materials.get(piece.material)
        name = names.give(plain_identifier(piece.material) or "mesh")
        described, radiance = _grey(piece.mesh), None
        mesh = piece.mesh
        if material is not None:
            described, radiance = mtl.bsdf(material, lost.append), mtl.radiance(material)
        emitter = None
        if radiance is not None:
            emitter = mitsuba.load_dict({"type": "area", "radiance": radiance})
            lit = True
        found[name] = build_mesh(name, mesh, mitsuba.load_dict(described), emitter)
    scene = mitsuba.load_dict({"type": "scene", **found})
    return SceneParts(
        format=kind,
        scene=scene,
        again=partial(rebuilt, scene),
        lit=lit,
        lost=tuple(dict.fromkeys(lost)),
    )


def _grey(mesh: MeshData) -> dict[str, Any]:
    """What a mesh without a material is made of."""
    reflectance: Any = {"type": "rgb", "value": GREY}
    if len(mesh.colors):
        reflectance = {"type": "mesh_attribute", "name": "vertex_color"}
    return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": reflectance}}
