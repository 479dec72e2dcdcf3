"""Reads a glTF scene."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.building import MeshData, build_mesh
from neural_render.scenes.readers.found import Names, plain_identifier
from neural_render.scenes.readers.gltf.document import Document, Values, faults_of, open_document
from neural_render.scenes.readers.gltf.materials import PREFIX, Materials, base_of
from neural_render.scenes.readers.gltf.meshes import lit_faces, mesh_of, mirrored_faces, with_backs
from neural_render.scenes.readers.gltf.nodes import LIGHTS, camera_of, light_of, placed_nodes
from neural_render.scenes.readers.gltf.pictures import TRANSFORM, Pictures, uv_matrix
from neural_render.scenes.readers.lighting import rebuilt
from neural_render.scenes.readers.parts import SceneParts

NAME = "glTF"
_READ_EXTENSIONS = {
    LIGHTS,
    TRANSFORM,
    "KHR_mesh_quantization",
    "EXT_texture_webp",
}


def read(path: Path) -> SceneParts:
    """The scene of a glTF file under Mitsuba's active variant; SceneError says what is wrong."""
    document = open_document(path)
    import mitsuba  # after: what is broken is told without it too

    with faults_of(path):
        parts = _parts(document)
        if not parts.shapes:
            raise SceneError(f"{path} has no geometry: none of its nodes has a mesh of triangles")
        scene = mitsuba.load_dict({"type": "scene", **parts.found})
    return SceneParts(
        format=NAME,
        scene=scene,
        again=partial(rebuilt, scene),
        lit=bool(parts.lights),
        up="y",
        lost=tuple(document.lost),
    )


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What a ``mitsuba.Scene`` is made of, by name."""

    document: Document
    materials: Materials
    names: Names = field(default_factory=Names)
    found: Values = field(default_factory=dict)
    shapes: set[str] = field(default_factory=set)
    lights: set[str] = field(default_factory=set)  # those that are not pictures on a surface

    def add(self, wanted: str, part: Any) -> str:
        name = self.names.give(plain_identifier(wanted) or "part")
        self.found[name] = part
        return name

    def add_mesh(self, wanted: str, mesh: MeshData, bsdf: Any, radiance: Values | None) -> None:
        """A mesh that may emit."""
        import mitsuba

        name = self.names.give(plain_identifier(wanted) or "mesh")
        emitter = None
        if radiance is not None:
            if radiance["type"] == "rgb":
                self.lights.add(name)
            emitter = mitsuba.load_dict({"type": "area", "radiance": radiance})
        self.found[name] = build_mesh(name, mesh, bsdf, emitter)
        self.shapes.add(name)


def _parts(document: Document) -> _Parts:
    pictures = Pictures(document=document)
    parts = _Parts(document=document, materials=Materials(document=document, pictures=pictures))
    parts.names.give("type")  # a key of Mitsuba's own
    _lose_the_unread(document)
    for index, node, matrix in placed_nodes(document):
        camera = camera_of(document, node, matrix)
        if camera:
            parts.add(node.get("name") or "camera", camera)
        light = light_of(document, node, matrix)
        if light:
            parts.lights.add(parts.add(*light))
        if "mesh" in node:
            _add_meshes(parts, index, node, matrix)
    return parts


def _lose_the_unread(document: Document) -> None:
    for extension in document.content.get("extensionsUsed", []):
        if extension not in _READ_EXTENSIONS and not extension.startswith(PREFIX):
            document.lose(extension)
    if document.all("animations"):
        document.lose(f"{len(document.all('animations'))} animations")


def _add_meshes(parts: _Parts, index: int, node: Values, matrix: NDArray[np.float64]) -> None:
    """All primitives of a node's mesh, split where faces need a material of their own."""
    document, materials = parts.document, parts.materials
    stated = document.all("meshes")[node["mesh"]]
    name = node.get("name") or stated.get("name") or f"node_{index}"
    if "skin" in node:
        document.lose(f"the skin of {name}")
    if "EXT_mesh_gpu_instancing" in node.get("extensions", {}):
        document.lose(f"the instances of {name}")
    for primitive in stated["primitives"]:
        material = primitive.get("material")
        mesh = mesh_of(document, primitive, name, matrix, materials.texcoord_set(material))
        if mesh is None:
            continue
        if not len(mesh.colors) and len(mesh.texcoords) == 0 and _has_textures(materials, material):
            document.lose(f"textures of {name}, which has no texture coordinates")
        for part, radiance, mirrored in _split(materials, material, mesh):
            bsdf = materials.bsdf(
                material,
                textured=len(part.texcoords) > 0,
                colored=len(part.colors) > 0,
                mirrored=mirrored,
            )
            parts.add_mesh(name, part, bsdf, radiance)


def _has_textures(materials: Materials, material: int | None) -> bool:
    stated = materials.material(material)
    return "baseColorTexture" in stated.get("pbrMetallicRoughness", {})


def _split(
    materials: Materials, material: int | None, mesh: MeshData
) -> list[tuple[MeshData, Values | None, bool]]:
    """Parts of a mesh, their radiance, and whether a normal map is mirrored on them."""
    stated = materials.material(material)
    textured = len(mesh.texcoords) > 0
    factor, _ = base_of(stated)
    if len(mesh.colors):
        tint = np.clip(np.asarray(factor[:3], np.float32), 0, 1)
        mesh = MeshData(**{**vars(mesh), "colors": np.clip(mesh.colors, 0, 1) * tint})
    mirrored = np.zeros(len(mesh.faces), bool)
    if textured and "normalTexture" in stated:
        mirrored = mirrored_faces(mesh)
    emission = materials.emission(material, textured=textured)
    lit = np.full(len(mesh.faces), emission is not None)
    if emission is not None and emission.info is not None and emission.pixels is not None:
        transform = emission.info.get("extensions", {}).get(TRANSFORM, {})
        wrap = materials.pictures.options(emission.info)["wrap_mode"]
        lit = lit_faces(mesh, emission.pixels, uv_matrix(transform), wrap)
    radiance = emission.radiance if emission is not None else None
    # A light stays whole: its faces have the normal map as most of them need it.
    mirrored = np.where(lit, lit.any() and mirrored[lit].mean() > 0.5, mirrored)
    parts = []
    for emits in (True, False):  # so that the light has the plain name
        for turned in (False, True):
            chosen = (lit == emits) & (mirrored == turned)
            if chosen.any():
                part = mesh if chosen.all() else mesh.part(chosen)
                if emits and stated.get("doubleSided", False):
                    part = with_backs(part)
                parts.append((part, radiance if emits else None, turned))
    return parts
