"""COLMAP models: points, sub-models, photos without poses, broken files, and pycolmap's word."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.readers.colmap import reader
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Lens
from neural_render.core.errors import CaptureError
from neural_render.core.lenses.kinds import ALL_COEFFICIENTS
from tests.captures.formats import (
    FOCAL_PX,
    HEIGHT,
    NAMES,
    WIDTH,
    noise_image,
    save_image,
    tiny_model,
    write_colmap,
)
from tests.captures.readers.colmap_files import Point, write_model

POINTS: list[Point] = [
    ((0.1, 0.2, 0.3), (1, 2, 3), [(0, 4.0, 5.0), (2, 6.0, 7.0)]),
    ((0.4, 0.5, 0.6), (4, 5, 6), [(1, 8.0, 9.0)]),  # seen once
    ((0.7, 0.8, 0.9), (7, 8, 9), [(3, 1.0, 2.0), (3, 1.5, 2.0)]),  # twice, by one photo
    ((1e9, 0.0, 0.0), (9, 9, 9), [(0, 1.0, 1.0), (1, 1.0, 1.0)]),  # nowhere
    ((-0.5, 0.0, 0.2), (10, 11, 12), [(4, 3.0, 4.0), (1, 5.0, 6.0), (0, 7.0, 8.0)]),
]


def complaint(folder: Path) -> str:
    with pytest.raises(CaptureError) as raised:
        open_capture(CaptureSettings(path=str(folder)), progress=False)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] not in ".:"
    return sentence


@pytest.mark.parametrize("kind", [".bin", ".txt"])
def test_points_that_two_photos_show(kind: str, tmp_path: Path) -> None:
    write_colmap(tmp_path, kind)
    write_model(tmp_path / "sparse/0", kind, replace(tiny_model(), points=POINTS))
    points = reader.read(tmp_path).points
    assert np.array_equal(points.positions, [POINTS[0][0], POINTS[4][0]])
    assert np.array_equal(points.colors, [[1, 2, 3], [10, 11, 12]])
    assert points.names == tuple(Path(name).name for name in NAMES)
    pixels = (points.place * [WIDTH, HEIGHT]).round(6)
    seen = sorted(zip(points.point, points.photo, map(tuple, pixels), strict=True))
    assert seen == [
        (0, 0, (4, 5)),
        (0, 2, (6, 7)),
        (1, 0, (7, 8)),
        (1, 1, (5, 6)),
        (1, 4, (3, 4)),
    ]


def test_a_model_needs_no_points(tmp_path: Path) -> None:
    (write_colmap(tmp_path, ".bin") / "sparse/0/points3D.bin").unlink()
    assert len(reader.read(tmp_path).points) == 0


def test_the_largest_of_several_models(tmp_path: Path) -> None:
    model = tiny_model()
    for index, count in enumerate([2, 5, 3]):
        part = replace(model, poses=model.poses[:count], names=model.names[:count])
        write_model(tmp_path / "sparse" / str(index), ".bin", part)
    for index, name in enumerate(NAMES):
        save_image(tmp_path / name, noise_image(index))
    listing = reader.read(tmp_path)
    assert len(listing.train) == 5
    (warning,) = listing.warnings
    assert "sparse/1 (5 photos)" in warning
    assert "sparse/0 (2 photos), sparse/2 (3 photos) left out" in warning


def test_photos_without_poses_are_named(tmp_path: Path) -> None:
    write_colmap(tmp_path, ".bin")
    for name in ("lost.png", "strayed.png"):
        save_image(tmp_path / "images" / name, noise_image(7))
    save_image(tmp_path / "images" / "inner" / "other.png", noise_image(7))
    (warning,) = reader.read(tmp_path).warnings
    assert "2 of the 7 photos" in warning and warning.endswith("{lost,strayed}.png")


def test_poses_without_photos_are_named(tmp_path: Path) -> None:
    (write_colmap(tmp_path, ".bin") / NAMES[1]).unlink()
    capture = open_capture(CaptureSettings(path=str(tmp_path), test_every=0), progress=False)
    (warning,) = capture.warnings
    assert "1 of the 5 photos" in warning and "images.bin" in warning and "0001.png" in warning


def test_cameras_of_different_models(tmp_path: Path) -> None:
    rows = (FOCAL_PX, FOCAL_PX, 8.0, 6.0)
    cameras = [("PINHOLE", 16, 12, rows)] * 4 + [("FOV", 16, 12, (*rows, 0.9))]
    write_colmap(tmp_path, ".bin")
    write_model(tmp_path / "sparse/0", ".bin", replace(tiny_model(), cameras=cameras))
    capture = open_capture(CaptureSettings(path=str(tmp_path), test_every=4), progress=False)
    # Test views have as many coefficients as training views, whatever their own lenses need.
    assert capture.train.cameras.distortion.shape == (3, len(ALL_COEFFICIENTS))
    assert capture.test.cameras.distortion.shape == (2, len(ALL_COEFFICIENTS))
    assert capture.train.cameras.lens.tolist() == [Lens.PERSPECTIVE] * 3
    assert capture.test.cameras.lens.tolist() == [Lens.PERSPECTIVE, Lens.FOV]


def test_names_with_spaces_and_folders(tmp_path: Path) -> None:
    names = [f"left eye/photo {index}.png" for index in range(5)]
    for kind in (".txt", ".bin"):
        folder = tmp_path / kind
        write_model(folder / "sparse/0", kind, replace(tiny_model(), names=names))
        for index, name in enumerate(names):
            save_image(folder / "images" / name, noise_image(index))
        assert [photo.name for photo in reader.read(folder).train] == names
        assert all(photo.image.is_file() for photo in reader.read(folder).train)


def cut(name: str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(share * len(data))])

    return change


def rewritten(**changes: object) -> Callable[[Path], None]:
    return lambda at: void(write_model(at, ".bin", replace(tiny_model(), **changes)))


def void(_: object) -> None:
    return None


def in_text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in folder.glob("*.bin"):
            path.unlink()
        write_model(folder, ".txt", replace(tiny_model(), points=POINTS))
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


BROKEN = {
    r"cameras\.bin is an empty file: copy": cut("cameras.bin", 0),
    r"images\.bin is truncated.*announces 5 images.*within number 3": cut("images.bin", 0.5),
    r"points3D\.bin is truncated.*5 points.*within number": cut("points3D.bin", 0.6),
    r"images\.bin has \d bytes, too few": cut("images.bin", 0.008),
    r"image 1 \(0000.png\) of .*camera 1, which .*cameras\.bin does not": rewritten(cameras=[]),
    r"image 2 \(a\) of .* has the name of image 1": rewritten(names=["a", "a", "b", "c", "d"]),
    r"lists no image: run": rewritten(poses=np.zeros((0, 3, 4)), names=[]),
    r"camera 1 of .*has the size 0x12 and": rewritten(
        cameras=[("SIMPLE_PINHOLE", 0, 12, (FOCAL_PX, 8.0, 6.0))]
    ),
    r"camera 1 of .*has the size 1{20}x12 and the parameters": in_text(
        "cameras.txt", " 16 12 ", f" {'1' * 500} 12 "
    ),
    r"camera 1 of .*camera model MYSTERY, which is not known": in_text(
        "cameras.txt", "SIMPLE_PINHOLE", "MYSTERY"
    ),
    r"camera 1 of .*has 3 parameters, but PINHOLE has 4 \(fx fy cx cy\)": in_text(
        "cameras.txt", "SIMPLE_PINHOLE", "PINHOLE"
    ),
    r"line 2 of .*cameras\.txt is not what COLMAP writes": in_text(
        "cameras.txt", "SIMPLE_PINHOLE 16", "SIMPLE_PINHOLE wide"
    ),
    r"line 3 of .*images\.txt is not what .*observations": in_text("images.txt", "2.5 -1", "2.5"),
    r"line 2 of .*points3D\.txt is not what": in_text("points3D.txt", "1 2 3", "1 2 300"),
}


@pytest.mark.parametrize("pattern", BROKEN)
def test_broken_models_are_told(pattern: str, tmp_path: Path) -> None:
    write_colmap(tmp_path, ".bin")
    folder = write_model(tmp_path / "sparse/0", ".bin", replace(tiny_model(), points=POINTS))
    BROKEN[pattern](folder)
    assert re.search(pattern, complaint(tmp_path))


def test_a_pose_that_is_none(tmp_path: Path) -> None:
    write_colmap(tmp_path, ".txt")
    path = tmp_path / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    words = lines[1].split()
    lines[1] = " ".join([words[0], "0", "0", "0", "0", *words[5:]])
    path.write_text("\n".join(lines) + "\n")
    assert re.search(r"image 1 \(0000\.png\) .*has the pose", complaint(tmp_path))


@pytest.mark.parametrize("kind", [".bin", ".txt"])
def test_a_model_that_pycolmap_wrote(kind: str, real_data: Path, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    oracle = pycolmap.Reconstruction(real_data / "can/sparse/0")
    # Rigs and frames come with it, which must do no harm.
    (oracle.write_binary if kind == ".bin" else oracle.write_text)(tmp_path)
    assert (tmp_path / f"frames{kind}").is_file()
    compare(reader.read_model(tmp_path), oracle)


def test_the_can_as_pycolmap_reads_it(real_data: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    folder = real_data / "can"
    compare(reader.read_model(folder / "sparse/0"), pycolmap.Reconstruction(folder / "sparse/0"))
    capture = open_capture(CaptureSettings(path=str(folder)), progress=False, images=False)
    assert (capture.format, len(capture.train), len(capture.test)) == ("colmap", 62, 9)
    assert capture.warnings == () and len(capture.points) == 4414


def compare(model: reader.Model, oracle: object) -> None:
    """Every pose, camera, point and observation is pycolmap's."""
    assert len(model.images) == oracle.num_images() and len(model.cameras) == oracle.num_cameras()
    by_name = {image.name: image for image in oracle.images.values()}
    for image in model.images:
        other = by_name[image.name]
        pose = other.cam_from_world().inverse().matrix()
        assert np.allclose(reader.world_from_camera(image), pose, atol=1e-9)
        camera = oracle.cameras[image.camera]
        assert model.cameras[image.camera].model == camera.model.name
        assert np.allclose(model.cameras[image.camera].parameters, camera.params, rtol=1e-12)
        pixels = np.array([point.xy for point in other.points2D])
        assert np.allclose(image.pixels, pixels.reshape(-1, 2))
    points = model.points
    assert sorted(points.numbers) == sorted(oracle.points3D)
    for number, position, color in zip(
        points.numbers, points.positions, points.colors, strict=True
    ):
        assert np.allclose(position, oracle.points3D[number].xyz)
        assert np.array_equal(color, oracle.points3D[number].color)
