"""What an EXR's header says of its camera."""

from dataclasses import replace
from pathlib import Path

import OpenImageIO as oiio
import pytest
import torch

from neural_render.core.cameras import Lens, project
from neural_render.export.images import write_exr
from neural_render.export.layers import camera_attributes
from tests.rendering.test_images import camera


def matrices(path: Path) -> dict[str, torch.Tensor]:
    """The matrices of a file that OpenImageIO finds, for row vectors."""
    source = oiio.ImageInput.open(str(path))
    attributes = source.spec().extra_attribs
    return {
        entry.name: torch.tensor(entry.value).view(4, 4)
        for entry in attributes
        if str(entry.type) == "matrix"
    }


def test_the_header_leads_from_the_world_to_the_camera_and_to_the_picture(tmp_path: Path) -> None:
    cameras = camera(31, 21)
    plane = {"R": torch.zeros(21, 31)}
    write_exr(tmp_path / "a.exr", plane, attributes=camera_attributes(cameras, 0))
    found = matrices(tmp_path / "a.exr")
    assert set(found) == {"worldToCamera", "worldToNDC"}
    points = torch.tensor([[0.5, 0.5, 0.5], [0.2, 0.8, 0.6], [1.0, 0.3, 0.4]])
    rows = torch.cat([points, torch.ones(3, 1)], dim=1)
    pixels, depths = project(cameras, torch.zeros(3, dtype=torch.long), points)
    local = rows @ found["worldToCamera"]
    torch.testing.assert_close(local[:, 2], depths)
    # Right is right, and up is up: what lies lower in the picture has a smaller y.
    torch.testing.assert_close(40 * local[:, 0] / local[:, 2] + 15.5, pixels[:, 0])
    torch.testing.assert_close(-40 * local[:, 1] / local[:, 2] + 10.5, pixels[:, 1])
    image = rows @ found["worldToNDC"]
    torch.testing.assert_close(
        image[:, :2] / image[:, 3:] * torch.tensor([31.0, 21.0]), pixels, atol=1e-4, rtol=0
    )


def test_what_no_matrix_can_say_is_left_out() -> None:
    for wide in (
        replace(camera(8, 8), lens=torch.tensor([int(Lens.FISHEYE)])),
        replace(camera(8, 8), distortion=torch.full((1, 6), 0.1)),
    ):
        assert set(camera_attributes(wide, 0)) == {"worldToCamera"}


def test_the_header_says_how_colours_are_meant(tmp_path: Path) -> None:
    rate = ("rational", (24000, 1001))
    plane = {name: torch.zeros(4, 4) for name in "RGBA"}
    write_exr(tmp_path / "a.exr", plane, attributes={"FramesPerSecond": rate, "Software": "us"})
    spec = oiio.ImageInput.open(str(tmp_path / "a.exr")).spec()
    assert spec.getattribute("compression") == "zip"
    assert spec.getattribute("chromaticities")[:2] == (pytest.approx(0.64), pytest.approx(0.33))
    assert "lin_rec709" in spec.getattribute("oiio:ColorSpace")
    content = (tmp_path / "a.exr").read_bytes()
    assert b"framesPerSecond" in content or b"FramesPerSecond" in content
