"""Artists' scenes, for ``scripts/bake.py``."""

import json
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.abuse.cases import Broken, Damage, Entry
from benchmarks.abuse.doors.captures import QUICK, edited, written

TINY = (
    "views.test=0",
    "views.kind=shell",
    "tracer.variant=scalar",
    "tracer.threads=1",
    "tracer.ring=8192",
    "tracer.wavefront=4096",
    "tracer.samples_per_ray=1",
    "scene.max_depth=2",
)
OBJ = """mtllib ball.mtl
v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nv 0 0 1
vt 0 0\nvt 1 0\nvt 1 1
usemtl red
f 1/1 2/2 3/3\nf 1/1 3/3 4/1\nf 1/1 2/2 5/3\nf 2/1 3/2 5/3\nf 3/1 4/2 5/3\nf 4/1 1/2 5/3
"""
MTL = "newmtl red\nKd 0.8 0.2 0.1\nmap_Kd wood.png\nNs 10\n"
XML = """<scene version="3.0.0">
<default name="level" value="0.5"/>
<emitter type="point" id="bulb"><point name="position" x="2" y="-2" z="3"/>
<rgb name="intensity" value="9, 9, 9"/></emitter>
<shape type="obj" id="tent"><string name="filename" value="mesh.obj"/>
<bsdf type="twosided"><bsdf type="diffuse"><rgb name="reflectance" value="$level"/></bsdf></bsdf>
</shape>
<shape type="sphere" id="ball"><point name="center" x="0" y="0" z="2"/>
<float name="radius" value="0.5"/><bsdf type="diffuse">
<texture type="bitmap" name="reflectance"><string name="filename" value="wood.png"/></texture>
</bsdf></shape>
</scene>
"""
LAUGHS = '<!DOCTYPE s [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">'
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
OF_XML = {
    "a billion laughs": LAUGHS + "]><scene version='3.0.0'><string name='x' value='&i;'/></scene>",
    "an entity of a file": '<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<scene version='3.0.0'><string name='x' value='&x;'/></scene>",
    "an include of itself": '<scene version="3.0.0"><include filename="scene.xml"/></scene>',
    "an include of a device": '<scene version="3.0.0"><include filename="/dev/zero"/></scene>',
    "an include of passwords": '<scene version="3.0.0"><include filename="/etc/passwd"/></scene>',
    "a plugin that is none": XML.replace('type="sphere"', 'type="../../x"'),
    "a shape of no known kind": XML.replace('type="sphere"', 'type="dodecahedron"'),
    "a mesh that is a folder": XML.replace('"mesh.obj"', '"/etc"'),
    "a mesh out of a device": XML.replace('"mesh.obj"', '"/dev/zero"'),
    "a texture that is gone": XML.replace('"wood.png"', '"gone.png"'),
    "a parameter that is not defined": XML.replace("$level", "$depth"),
    "a transform of zeros": XML.replace(
        '<float name="radius" value="0.5"/>',
        '<transform name="to_world"><scale value="0"/></transform>',
    ),
    "a radius of NaN": XML.replace('value="0.5"/><bsdf type="diffuse">', 'value="nan"/><bsdf>'),
    "version 99": XML.replace("3.0.0", "99.0.0"),
    "no shapes": '<scene version="3.0.0"/>',
    "10,000 levels": '<scene version="3.0.0">' + "<shape>" * 10_000,
    "an id twice": XML.replace('id="ball"', 'id="tent"'),
    "other letters": XML.replace('id="ball"', 'id="größe"').replace('"wood.png"', '"写真.png"'),
}


def _mesh(folder: Path) -> None:
    folder.joinpath("mesh.obj").write_text(OBJ, encoding="utf-8")
    folder.joinpath("ball.mtl").write_text(MTL, encoding="utf-8")
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(folder / "wood.png")


def write_scene(folder: Path) -> None:
    """A scene of Mitsuba's with a mesh, a material and a picture."""
    _mesh(folder)
    folder.joinpath("scene.xml").write_text(XML, encoding="utf-8")


def _solid() -> Any:
    import trimesh

    return trimesh.creation.box()


def _exported(name: str) -> Any:
    def make(folder: Path) -> None:
        _solid().export(str(folder / name))

    return make


def _gltf(folder: Path) -> None:
    """A box as text, with its numbers in a file of their own and a texture."""
    import trimesh

    for name, content in trimesh.exchange.gltf.export_gltf(_solid().scene()).items():
        (folder / ("scene.gltf" if name.endswith(".gltf") else name)).write_bytes(content)


def _environment(folder: Path) -> None:
    import OpenImageIO as oiio

    _mesh(folder)
    path = str(folder / "sky.exr")
    picture: Any = oiio.ImageOutput.create(path)
    picture.open(path, oiio.ImageSpec(8, 4, 3, "half"))
    picture.write_image(np.ones((4, 8, 3), np.float32))
    picture.close()


def _glb(change: Any) -> Damage:
    """A change of the JSON of a binary glTF."""

    def damage(folder: Path, chance: Random) -> None:
        path = folder / "scene.glb"
        content = path.read_bytes()
        (length,) = struct.unpack("<I", content[12:16])
        said = json.loads(content[20 : 20 + length])
        change(said)
        text = json.dumps(said).encode()
        text += b" " * (-len(text) % 4)
        rest = content[20 + length :]
        head = struct.pack("<III", 0x46546C67, 2, 20 + len(text) + len(rest))
        path.write_bytes(head + struct.pack("<II", len(text), 0x4E4F534A) + text + rest)

    return damage


def _of_gltf(wrap: Any) -> dict[str, Broken]:
    changes = {
        "nodes in a ring": lambda it: it["nodes"][0].update(children=[0]),
        "a buffer from the network": lambda it: it["buffers"][0].update(uri="http://x.invalid/b"),
        "a buffer out of the folder": lambda it: it["buffers"][0].update(uri="../../etc/passwd"),
        "an accessor of 10^12": lambda it: it["accessors"][0].update(count=10**12),
        "an accessor of no buffer": lambda it: it["accessors"][0].update(bufferView=77),
        "an offset below zero": lambda it: it["bufferViews"][0].update(byteOffset=-4),
        "no mesh": lambda it: it.pop("meshes"),
        "meshes of text": lambda it: it.update(meshes="cube"),
        "a required extension": lambda it: it.update(extensionsRequired=["KHR_telepathy"]),
        "a matrix of NaN": lambda it: it["nodes"][0].update(matrix=[float("nan")] * 16),
        "version 99": lambda it: it["asset"].update(version="99"),
    }
    return {what: Broken(damage=wrap(change)) for what, change in changes.items()}


MESHES = {
    "mesh.obj": {
        "vertices of huge numbers": Broken(damage=written("mesh.obj", "v 1e39 0 0\n" * 3)),
        "faces of no vertices": Broken(damage=written("mesh.obj", "f 1 2 3\n")),
        "a picture out of the folder": Broken(
            damage=written("ball.mtl", "newmtl red\nmap_Kd ../../../etc/passwd\n"),
            about=("etc/passwd",),
        ),
        "colours of words": Broken(damage=written("ball.mtl", "newmtl red\nKd red\n")),
    }
}


def entries() -> list[Entry]:
    """One for each format."""
    gltf = _of_gltf(lambda change: edited("scene.gltf", change))
    by_hand = {what: Broken(damage=written("scene.xml", text)) for what, text in OF_XML.items()}
    dark = {
        "an environment that is gone": Broken(words=("scene.environment={it}/gone.exr",)),
        "an environment that is a mesh": Broken(words=("scene.environment={it}/mesh.obj",)),
        "groups of no light": Broken(words=("scene.groups=[a=none+never]",)),
        "a moving light that is none": Broken(words=("scene.moving=moon",)),
    }
    doors = {
        "mitsuba": ("scene.xml", write_scene, ("scene.xml", "mesh.obj", "wood.png"), by_hand),
        "gltf": ("scene.gltf", _gltf, ("scene.gltf",), gltf),
        "glb": ("scene.glb", _exported("scene.glb"), ("scene.glb",), _of_gltf(_glb)),
        "obj": ("mesh.obj", _mesh, ("mesh.obj", "ball.mtl", "wood.png"), MESHES["mesh.obj"]),
        "ply": ("box.ply", _exported("box.ply"), ("box.ply",), {}),
        "stl": ("box.stl", _exported("box.stl"), ("box.stl",), {}),
        "environment": ("mesh.obj", _environment, ("sky.exr",), dark),
    }
    found = []
    for name, (file, make, victims, broken) in doors.items():
        sky = ("scene.environment={it}/sky.exr",) if name == "environment" else ()
        words = ("scene.path={it}/" + file, *sky, *QUICK, *TINY)
        found.append(
            Entry(
                name=name,
                group="scenes",
                program="scripts/bake.py",
                words=words,
                make=make,
                victims=victims,
                by_hand=broken,
            )
        )
    return found
