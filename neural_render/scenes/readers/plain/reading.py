"""Reads plain meshes through trimesh: OBJ with materials, PLY, STL.

A mesh without normals is faceted. PLY and STL, and what has no material, are grey or have the
colours of their vertices.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
from neural_render.scenes.readers.plain.indices import counted_from_first

GREY = 0.6


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Faces of one material; its name is empty if there is none."""

    mesh: MeshData
    material: str


def read_obj(path: Path) -> SceneParts:
    """The scene of an OBJ file under Mitsuba's active variant; SceneError says what is wrong."""
    from trimesh.exchange.obj import load_obj

    content = path.read_bytes()
    lost: list[str] = []
    materials: dict[str, mtl.Material] = {}
    for written in mtl.libraries(content):
        library = Reference(what="material file", written=written)
        if (path.parent / written.replace("\\", "/")).is_file():
            materials |= mtl.read_materials(checked_paths(path, [library])[0])
        else:
            lost.append(f"the material file {written}, which is missing")
    # trimesh names materials only if it has read them: it is given empty ones, and no pictures.
    stand_in = "".join(f"newmtl {name}\nKd 1 1 1\n" for name in materials).encode()
    names = dict.fromkeys(mtl.libraries(content), stand_in)
    with _faults_of(path):
        text = counted_from_first(content.decode("utf-8", "replace"))
        found = load_obj(io.BytesIO(text.encode()), resolver=names)
        pieces = list(_pieces(path, found.get("geometry", {})))
    return _scene(path, "OBJ", pieces, materials, lost)


def read_ply(path: Path) -> SceneParts:
    """The scene of a PLY file under Mitsuba's active variant; SceneError says what is wrong."""
    from trimesh.exchange.ply import load_ply

    with _faults_of(path):
        found = load_ply(io.BytesIO(path.read_bytes()), skip_materials=True)
        pieces = list(_pieces(path, {"mesh": found}))
    return _scene(path, "PLY", pieces, {}, [])


def read_stl(path: Path) -> SceneParts:
    """The scene of an STL file under Mitsuba's active variant; SceneError says what is wrong."""
    from trimesh.exchange.stl import load_stl

    with _faults_of(path):
        found = load_stl(io.BytesIO(path.read_bytes()))
        pieces = list(_pieces(path, found.get("geometry", {"mesh": found})))
    return _scene(path, "STL", pieces, {}, [])


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """Turns whatever a broken file raises into a SceneError: trimesh checks little."""
    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # what is wrong is told once, by us
    try:
        with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy, about trimesh
            yield
    except SceneError:
        raise
    except Exception as error:
        raise SceneError(
            f"{path} cannot be read as {path.suffix[1:].upper()} ({sentence(error)}):"
            " export it anew"
        ) from error


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
        mesh = MeshData(
            positions=np.asarray(found["vertices"], np.float32),
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
        if material is not None and not len(mesh.texcoords):
            material = mtl.without_maps(material, lost.append)
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
