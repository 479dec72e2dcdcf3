"""LLFF captures: bounds, which format wins, broken files, and the fern."""

import re
from pathlib import Path

import numpy as np
import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.readers import llff
from neural_render.captures.readers.registry import recognise
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from tests.captures.formats import NAMES, noise_image, save_image, write_colmap, write_llff


def test_bounds_are_kept(tmp_path: Path) -> None:
    photos = llff.read(write_llff(tmp_path, "images")).train
    assert [photo.bounds for photo in photos] == [(1.0 + i, 9.0 + i) for i in range(len(NAMES))]


def test_colmap_outranks_it(tmp_path: Path) -> None:
    write_llff(write_colmap(tmp_path, ".bin"), "images")
    assert recognise(tmp_path).name == "colmap"


def test_photos_must_be_as_many_as_rows(tmp_path: Path) -> None:
    write_llff(tmp_path, "images_4", scale=4)
    save_image(tmp_path / "images" / "more.png", noise_image(0))
    assert len(llff.read(tmp_path).train) == len(NAMES)
    save_image(tmp_path / "images_4" / "more.png", noise_image(0))
    with pytest.raises(CaptureError, match=r"has 5 rows.*but images has 1, images_4 has 6: "):
        llff.read(tmp_path)


@pytest.mark.parametrize(
    ("rows", "pattern"),
    [
        (np.zeros((5, 15)), r"has the shape 5x15, but a row of 17"),
        (np.full((5, 17), np.nan), r"values that are no finite numbers"),
        (np.zeros((5, 17)), r"row 0 \(0000\.png\) of .*gives the image size as 0x0"),
        (np.ones((5, 17)), r"the pose of row 0 .*is degenerate"),
    ],
)
def test_broken_rows_are_told(rows: np.ndarray, pattern: str, tmp_path: Path) -> None:
    np.save(write_llff(tmp_path, "images") / "poses_bounds.npy", rows)
    with pytest.raises(CaptureError) as raised:
        llff.read(tmp_path)
    assert re.search(pattern, str(raised.value))


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s, 17), }"


@pytest.mark.parametrize("rows", [str(10**12), "-5", "5", "(5", "'a'"])
def test_headers_that_lie_are_told(rows: str, tmp_path: Path) -> None:
    """Also of more rows than any memory holds."""
    header = (HEADER % rows).encode().ljust(117) + b"\n"
    write_llff(tmp_path, "images").joinpath(llff.FILE).write_bytes(b"\x93NUMPY\1\0v\0" + header)
    with pytest.raises(CaptureError, match=r"poses_bounds\.npy is no readable array of numpy"):
        llff.read(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (write_llff(tmp_path, "images") / "poses_bounds.npy").write_bytes(b"no array")
    with pytest.raises(CaptureError, match=r"poses_bounds\.npy is no readable array"):
        llff.read(tmp_path)


def test_the_fern(real_data: Path) -> None:
    settings = CaptureSettings(path=str(real_data / "fern"))
    capture = open_capture(settings, progress=False, images=False)
    assert (capture.format, len(capture.train), len(capture.test)) == ("llff", 17, 3)
    cameras = capture.train.cameras
    assert (int(cameras.width[0]), int(cameras.height[0])) == (1008, 756)
    assert float(cameras.focal_px[0, 0]) == pytest.approx(3260.52633 / 4, abs=1e-3)
    # All look one way: along z, as the reconstruction has it that the poses were made from.
    assert float(cameras.world_from_camera[:, 2, 2].min()) > 0.95
