"""Photos whose numbers mean other colours than sRGB's: what their ICC profiles say is done."""

import struct
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
import torch
from PIL import Image, ImageCms

from neural_render.captures.loading.cache import VERSION
from neural_render.captures.loading.images import read_header, read_image, read_mask
from neural_render.core.color import linear_from_srgb, srgb_from_linear
from tests.captures.formats import HEIGHT, WIDTH, noise_image, save_image

# Rows: red, green and blue of each space in CIE XYZ relative to D50, as profiles state them.
SRGB = np.array([[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7142]])
P3 = np.array([[0.5151, 0.2412, -0.0011], [0.2920, 0.6922, 0.0419], [0.1571, 0.0666, 0.7841]])


def icc_profile(primaries: np.ndarray, gamma: float = 0.0, space: bytes = b"RGB ") -> bytes:
    """A profile (ICC.1:2001-04) of these primaries and of sRGB's curve, or of a power."""
    levels = np.linspace(0, 1, 1024)
    values = levels**gamma if gamma else linear_of(levels)
    curve = np.round(values * 65535).astype(">u2").tobytes()
    text = b"ours\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + text,
        b"wtpt": _xyz(np.array([0.9642, 1.0, 0.8249])),
    }
    for letter, row in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[letter + b"XYZ"] = _xyz(row)
        tags[letter + b"TRC"] = b"curv" + bytes(4) + struct.pack(">I", 1024) + curve
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s", start + len(body), bytes(4), 0x02100000, b"mntr", space, b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + _xyz(np.array([0.9642, 1.0, 0.8249]))[8:]
    return header.ljust(128, b"\0") + table + body


def _xyz(value: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + np.round(value * 65536).astype(">i4").tobytes()


def linear_of(values: np.ndarray) -> np.ndarray:
    return linear_from_srgb(torch.from_numpy(values)).numpy()


def from_p3(image: np.ndarray) -> np.ndarray:
    """8-bit sRGB of 8-bit Display P3, by the matrices."""
    light = linear_of(image[..., :3] / 255.0) @ P3 @ np.linalg.inv(SRGB)
    color = srgb_from_linear(torch.from_numpy(light.clip(0, 1))).numpy() * 255
    return np.concatenate([color.round(), image[..., 3:]], axis=-1)


def load(path: Path, channels: int = 3) -> np.ndarray:
    header = read_header(path, "frame 0")
    size = (WIDTH, HEIGHT)
    return read_image(path, header, size, channels=channels, rotated=False, where="frame 0")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
def test_wide_gamuts_become_srgb(ending: str, channels: int, tmp_path: Path) -> None:
    options = {"lossless": True, "exact": True} if ending == ".webp" else {}
    image = noise_image(0, channels)
    path = save_image(tmp_path / f"x{ending}", image, icc_profile=icc_profile(P3), **options)
    found, wanted = load(path, channels).astype(int), from_p3(image)
    assert np.abs(found - wanted).max() <= 2 and np.abs(found - image).max() > 20
    assert np.array_equal(found[..., 3:], image[..., 3:])


def test_photos_of_16_bits_too(tmp_path: Path) -> None:
    deep, path = noise_image(0).astype(np.uint16) * 257, tmp_path / "deep.png"
    layout = oiio.ImageSpec(WIDTH, HEIGHT, 3, "uint16")
    layout.attribute(
        "ICCProfile",
        oiio.TypeDesc(f"uint8[{len(icc_profile(P3))}]"),
        np.frombuffer(icc_profile(P3), np.uint8),
    )
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), layout) and output.write_image(deep) and output.close()
    assert read_header(path, "").deep
    assert np.abs(load(path).astype(int) - from_p3(noise_image(0))).max() <= 2


def own_srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    "profile",
    [
        own_srgb(),
        icc_profile(SRGB),
        b"",
        b"broken",
        icc_profile(P3)[:300],
        icc_profile(P3, space=b"GRAY"),
        icc_profile(P3, space=b"CMYK"),
    ],
    ids=["srgb", "srgb of others", "none", "broken", "cut off", "of grey", "of inks"],
)
def test_srgb_and_what_says_nothing_are_as_they_are(profile: bytes, tmp_path: Path) -> None:
    path = save_image(tmp_path / "x.png", noise_image(0), icc_profile=profile)
    assert np.array_equal(load(path), noise_image(0))


def test_a_gamma_of_its_own_counts(tmp_path: Path) -> None:
    path = save_image(tmp_path / "x.png", noise_image(0), icc_profile=icc_profile(SRGB, gamma=1.8))
    assert load(path).mean() > noise_image(0).mean() + 10


def test_grey_photos_and_masks_are_left_alone(tmp_path: Path) -> None:
    grey = noise_image(0)[..., 0]
    path = save_image(tmp_path / "x.png", grey, icc_profile=icc_profile(P3, gamma=1.8))
    assert np.array_equal(load(path)[..., 1], grey)
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[3:] = (1, 0, 0)
    path = save_image(tmp_path / "mask.png", mask, icc_profile=icc_profile(P3))
    found = read_mask(path, (WIDTH, HEIGHT), rotated=False, where="")
    plain = read_mask(
        save_image(tmp_path / "plain.png", mask), (WIDTH, HEIGHT), rotated=False, where=""
    )
    assert np.array_equal(found, plain)


def test_what_was_decoded_by_earlier_versions_is_not_used() -> None:
    assert VERSION >= 2


def test_palettes_have_profiles_too(tmp_path: Path) -> None:
    palette = Image.fromarray(noise_image(0)).quantize(16)
    palette.save(tmp_path / "x.png", icc_profile=icc_profile(P3))
    wanted = from_p3(np.asarray(palette.convert("RGB")))
    assert np.abs(load(tmp_path / "x.png").astype(int) - wanted).max() <= 2
