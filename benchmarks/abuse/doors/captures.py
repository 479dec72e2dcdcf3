"""Captures of every format, for ``train.py``."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.abuse.cases import Broken, Damage, Entry
from tests.captures.formats import FORMATS, NAMES, noise_image, save_image, write_transforms

QUICK = (
    "training.num_steps=2",
    "training.samples_per_step=1024",
    "training.tensorboard=false",
    "field.grid.levels=4",
    "field.grid.log2_rows=10",
    "field.grid.coarsest=8",
    "field.grid.finest=32",
    "field.width=16",
    "rendering.step=0.01",
    "render.output=none",
    "kernels.threads=1",
)
PHOTO = NAMES[2]
# The files of each format that are damaged in general ways.
VICTIMS = {
    "blender": ("transforms_train.json", "images/0002.png"),
    "nerfstudio": ("transforms.json", "images/0001.png"),
    "intrinsics per frame": ("transforms.json",),
    "colmap, text": ("sparse/0/cameras.txt", "sparse/0/images.txt", "sparse/0/points3D.txt"),
    "colmap, binary": ("sparse/0/cameras.bin", "sparse/0/images.bin", "sparse/0/points3D.bin"),
    "llff": ("poses_bounds.npy", "images/0000.png"),
    "polycam": ("keyframes/corrected_cameras/0001.json",),
    "record3d": ("metadata.json",),
}


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    """A change of what a JSON file holds."""

    def damage(folder: Path, chance: Random) -> None:
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def written(name: str, content: bytes | str) -> Damage:
    """Another content of a file."""
    raw = content.encode() if isinstance(content, str) else content

    def damage(folder: Path, chance: Random) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)

    return damage


def pictured(image: Image.Image, name: str = PHOTO, **options: Any) -> Damage:
    """Another picture in place of a photo."""

    def damage(folder: Path, chance: Random) -> None:
        image.save(folder / name, **options)

    return damage


def array(name: str, make: Callable[[np.ndarray], Any]) -> Damage:
    """Another array in a file of numpy's."""

    def damage(folder: Path, chance: Random) -> None:
        np.save(folder / name, make(np.load(folder / name)), allow_pickle=True)

    return damage


def masked(make: Callable[[Path], object]) -> Damage:
    """A mask beside a photo."""

    def damage(folder: Path, chance: Random) -> None:
        (folder / "masks").mkdir()
        make(folder / "masks" / "0002.png")

    return damage


def _poses(value: Any) -> Damage:
    return edited(
        "transforms.json", lambda it: [f.update(transform_matrix=value) for f in it["frames"]]
    )


def _frame(**values: Any) -> Damage:
    return edited("transforms.json", lambda it: it["frames"][2].update(values))


def _huge_png() -> bytes:
    """A PNG that says it is 60,000 pixels wide and high."""
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


TRANSFORMS = {
    "a photo path out of the folder": _frame(file_path="../../../../etc/passwd"),
    "a photo path of 5000 letters": _frame(file_path="x" * 5000),
    "a photo path with a zero byte": _frame(file_path="images/\0.png"),
    "a photo path of half a letter": _frame(file_path="images/\ud800.png"),
    "the folder as a photo": _frame(file_path="images"),
    "a mask path out of the folder": _frame(mask_path="/etc/passwd"),
    "all poses zero": _poses([[0] * 4] * 4),
    "all poses the same": _poses(np.eye(4).tolist()),
    "poses of huge numbers": _poses([[1e300] * 4] * 4),
    "w of 10^12": edited("transforms.json", lambda it: it.update(w=10**12, h=10**12)),
    "fl_x of 1e-300": edited("transforms.json", lambda it: it.update(fl_x=1e-300)),
    "k1 of 1e30": edited("transforms.json", lambda it: it.update(k1=1e30)),
    "a camera_model that is a list": edited(
        "transforms.json", lambda it: it.update(camera_model=["OPENCV"])
    ),
    "ply_file_path that is no PLY": edited(
        "transforms.json", lambda it: it.update(ply_file_path="images/0000.png")
    ),
    "frames twice": edited("transforms.json", lambda it: it["frames"].extend(it["frames"])),
    "keys of other letters": written("transforms.json", '{"frames": [{"größe": "写真"}], "ß": 1}'),
    "JSON with a comment": written("transforms.json", '{"frames": [] // none yet\n}'),
    "NaN as JSON": written("transforms.json", "NaN"),
    "a photo of 60,000 pixels in 100 bytes": written(PHOTO, _huge_png()),
    "a photo of 1x1": pictured(Image.new("RGB", (1, 1))),
    "a GIF called PNG, of no size": written(PHOTO, b"GIF89a\0\0\0\0\0\0\0;"),
    "an SVG called PNG": written(PHOTO, "<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "a mask of text": masked(lambda at: at.write_text("white")),
    "a mask that is a folder": masked(lambda at: at.mkdir()),
    "a mask of another size": masked(lambda at: Image.new("L", (3, 900)).save(at)),
    "no photos but one": lambda at, _: [(at / name).unlink() for name in NAMES[1:]],
}
BY_HAND: dict[str, dict[str, Broken]] = {
    "transforms": {name: Broken(damage=damage) for name, damage in TRANSFORMS.items()},
    "colmap, text": {
        name: Broken(damage=written(f"sparse/0/{file}", text))
        for name, file, text in (
            ("a lens that is none", "cameras.txt", "1 TELESCOPE 16 12 20 8 6\n"),
            ("a lens of huge size", "cameras.txt", f"1 PINHOLE {10**30} 12 20 20 8 6\n"),
            ("a lens without numbers", "cameras.txt", "1 OPENCV 16 12\n"),
            ("photos of no camera", "images.txt", "1 1 0 0 0 0 0 0 7 0000.png\n\n"),
            ("a rotation of zero", "images.txt", "1 0 0 0 0 0 0 0 1 0000.png\n\n"),
            ("a photo out of the folder", "images.txt", "1 1 0 0 0 0 0 0 1 ../../x.png\n\n"),
        )
    },
    "colmap, binary": {
        "2^63 cameras": Broken(damage=written("sparse/0/cameras.bin", b"\xff" * 7 + b"\x7f")),
        "2^40 photos": Broken(damage=written("sparse/0/images.bin", b"\0" * 5 + b"\1\0\0")),
    },
    "llff": {
        "a pickle": Broken(damage=array("poses_bounds.npy", lambda it: np.array([print, None]))),
        "complex numbers": Broken(damage=array("poses_bounds.npy", lambda it: it * 1j)),
        "rows of zeros": Broken(damage=array("poses_bounds.npy", lambda it: it * 0)),
        "no rows": Broken(damage=array("poses_bounds.npy", lambda it: it[:0])),
        "a shape of 10^12 rows": Broken(
            damage=written(
                "poses_bounds.npy",
                b"\x93NUMPY\1\0v\0"
                + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 17), }".ljust(
                    117
                )
                + b"\n",
            )
        ),
    },
    "record3d": {
        "poses of three numbers": Broken(
            damage=edited("metadata.json", lambda it: it.update(poses=[[1, 2, 3]] * 5))
        ),
        "K of words": Broken(damage=edited("metadata.json", lambda it: it.update(K=["f"] * 9))),
    },
}


def _photos(folder: Path) -> None:
    """Nothing but photos, of which no camera can be told."""
    for index, name in enumerate(NAMES):
        save_image(folder / Path(name).name, noise_image(index, scale=8))


def _video(folder: Path) -> None:
    import av

    with av.open(str(folder / "walk.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 128, 96
        for index in range(12):
            image = noise_image(index, scale=8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())


def _rid_of_photos(folder: Path, chance: Random) -> None:
    for path in folder.iterdir():
        path.unlink()


PHOTOS = {
    "nothing at all": Broken(damage=_rid_of_photos),
    "a file of 16 bits": Broken(
        damage=pictured(Image.fromarray(np.zeros((96, 128), np.uint16)), "0002.png")
    ),
    "a CMYK JPEG called PNG": Broken(
        damage=pictured(Image.new("CMYK", (128, 96)), "0002.png", format="JPEG")
    ),
    "photos of two pixels": Broken(
        damage=lambda at, _: [Image.new("RGB", (2, 1)).save(path) for path in at.iterdir()]
    ),
    "one photo": Broken(damage=lambda at, _: [path.unlink() for path in sorted(at.iterdir())[1:]]),
    "an archive": Broken(
        damage=lambda at, chance: (_rid_of_photos(at, chance), (at / "a.zip").write_bytes(b"PK"))
    ),
}


def entries() -> list[Entry]:
    """One for each format."""
    words = ("capture.path={it}", *QUICK)
    made: dict[str, Any] = {"transforms": write_transforms} | {
        name: FORMATS[name] for name in VICTIMS
    }
    found = [
        Entry(
            name=name,
            group="captures",
            program="train.py",
            words=words,
            make=make,
            victims=VICTIMS.get(name, ("transforms.json", PHOTO)),
            by_hand=BY_HAND.get(name, {}),
        )
        for name, make in made.items()
    ]
    more = {"group": "captures", "program": "train.py", "sound": False}
    found.append(
        Entry(
            name="photos",
            words=words,
            make=_photos,
            victims=("0001.png",),
            by_hand=PHOTOS,
            **more,
        )
    )
    film = ("capture.path={it}/walk.mp4", *QUICK)
    found.append(Entry(name="video", words=film, make=_video, victims=("walk.mp4",), **more))
    inspect = Entry(
        name="inspect",
        group="captures",
        program="scripts/inspect_capture.py",
        words=("{it}",),
        make=write_transforms,
        victims=("transforms.json", PHOTO),
    )
    return [*found, inspect]


def copied(folder: Path, to: Path) -> Path:
    """A copy of a folder, links as they are."""
    return Path(shutil.copytree(folder, to, symlinks=True, dirs_exist_ok=True))
