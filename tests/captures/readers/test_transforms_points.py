"""Sparse points of transforms.json: PLY files and models beside it, in the coordinates of poses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.readers.colmap import reader as colmap
from neural_render.captures.readers.transforms import reader as transforms
from neural_render.captures.readers.transforms.ply import read_ply
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from tests.captures.formats import (
    FORMATS,
    INTRINSICS,
    NAMES,
    POSES,
    make_frames,
    tiny_model,
    write_json,
    write_transforms,
)
from tests.captures.readers.colmap_files import Point, write_model

PLACES = np.random.default_rng(3).normal(size=(40, 3)) * 0.3
COLORS = np.random.default_rng(4).integers(0, 256, (40, 3), dtype=np.uint8)


def write_ply(path: Path, encoding: str = "ascii", extra: str = "") -> Path:
    """The path, now a file of `PLACES` with normals, colours and a face that nobody asks for."""
    fields = [*((axis, "f8") for axis in "xyz"), ("nx", "f4")]
    fields += [(color, "u1") for color in ("red", "green", "blue")]
    vertices = np.zeros(len(PLACES), dtype=fields)
    for axis, values in zip("xyz", PLACES.T, strict=True):
        vertices[axis] = values
    for color, values in zip(("red", "green", "blue"), COLORS.T, strict=True):
        vertices[color] = values
    names = {"f8": "double", "f4": "float", "u1": "uchar"}
    properties = [f"property {names[kind]} {name}" for name, kind in fields]
    header = ["ply", f"format {encoding} 1.0", "comment made by a test"]
    header += [f"element vertex {len(PLACES)}", *properties, *extra.split("\n")]
    header += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    head = "\n".join(line for line in header if line) + "\n"
    if encoding == "ascii":
        rows = [" ".join(str(value) for value in row.tolist()) for row in vertices]
        body = "\n".join([*rows, "3 0 1 2"]).encode()
    else:
        order = "<" if "little" in encoding else ">"
        body = vertices.astype(vertices.dtype.newbyteorder(order)).tobytes() + b"\x03"
    path.write_bytes(head.encode() + body)
    return path


def with_places_seen(scale: float = 1.0) -> list[Point]:
    """`PLACES`, each seen by all photos somewhere."""
    seen = [(image, 3.0, 4.0) for image in range(len(NAMES))]
    rows = (PLACES * scale).tolist()
    return [((x, y, z), (1, 2, 3), seen) for x, y, z in rows]


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_all_encodings_give_the_same_vertices(encoding: str, tmp_path: Path) -> None:
    positions, colors = read_ply(write_ply(tmp_path / "points.ply", encoding))
    assert np.allclose(positions, PLACES, atol=1e-12)
    assert np.array_equal(colors, COLORS)


def test_points_are_in_the_coordinates_of_the_poses(tmp_path: Path) -> None:
    folder = write_transforms(
        tmp_path, ply_file_path="sparse_pc.ply", applied_scale=0.5, **INTRINSICS
    )
    write_ply(folder / "sparse_pc.ply")
    capture = open_capture(CaptureSettings(path=str(folder), test_every=0), progress=False)
    assert np.allclose(capture.points.positions, PLACES * 2)
    positions = capture.train.cameras.world_from_camera[:, :, 3].numpy()
    assert np.allclose(positions, POSES[:, :3, 3] * 2, atol=1e-5)
    assert not capture.warnings


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda text: text.replace("ply", "obj", 1), r"is no PLY file"),
        (
            lambda text: text.replace("ascii", "binary_little_endian").replace(
                "x 40", f"x {10**30}"
            ),
            r"ends after \d+ of 1000000000000000000000000000000 vertices",
        ),
        (lambda text: text[:-300], r"ends after \d+ of 40 vertices: write it again"),
        (lambda text: text.replace("double z", "double w"), r"has no header that names .* x, y"),
        (lambda text: text.replace("vertex 40", "face 40"), r"does not begin with its vertices"),
        (lambda text: text.replace("float nx", "list uchar int nx"), r"which is not supported"),
    ],
)
def test_a_broken_file_is_told(change: object, pattern: str, tmp_path: Path) -> None:
    assert callable(change)
    path = write_ply(tmp_path / "points.ply")
    path.write_text(change(path.read_text()))
    with pytest.raises(CaptureError, match=pattern):
        read_ply(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    write_transforms(tmp_path, ply_file_path="gone.ply", **INTRINSICS)
    (warning,) = transforms.read(tmp_path).warnings
    assert "gone.ply, which ply_file_path names, is not there" in warning


def test_points_of_the_model_that_the_poses_come_from(tmp_path: Path) -> None:
    folder = FORMATS["nerfstudio"](tmp_path)
    model = replace(tiny_model(), points=with_places_seen())
    write_model(folder / "colmap/sparse/0", ".bin", model)
    listing = transforms.read(folder)
    assert not listing.warnings
    assert np.allclose(listing.points.positions, PLACES)
    assert listing.points.names == tuple(NAMES)
    assert len(listing.points.point) == len(PLACES) * len(NAMES)
    assert np.array_equal(listing.points.photo, colmap.read(folder).points.photo)


def test_points_of_another_reconstruction_are_left_out(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    model = tiny_model()
    turned = np.concatenate([model.poses[:, :, :3], model.poses[:, :, 3:] * 1.3 + 0.2], axis=2)
    write_model(
        folder / "sparse/0", ".txt", replace(model, poses=turned, points=with_places_seen())
    )
    listing = transforms.read(folder)
    assert len(listing.points) == 0
    (warning,) = listing.warnings
    assert "degrees away from where the model's do, so that both have coordinates" in warning
    # The file that is in the poses' coordinates serves.
    write_ply(folder / "points.ply")
    write_json(
        folder / "transforms.json",
        {**INTRINSICS, "ply_file_path": "points.ply", "frames": make_frames()},
    )
    listing = transforms.read(folder)
    assert np.allclose(listing.points.positions, PLACES) and not listing.warnings


def test_a_model_of_other_photos_or_broken_is_left_out(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    names = [f"other{index}.png" for index in range(len(NAMES))]
    model = replace(tiny_model(), names=names, points=with_places_seen())
    write_model(folder / "sparse/0", ".bin", model)
    assert "images do not have the names of the photos" in transforms.read(folder).warnings[0]
    (folder / "sparse/0/images.bin").write_bytes(b"\x07")
    assert "sparse/0 are left out: " in transforms.read(folder).warnings[0]


def test_depth_maps_are_told_to_be_unused(tmp_path: Path) -> None:
    write_transforms(tmp_path, make_frames(depth_file_path="depth/1.png"))
    (warning,) = transforms.read(tmp_path).warnings
    assert warning.startswith("depth_file_path of 5 frames in") and "is not used" in warning


@pytest.mark.parametrize("stated", [{"offset": 0.25}, {"offset": [0.25, 0.25, 0.25]}])
def test_one_number_stands_for_three(tmp_path: Path, stated: dict[str, object]) -> None:
    """Of instant-ngp's ``offset``, as it reads it itself."""
    content = {**INTRINSICS, "scale": 0.5, **stated, "frames": make_frames()}
    folder = write_transforms(tmp_path)
    write_json(folder / "transforms.json", content)
    assert transforms.read(folder).placement.center == (0.5, 0.5, 0.5)
