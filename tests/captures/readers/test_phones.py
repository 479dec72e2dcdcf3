"""Captures of Polycam and Record3D: what is told where files do not fit each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from neural_render.captures.readers.phones import polycam, record3d
from neural_render.core.errors import CaptureError
from tests.captures.formats import noise_image, save_image, write_polycam, write_record3d


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_polycam_tells_what_is_uncorrected_or_without_pose(tmp_path: Path) -> None:
    folder = write_polycam(tmp_path, "")
    save_image(folder / "keyframes/images/7.png", noise_image(0))
    unposed, tracked = polycam.read(folder).warnings
    assert "1 photos in" in unposed and unposed.endswith("7.png")
    assert "has no corrected_cameras" in tracked


def test_polycam_names_what_a_file_lacks(tmp_path: Path) -> None:
    folder = write_polycam(tmp_path)
    change(folder / "keyframes/corrected_cameras/0001.json", t_12=None)
    with pytest.raises(CaptureError, match=r"0001\.json has no t_12: complete the file"):
        polycam.read(folder)


def test_record3d_takes_the_lens_of_each_photo(tmp_path: Path) -> None:
    folder = write_record3d(tmp_path)
    change(folder / "metadata.json", perFrameIntrinsicCoeffs=[[20 + i, 30, 7, 5] for i in range(5)])
    assert record3d.read(folder).train[3].calibration.focal_px == (23.0, 30.0)


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ({"poses": [[0, 0, 0, 1, 0, 0, 0]]}, r"0001\.png is number 1, but .* has 1 poses"),
        ({"poses": [[0, 0, 0, 1]]}, r"a row of poses in .* is no list of 7 numbers"),
        ({"poses": [[0, 0, 0, 0, 1, 2, 3]]}, r"pose 0000 of .* quaternion of length 0"),
        ({"K": [20, 0, 8, 0, 20, 6, 0, 0, 1]}, r"K in .* is no camera matrix column by column"),
        ({"perFrameIntrinsicCoeffs": [[1, 1, 1, 1]]}, r"5 poses but 1 perFrameIntrinsicCoeffs"),
    ],
)
def test_record3d_tells_broken_metadata(
    values: dict[str, Any], pattern: str, tmp_path: Path
) -> None:
    change(write_record3d(tmp_path) / "metadata.json", **values)
    with pytest.raises(CaptureError, match=pattern):
        record3d.read(tmp_path)
