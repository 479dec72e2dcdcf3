"""Photos of a phone that was held upright: stored on their side, with an EXIF orientation."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from neural_render.captures.loading.images import read_mask, upright
from neural_render.captures.motion.photos import decodable, find_photos, read_devices
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.flight.paths import up_of
from tests.captures.motion.test_motion import POSES
from tests.captures.motion.textured_room import HEIGHT, WIDTH, photo

SIDEWAYS, TURNS = 0x0112, {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def write_sideways(folder: Path, count: int, orientation: int = 6, ending: str = ".jpg") -> Path:
    """Photos of the walk that viewers show upright."""
    (folder / "images").mkdir()
    exif = Image.Exif()
    exif[SIDEWAYS] = orientation
    for index, pose in enumerate(POSES[:count]):
        stored = Image.fromarray(photo(pose)).transpose(TURNS[orientation])
        stored.save(folder / "images" / f"{index:03}{ending}", quality=95, exif=exif)
    return folder


@pytest.mark.parametrize("ending", [".jpg", ".tiff"])
@pytest.mark.parametrize("orientation", TURNS)
def test_colmap_gets_them_upright(tmp_path: Path, orientation: int, ending: str) -> None:
    photos = find_photos(write_sideways(tmp_path, 2, orientation, ending))
    place = decodable(photos, tmp_path / "work")
    for index, name in enumerate(photos.names):
        with Image.open(place / name) as image:
            seen, original = image.convert("RGB"), Image.fromarray(photo(POSES[index]))
            assert seen.size == original.size == (WIDTH, HEIGHT)
            assert not image.getexif().get(SIDEWAYS)
        small = [np.asarray(image.resize((8, 6)), np.float32) for image in (seen, original)]
        assert np.abs(small[0] - small[1]).max() < 12
    assert {device.size for device in read_devices(photos).values()} == {(WIDTH, HEIGHT)}


def test_their_cameras_stand_upright(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="structure from motion needs pycolmap")
    folder = write_sideways(tmp_path, len(POSES))
    settings = CaptureSettings(path=str(folder), test_every=0, check="off")
    capture = open_capture(settings, progress=False)
    assert len(capture.train) == len(POSES) and capture.warnings == ()
    assert capture.train.image(0).shape[:2] == (HEIGHT, WIDTH)
    cameras = capture.train.cameras
    assert bool((cameras.width == WIDTH).all())
    # What is up in the pictures is up among the cameras: the walk was level.
    own_up = -torch.nn.functional.normalize(cameras.world_from_camera[..., 1], dim=-1)
    assert float((own_up @ up_of(cameras).float()).min()) > 0.8


@pytest.mark.parametrize("stored", [False, True])
def test_masks_lie_as_photos_do_or_stand(tmp_path: Path, stored: bool) -> None:
    """As programs that know no EXIF leave them, and as viewers show them."""
    upper = np.zeros((HEIGHT, WIDTH), np.uint8)
    upper[: HEIGHT // 2] = 255
    mask = Image.fromarray(upper)
    (mask.transpose(TURNS[6]) if stored else mask).save(tmp_path / "mask.png")
    found = read_mask(
        tmp_path / "mask.png", (WIDTH, HEIGHT), rotated=True, where="a photo", orientation=6
    )
    assert np.array_equal(found, upper)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_are_those_of_exif(orientation: int) -> None:
    pixels = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    exif = Image.Exif()
    exif[SIDEWAYS] = orientation
    file = io.BytesIO()
    pixels.save(file, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(file))
    assert np.array_equal(upright(pixels, orientation), expected)
