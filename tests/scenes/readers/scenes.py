"""One tiny scene, a cube under a square lamp, written in the formats; and how it is seen."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_render.scenes.readers.opening import load_scene
from neural_render.scenes.records import LoadedScene
from neural_render.scenes.settings import SceneSettings

CUBE_COLOR = (0.7, 0.4, 0.2)
LAMP_RADIANCE = (6.0, 8.0, 10.0)

_CORNERS = np.array(
    [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32
)
_SIDES = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)
_LAMP = np.array([[-2, 3, -1], [2, 3, -1], [2, 3, 3], [-2, 3, 3]], dtype=np.float32)


def cube() -> tuple[np.ndarray, np.ndarray]:
    """Vertices, each side's own, and triangles that are counter-clockwise seen from outside."""
    vertices = _CORNERS[_SIDES].reshape(-1, 3)
    quads = np.arange(24).reshape(6, 4)
    return vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def lamp() -> tuple[np.ndarray, np.ndarray]:
    """A square above the cube that shines down."""
    return _LAMP, np.array([[0, 1, 2], [0, 2, 3]])


def mitsuba() -> Any:
    """Mitsuba with its plain variant; skips where it is not installed."""
    module = pytest.importorskip("mitsuba", reason="needs Mitsuba: pip install .[bake]")
    pytest.importorskip("trimesh", reason="needs trimesh: pip install .[bake]")
    module.set_variant("scalar_rgb")
    return module


def load(path: Path, **settings: Any) -> LoadedScene:
    """The scene in a file under Mitsuba's plain variant."""
    mitsuba()
    return load_scene(SceneSettings(path=str(path), **settings))


def picture(
    scene: LoadedScene, paths: int = 256, origin: Any = (4, 3, 6), integrator: str = "path"
) -> np.ndarray:
    """A small linear picture of the middle of the world."""
    mi = mitsuba()
    sensor = mi.load_dict(
        {
            "type": "perspective",
            "fov": 40,
            "to_world": mi.ScalarTransform4f().look_at(list(origin), [0, 0, 0], [0, 1, 0]),
            "film": {"type": "hdrfilm", "width": 16, "height": 16, "rfilter": {"type": "box"}},
        }
    )
    path_tracer = mi.load_dict({"type": integrator, "max_depth": 3})
    return np.array(mi.render(scene.scene, sensor=sensor, integrator=path_tracer, spp=paths))


def pixels_file(path: Path, pixels: Any) -> None:
    """A small PNG, or an EXR of linear floats."""
    from PIL import Image

    array = np.asarray(pixels)
    if path.suffix == ".exr":
        mi = mitsuba()
        mi.Bitmap(np.ascontiguousarray(array, dtype=np.float32)).write(str(path))
    else:
        Image.fromarray(array.astype(np.uint8)).save(path)


def sky(folder: Path) -> str:
    """A picture of an environment: bright above, dark below, with a red side."""
    pixels = np.linspace(2, 0.2, 8)[:, None, None] * np.ones((8, 16, 3))
    pixels[:, :4, 0] += 1
    pixels_file(folder / "sky.exr", pixels)
    return str(folder / "sky.exr")


def write_obj_geometry(path: Path, parts: list[tuple[str, np.ndarray, np.ndarray]]) -> Path:
    """An OBJ file of meshes with materials (no material: an empty name)."""
    lines, first = [], 1
    for material, vertices, faces in parts:
        lines += [f"v {x} {y} {z}" for x, y, z in vertices]
        lines += [f"usemtl {material}"] if material else []
        lines += ["f " + " ".join(str(first + corner) for corner in face) for face in faces]
        first += len(vertices)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_obj(folder: Path) -> Path:
    """The scene as OBJ with MTL."""
    path = write_obj_geometry(folder / "scene.obj", [("cube", *cube()), ("lamp", *lamp())])
    path.write_text("mtllib scene.mtl\n" + path.read_text())
    color, radiance = (" ".join(map(str, values)) for values in (CUBE_COLOR, LAMP_RADIANCE))
    (folder / "scene.mtl").write_text(
        f"newmtl cube\nKd {color}\nPr 0.5\nPm 0\nnewmtl lamp\nKd 0 0 0\nKe {radiance}\n"
    )
    return path


def write_xml(folder: Path, body: str = "", *, material: str = "", lit: bool = True) -> Path:
    """The scene as Mitsuba's XML, its meshes as OBJ files, with more elements in ``body``."""
    write_obj_geometry(folder / "cube.obj", [("", *cube())])
    write_obj_geometry(folder / "lamp.obj", [("", *lamp())])
    color, radiance = (", ".join(map(str, values)) for values in (CUBE_COLOR, LAMP_RADIANCE))
    material = material or (
        '<bsdf type="twosided"><bsdf type="principled">'
        f'<rgb name="base_color" value="{color}"/><float name="roughness" value="0.5"/>'
        '<float name="eta" value="1.5"/></bsdf></bsdf>'
    )
    lamp_shape = (
        '<shape type="obj" id="lamp"><string name="filename" value="lamp.obj"/>'
        '<boolean name="face_normals" value="true"/>'
        '<bsdf type="diffuse"><rgb name="reflectance" value="0"/></bsdf>'
        f'<emitter type="area"><rgb name="radiance" value="{radiance}"/></emitter></shape>'
    )
    path = folder / "scene.xml"
    path.write_text(
        f'<scene version="3.0.0">{body}<shape type="obj" id="cube">'
        '<string name="filename" value="cube.obj"/><boolean name="face_normals" value="true"/>'
        f"{material}</shape>{lamp_shape if lit else ''}</scene>"
    )
    return path


class Gltf:
    """A glTF file in the making: its JSON and its one buffer."""

    def __init__(self) -> None:
        self.data = b""
        self.content: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "materials": [],
            "accessors": [],
            "bufferViews": [],
        }

    def view(self, data: bytes) -> int:
        """A buffer view of bytes."""
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.content["bufferViews"].append(view)
        self.data += data
        return len(self.content["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, **more: Any) -> int:
        """An accessor of rows of floats, of 4-byte indices or of bytes."""
        kinds = {"f": (5126, "<f4"), "i": (5125, "<u4"), "u": (5121, "u1")}
        component, kind = kinds[values.dtype.kind]
        width = 1 if values.ndim == 1 else values.shape[1]
        accessor = {
            "bufferView": self.view(values.astype(kind).tobytes()),
            "componentType": component,
            "count": len(values),
            "type": {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[width],
            **more,
        }
        self.content["accessors"].append(accessor)
        return len(self.content["accessors"]) - 1

    def mesh(
        self,
        geometry: tuple[np.ndarray, np.ndarray],
        material: dict[str, Any] | None = None,
        node: dict[str, Any] | None = None,
        **attributes: np.ndarray,
    ) -> None:
        """A node with a mesh."""
        vertices, faces = geometry
        found = {"POSITION": self.accessor(vertices.astype(np.float32))}
        found |= {name: self.accessor(values) for name, values in attributes.items()}
        corners = faces.ravel().astype(np.int64)
        primitive: dict[str, Any] = {"attributes": found, "indices": self.accessor(corners)}
        if material is not None:
            self.content["materials"].append(material)
            primitive["material"] = len(self.content["materials"]) - 1
        self.content["meshes"].append({"primitives": [primitive]})
        self.node({"mesh": len(self.content["meshes"]) - 1, **(node or {})})

    def node(self, node: dict[str, Any]) -> None:
        """A node under the scene."""
        self.content["nodes"].append(node)
        self.content["scenes"][0]["nodes"].append(len(self.content["nodes"]) - 1)

    def texture(self, pixels: Any, **sampler: int) -> int:
        """A texture of pixels in the buffer."""
        import io

        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "png")
        view = self.view(stream.getvalue())
        images, textures, samplers = (
            self.content.setdefault(key, []) for key in ("images", "textures", "samplers")
        )
        images.append({"bufferView": view, "mimeType": "image/png", "name": "picture"})
        samplers.append(sampler)
        textures.append({"source": len(images) - 1, "sampler": len(samplers) - 1})
        return len(textures) - 1

    def write(self, path: Path) -> Path:
        """The file: binary, or text with the buffer inside, by its ending."""
        self.content["buffers"] = [{"byteLength": len(self.data)}]
        if path.suffix == ".gltf":
            coded = base64.b64encode(self.data).decode()
            uri = f"data:application/octet-stream;base64,{coded}"
            self.content["buffers"][0]["uri"] = uri
            path.write_text(json.dumps(self.content))
            return path
        text = json.dumps(self.content).encode()
        text += b" " * (-len(text) % 4)
        data = self.data + b"\0" * (-len(self.data) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(data), 0x004E4942) + data
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


def gltf_scene() -> Gltf:
    """The scene as glTF."""
    made = Gltf()
    surface = {
        "baseColorFactor": [*CUBE_COLOR, 1],
        "metallicFactor": 0,
        "roughnessFactor": 0.5,
    }
    made.mesh(cube(), {"pbrMetallicRoughness": surface})
    strength = max(LAMP_RADIANCE)
    made.mesh(
        lamp(),
        {
            "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]},
            "emissiveFactor": [value / strength for value in LAMP_RADIANCE],
            "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": strength}},
        },
        {"name": "lamp"},
    )
    return made
