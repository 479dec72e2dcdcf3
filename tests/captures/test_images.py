"""Image files of every kind come out as the same 8-bit pixels; scaling averages areas."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from neural_render.captures.loading.images import (
    fitting_size,
    read_header,
    read_image,
    read_mask,
    upright,
)
from neural_render.core.errors import CaptureError
from tests.captures.formats import HEIGHT, WIDTH, noise_image, save_image

SIZE = (WIDTH, HEIGHT)


def load(path: Path, size: tuple[int, int] = SIZE, channels: int = 3) -> np.ndarray:
    header = read_header(path, "frame 0")
    return read_image(path, header, size, channels=channels, rotated=False, where="frame 0")


@pytest.mark.parametrize("ending", [".png", ".webp", ".bmp", ".tiff", ".ppm"])
def test_lossless_kinds_are_exact(ending: str, tmp_path: Path) -> None:
    options = {"lossless": True} if ending == ".webp" else {}
    path = save_image(tmp_path / f"x{ending}", noise_image(0), **options)
    assert np.array_equal(load(path), noise_image(0))


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_as_stored_or_upright(orientation: int, ending: str, tmp_path: Path) -> None:
    """Also where Pillow turns them by itself, as it does with TIFF."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save_image(tmp_path / f"x{ending}", noise_image(0), exif=exif)
    header = read_header(path, "")
    assert header.size == SIZE and header.orientation == orientation
    assert np.array_equal(load(path), noise_image(0))
    turned = upright(Image.fromarray(noise_image(0)), orientation)
    assert header.oriented_size == turned.size
    given = {"channels": 3, "rotated": True, "where": ""}
    assert np.array_equal(read_image(path, header, turned.size, **given), turned)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(1, b"\x06"), (2, b"top\0"), (7, b"\x06"), (11, struct.pack("<f", math.inf)), (3, b"\x09\0")],
)
def test_an_odd_orientation_is_none(kind: int, value: bytes, tmp_path: Path) -> None:
    """Of other types than EXIF's: bytes, text, undefined, a float; and of a number beyond 8."""
    count = {11: 1, 3: 1}.get(kind, len(value))
    entry = struct.pack("<HHI", 0x0112, kind, count) + value.ljust(4, b"\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    path = save_image(tmp_path / "x.jpg", noise_image(0), exif=exif)
    assert read_header(path, "frame 0").orientation == 1
    assert load(path).shape == (HEIGHT, WIDTH, 3)


def test_what_would_be_run_is_no_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 12\n%%EndComments\n")
    with pytest.raises(CaptureError, match="is no image of a known kind"):
        read_header(path, "frame 0")


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    """Pillow would make them black."""
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(CaptureError, match="has floating-point pixels: save it with 8 or 16 bits"):
        read_header(tmp_path / "x.tif", "frame 0")


@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_alpha_is_straight(ending: str, tmp_path: Path) -> None:
    options = {"lossless": True, "exact": True} if ending == ".webp" else {}
    path = save_image(tmp_path / f"x{ending}", noise_image(0, 4), **options)
    assert read_header(path, "").has_alpha
    assert np.array_equal(load(path, channels=4), noise_image(0, 4))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_files_are_rounded_to_8(channels: int, tmp_path: Path) -> None:
    import OpenImageIO as oiio

    deep = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    path = tmp_path / "deep.png"
    layout = oiio.ImageSpec(WIDTH, HEIGHT, channels, "uint16")
    layout["oiio:UnassociatedAlpha"] = 1
    layout.alpha_channel = channels - 1 if channels in (2, 4) else -1
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), layout) and output.write_image(deep) and output.close()
    header = read_header(path, "")
    assert header.deep and header.size == SIZE
    wanted = np.round(deep / 257.0).astype(np.uint8)
    color = wanted[..., : channels - (channels % 2 == 0)]
    found = load(path, channels=4)
    assert np.array_equal(found[..., :3], np.broadcast_to(color, (HEIGHT, WIDTH, 3)))
    assert np.array_equal(found[..., 3], wanted[..., 3] if channels == 4 else found[..., 3])
    if channels == 2:
        assert np.array_equal(found[..., 3], wanted[..., 1])


@pytest.mark.parametrize("associated", [True, False])
def test_alpha_of_16_bit_tiffs_is_straight(associated: bool, tmp_path: Path) -> None:
    """Files may hold colours that are multiplied by it, and say so."""
    import OpenImageIO as oiio

    straight = np.random.default_rng(0).uniform(size=(HEIGHT, WIDTH, 4))
    straight[..., -1:] = straight[..., -1:] * 0.9 + 0.1
    straight[0, 0] = 0
    held = straight.copy()
    held[..., :-1] *= held[..., -1:] if associated else 1
    layout, path = oiio.ImageSpec(WIDTH, HEIGHT, 4, "uint16"), tmp_path / "deep.tif"
    layout.alpha_channel = 3
    layout["oiio:UnassociatedAlpha"] = 0 if associated else 1
    output = oiio.ImageOutput.create(str(path))
    deep = np.round(held * 65535).astype(np.uint16)
    assert output.open(str(path), layout) and output.write_image(deep) and output.close()
    header = read_header(path, "")
    assert header.deep and header.has_alpha
    found, wanted = load(path, channels=4), np.round(straight * 255)
    assert np.abs(found[..., 3] - wanted[..., -1]).max() <= 1
    assert np.abs(found[..., :3] - wanted[..., :-1]).max() <= 1


def test_grey_palette_and_cmyk_become_colour(tmp_path: Path) -> None:
    grey = noise_image(0)[..., 0]
    assert np.array_equal(load(save_image(tmp_path / "g.png", grey)), np.stack([grey] * 3, -1))
    palette = Image.fromarray(noise_image(0)).quantize(16)
    palette.save(tmp_path / "p.png", transparency=3)
    found = load(tmp_path / "p.png", channels=4)
    assert np.array_equal(found[..., 3] == 0, np.asarray(palette) == 3)
    Image.new("CMYK", SIZE, (255, 0, 0, 0)).save(tmp_path / "c.jpg")
    assert load(tmp_path / "c.jpg")[0, 0, 0] < 40  # full cyan is no red


def test_scaling_by_a_whole_factor_averages(tmp_path: Path) -> None:
    path = save_image(tmp_path / "x.png", noise_image(0, scale=1))
    found = load(path, (WIDTH // 4, HEIGHT // 4))
    wanted = noise_image(0).reshape(HEIGHT // 4, 4, WIDTH // 4, 4, 3).mean(axis=(1, 3))
    largest = np.abs(found - wanted).max()
    assert largest <= 0.5


def test_scaling_weighs_colour_by_opacity(tmp_path: Path) -> None:
    image = np.zeros((2, 2, 4), np.uint8)
    image[0] = (200, 100, 50, 255)
    image[1] = (0, 255, 0, 0)  # what cannot be seen must not tint what can
    found = load(save_image(tmp_path / "x.png", image), (1, 1), channels=4)
    assert np.abs(found[0, 0].astype(int) - (200, 100, 50, 128)).max() <= 1


def test_scaling_by_other_factors_keeps_places(tmp_path: Path) -> None:
    # A ramp stays a ramp with its middle in the middle: no shift by part of a pixel.
    ramp = np.linspace(0, 250, 100).astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (100, 100, 3)).copy()
    found = load(save_image(tmp_path / "x.png", image), (37, 37)).astype(float)
    wanted = np.interp((np.arange(37) + 0.5) / 37 * 100 - 0.5, np.arange(100), ramp)
    assert np.abs(found[18, 2:-2, 0] - wanted[2:-2]).max() < 1.5


def test_large_jpegs_are_decoded_coarsely_and_alike(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = Image.fromarray(numbers).resize((1600, 1200), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "x.jpg", quality=98)
    smooth.save(tmp_path / "x.png")
    coarse, exact = load(tmp_path / "x.jpg", (200, 150)), load(tmp_path / "x.png", (200, 150))
    assert np.abs(coarse.astype(int) - exact).mean() < 1.5


def test_a_mask_counts_only_whole_pixels(tmp_path: Path) -> None:
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[0, 0] = 0
    path = save_image(tmp_path / "mask.png", mask)
    found = read_mask(path, (WIDTH // 2, HEIGHT // 2), rotated=False, where="")
    wanted = np.full((HEIGHT // 2, WIDTH // 2), 255)
    wanted[0, 0] = 0
    assert np.array_equal(found, wanted)
    assert np.array_equal(read_mask(path, SIZE, rotated=False, where=""), mask)


def test_a_mask_in_jpeg_is_black_wherever_a_part_is(tmp_path: Path) -> None:
    """However far above the photo's size it is: averaging would leave what is half black grey."""
    mask = np.full((HEIGHT * 16, WIDTH * 16), 255, np.uint8)
    mask[:, 60:] = 0  # three quarters of a pixel are white
    path = save_image(tmp_path / "mask.jpg", mask, quality=95)
    found = read_mask(path, SIZE, rotated=False, where="")
    assert (found[:, :3] == 255).all() and (found[:, 3:] == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_masks_of_any_kind(mode: str, tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3:] = 255
    Image.fromarray(mask).convert(mode).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", SIZE, rotated=False, where=""), mask)


@pytest.mark.parametrize(
    ("size", "max_side", "wanted"),
    [
        ((1080, 1920), 960, (540, 960)),
        ((1080, 1920), 0, (1080, 1920)),
        ((1080, 1920), 2000, (1080, 1920)),
        ((6000, 4000), 1000, (1000, 667)),
        ((5000, 3), 100, (100, 1)),
    ],
)
def test_fitting_sizes(size: tuple[int, int], max_side: int, wanted: tuple[int, int]) -> None:
    assert fitting_size(size, max_side) == wanted
