"""transforms.json as its other readers take it: lenses by nerfstudio's rule, flags, masks."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import image_rays
from neural_render.core.errors import OutputError
from tests.captures.formats import (
    FOCAL_PX,
    HEIGHT,
    INTRINSICS,
    NAMES,
    WIDTH,
    make_frames,
    write_transforms,
)
from tests.export.cameras.test_export import exported

_BENDING = ("k1", "k2", "k3", "k4", "p1", "p2")


def opened(folder: Path, *, images: bool = False) -> Capture:
    settings = CaptureSettings(path=str(folder), test_every=0)
    return open_capture(settings, progress=False, images=images)


def document(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "transforms.json").read_text(encoding="utf-8"))


def as_nerfstudio(meta: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The lens of each photo by nerfstudio's dataparser: what stands at the top holds for all."""
    bent = meta if any(key in meta for key in ("k1", "k2", "k3", "p1", "p2")) else {}
    return {
        frame["file_path"]: {
            **{
                key: float((meta if key in meta else frame)[key])
                for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")
            },
            **{key: float((bent or frame).get(key, 0.0)) for key in _BENDING},
        }
        for frame in meta["frames"]
    }


def with_lenses(folder: Path, *lenses: dict[str, object]) -> Path:
    """A capture whose first photos have these lenses."""
    frames = make_frames()
    for frame, lens in zip(frames, lenses, strict=False):
        frame |= lens
    return write_transforms(folder, frames)


def test_several_lenses_are_those_of_their_photos_to_nerfstudio(tmp_path: Path) -> None:
    lenses = ({"k1": 0.1, "p2": 0.01}, {"fl_x": 25.0, "cx": 7.0}, {"k4": 0.01})
    exported(
        opened(with_lenses(tmp_path / "capture", *lenses)), tmp_path / "cameras", file="transforms"
    )
    meta = document(tmp_path / "cameras")
    assert meta["camera_model"] == "OPENCV" and not {"fl_x", "w", "k1", "k4"} & set(meta)
    seen = as_nerfstudio(meta)
    plain = {"fl_x": FOCAL_PX, "fl_y": FOCAL_PX, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    plain |= {"w": WIDTH, "h": HEIGHT, **dict.fromkeys(_BENDING, 0.0)}
    wide = {"fl_x": 25.0, "fl_y": 25.0, "cx": 7.0}
    for name, own in zip(NAMES, (lenses[0], wide, lenses[2], {}, {}), strict=True):
        assert seen[name] == pytest.approx({**plain, **own}, abs=1e-6), name
    before, after = opened(tmp_path / "capture"), opened(tmp_path / "cameras")
    assert torch.equal(before.train.cameras.distortion, after.train.cameras.distortion)


def test_one_lens_stands_at_the_top(tmp_path: Path) -> None:
    exported(
        opened(write_transforms(tmp_path / "capture")), tmp_path / "cameras", file="transforms"
    )
    meta = document(tmp_path / "cameras")
    assert meta["fl_x"] == FOCAL_PX and set(meta["frames"][0]) == {"file_path", "transform_matrix"}


def test_lenses_of_several_kinds_are_colmaps_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    capture = with_lenses(tmp_path / "capture", {"camera_model": "OPENCV_FISHEYE"})
    said = r"transforms\.json has one camera model for all photos, .* fisheye .* perspective"
    with pytest.raises(OutputError, match=said + r".* export\.cameras\.file=colmap"):
        exported(opened(capture), tmp_path / "refused", file="transforms")
    written = exported(opened(capture), tmp_path / "cameras")
    assert [path.name for path in written] == ["cameras.bin", "images.bin", "points3D.bin"]
    assert "transforms.json has one camera model for all photos" in caplog.text
    assert len(set(opened(tmp_path / "cameras").train.cameras.lens.tolist())) == 2


@pytest.mark.parametrize(
    ("model", "flag"), [("OPENCV_FISHEYE", "is_fisheye"), ("EQUIRECTANGULAR", "latlong")]
)
def test_wide_lenses_are_those_of_nerfstudio_and_of_instant_ngp(
    model: str, flag: str, tmp_path: Path
) -> None:
    capture = write_transforms(tmp_path / "capture", camera_model=model, **INTRINSICS)
    exported(opened(capture), tmp_path / "cameras", file="transforms")
    meta = document(tmp_path / "cameras")
    assert (meta["camera_model"], meta[flag]) == (model, True)
    if model == "EQUIRECTANGULAR":
        # nerfstudio, cameras.py: (x - cx) / fl_x goes from -1 to 1 around the sphere, (y - cy) /
        # fl_y from -1/2 to 1/2 from pole to pole.
        assert (meta["fl_x"], meta["fl_y"]) == (WIDTH / 2, HEIGHT)
    before, after = opened(capture).train.cameras, opened(tmp_path / "cameras").train.cameras
    for a, b in zip(image_rays(before, 1).directions, image_rays(after, 1).directions, strict=True):
        assert math.isclose(float(a @ b), 1.0, abs_tol=1e-5)


def test_several_fisheyes_have_their_flag_in_every_frame(tmp_path: Path) -> None:
    """instant-ngp takes a frame with k1 and without the flag for a perspective one."""
    frames = make_frames()
    frames[0]["k1"] = 0.1
    capture = write_transforms(
        tmp_path / "capture", frames, camera_model="OPENCV_FISHEYE", **INTRINSICS
    )
    exported(opened(capture), tmp_path / "cameras", file="transforms")
    meta = document(tmp_path / "cameras")
    assert all(frame["is_fisheye"] is True for frame in meta["frames"])
