"""Mitsuba's meshes and textures out of arrays."""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neural_render.core.errors import SceneError
from neural_render.core.files import PICTURE_KINDS, large_pictures
from neural_render.scenes.readers.files import sentence

Floats = NDArray[np.float32]


def linear_from_srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear values of those that are shown. (That of ``core.color`` is of tensors.)"""
    curved = ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(values > 0.04045, curved, values / 12.92)


_LINEAR = linear_from_srgb(np.arange(256) / 255).astype(np.float32)


def _none() -> Floats:
    return np.zeros((0, 3), np.float32)


@dataclass(frozen=True, kw_only=True)
class MeshData:
    """Triangles in world units; normals, texture coordinates (v down) and colours may be empty."""

    positions: Floats
    faces: NDArray[np.uint32]
    normals: Floats = field(default_factory=_none)
    texcoords: Floats = field(default_factory=_none)
    colors: Floats = field(default_factory=_none)

    def part(self, chosen: NDArray[np.bool_]) -> "MeshData":
        """The mesh of some of the faces, with the vertices that they use."""
        used, faces = np.unique(self.faces[chosen], return_inverse=True)
        return replace(
            self,
            positions=self.positions[used],
            faces=faces.reshape(-1, 3).astype(np.uint32),
            normals=self.normals[used] if len(self.normals) else self.normals,
            texcoords=self.texcoords[used] if len(self.texcoords) else self.texcoords,
            colors=self.colors[used] if len(self.colors) else self.colors,
        )


def check_mesh(scene: Path, name: str, mesh: MeshData) -> None:
    """SceneError for faces of vertices that are not there, or vertices that are no numbers."""
    if len(mesh.faces) and int(mesh.faces.max()) >= len(mesh.positions):
        raise SceneError(
            f"{scene}: the mesh {name} has faces of vertices that it does not have: export it anew"
        )
    if not np.isfinite(mesh.positions).all():
        num_bad = int((~np.isfinite(mesh.positions).all(axis=1)).sum())
        raise SceneError(
            f"{scene}: the mesh {name} has {num_bad} vertices that are no finite numbers (NaN or"
            " infinite): repair the mesh"
        )


def build_mesh(name: str, mesh: MeshData, bsdf: Any, emitter: Any = None) -> Any:
    """A ``mitsuba.Mesh`` of a BSDF and perhaps an area emitter; without normals it is faceted."""
    import mitsuba

    properties = mitsuba.Properties()
    properties["mesh_bsdf"] = bsdf
    if emitter is not None:
        properties["emitter"] = emitter
    normals = _usable_normals(mesh)
    properties["face_normals"] = len(normals) == 0
    built: Any = mitsuba.Mesh(
        name,
        len(mesh.positions),
        len(mesh.faces),
        props=properties,
        has_vertex_normals=len(normals) > 0,
        has_vertex_texcoords=len(mesh.texcoords) > 0,
    )
    if len(mesh.colors):
        built.add_attribute("vertex_color", 3, _flat(mesh.colors))
    parameters: Any = mitsuba.traverse(built)
    parameters["vertex_positions"] = _flat(mesh.positions)
    parameters["faces"] = np.ascontiguousarray(mesh.faces, np.uint32).ravel()
    if len(normals):
        parameters["vertex_normals"] = _flat(normals)
    if len(mesh.texcoords):
        parameters["vertex_texcoords"] = _flat(mesh.texcoords)
    parameters.update()
    built.set_id(name)
    return built


def _usable_normals(mesh: MeshData) -> Floats:
    """Unit normals; none if some are no numbers or have no length."""
    if not len(mesh.normals):
        return mesh.normals
    lengths = np.linalg.norm(mesh.normals, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or float(lengths.min()) < 1e-12:
        return mesh.normals[:0]
    return mesh.normals / lengths


def _flat(values: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(values, np.float32).ravel()


def decoded(content: bytes, what: str) -> NDArray[np.uint8]:
    """The pixels ``[rows columns 4]`` of a picture in a file; SceneError if it is none."""
    try:
        with large_pictures(), Image.open(io.BytesIO(content), formats=PICTURE_KINDS) as picture:
            if picture.mode.startswith("I"):  # 16 bits, which PIL would clip
                gray = np.asarray(picture).astype(np.float64) / 257
                picture = Image.fromarray(gray.round().clip(0, 255).astype(np.uint8))
            return np.asarray(picture.convert("RGBA"))
    except Exception as error:  # decoders raise almost anything
        raise SceneError(
            f"{what} is no picture that can be decoded ({sentence(error)}): save it as PNG or JPEG"
        ) from error


def linear(pixels: NDArray[np.uint8]) -> Floats:
    """Linear values of pixels encoded as sRGB."""
    return _LINEAR[pixels]


def texture(pixels: NDArray[Any], *, raw: bool, **options: Any) -> dict[str, Any]:
    """A texture's description; pixels ``[rows columns channels]``, bytes that are not raw: sRGB."""
    import mitsuba

    return {
        "type": "bitmap",
        "bitmap": mitsuba.Bitmap(np.ascontiguousarray(pixels)),
        "raw": raw or pixels.dtype != np.uint8,
        **options,
    }


def rgb(color: Any) -> dict[str, Any]:
    """A description of one colour."""
    return {"type": "rgb", "value": [float(value) for value in color]}
