"""Photos of hundreds of megapixels, which Pillow takes for an attack, and those of gigapixels."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neural_render.captures.motion.photos import decodable, find_photos, read_devices
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from tests.captures.formats import HEIGHT, NAMES, WIDTH, noise_image, write_transforms

LIMIT = WIDTH * HEIGHT // 3  # Pillow refuses what has more than twice as many pixels


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow takes small photos for an attack."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LIMIT)


@pytest.mark.usefixtures("small_limit")
def test_they_are_read(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    capture = open_capture(CaptureSettings(path=str(folder), test_every=0), progress=False)
    assert np.array_equal(capture.train.image(2).numpy(), noise_image(2))
    assert Image.MAX_IMAGE_PIXELS == LIMIT


@pytest.mark.usefixtures("small_limit")
def test_their_devices_are_known_and_they_are_converted_for_colmap(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Apple"
    exif.get_ifd(0x8769)[0xA405] = 26  # the focal length as of 35 mm film
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.webp", exif=exif)
    photos = find_photos(tmp_path)
    assert read_devices(photos)["a.webp"].known_focal
    place = decodable(photos, tmp_path / "work")
    assert (place / "a.webp").read_bytes().startswith(b"\xff\xd8")  # JPEG


def test_one_of_gigapixels_is_refused(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    content = bytearray((folder / NAMES[2]).read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (folder / NAMES[2]).write_bytes(content)
    with pytest.raises(CaptureError, match=r"of frame 2 .* has more than 1073 megapixels"):
        open_capture(CaptureSettings(path=str(folder)), progress=False)
