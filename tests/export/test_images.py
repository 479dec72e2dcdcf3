"""Picture files come back as they were written, and colours are converted where it is said."""

import struct
import zlib
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import PIL.Image
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.color import film_from_linear, linear_from_srgb
from neural_render.core.errors import OutputError, SettingError
from neural_render.export import images
from tests.small_disk import FULL, small_disk


def random(*shape: int) -> Float[Tensor, "..."]:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def read(path: Path, kind: str) -> np.ndarray:
    """All channels by OpenImageIO, a reader that had no part in writing PNG."""
    source = oiio.ImageInput.open(str(path))
    assert source is not None, oiio.geterror()
    pixels = source.read_image(kind)
    source.close()
    return pixels.reshape(source.spec().height, source.spec().width, -1)


class TestPng:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("bits", [8, 16])
    def test_levels_come_back_exactly(self, tmp_path: Path, channels: int, bits: int) -> None:
        path = tmp_path / "a.png"
        top = 2**bits - 1
        # An opaque picture: OpenImageIO multiplies by alpha when it reads.
        levels = (random(33, 21, channels) * top).round()
        if channels == 4:
            levels[..., 3] = top
        images.write_png(path, levels / top, bits=bits)
        found = read(path, f"uint{bits}")
        assert np.array_equal(found, levels.numpy().astype(found.dtype))

    def test_pillow_reads_the_same(self, tmp_path: Path) -> None:
        levels = (random(7, 5, 4) * 255).round()
        images.write_png(tmp_path / "a.png", levels / 255)
        picture = PIL.Image.open(tmp_path / "a.png")
        assert picture.mode == "RGBA" and "srgb" in picture.info
        assert np.array_equal(np.asarray(picture), levels.numpy().astype(np.uint8))

    def test_large_ones_are_read_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of frames of up to 16384x16384; Pillow takes them for an attack, here that of 35."""
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
        levels = (random(7, 5, 3) * 255).round()
        images.write_png(tmp_path / "a.png", levels / 255)
        assert torch.equal(images.read_levels(tmp_path / "a.png", 8), levels.byte())
        damaged = bytearray((tmp_path / "a.png").read_bytes())
        damaged[16:24] = struct.pack(">II", 60_000, 60_000)
        damaged[29:33] = struct.pack(">I", zlib.crc32(damaged[12:29]))
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(OutputError, match="cannot be read back: delete it"):
            images.read_levels(tmp_path / "a.png", 8)

    def test_values_are_clamped_and_rounded(self, tmp_path: Path) -> None:
        values = torch.tensor([[-1.0, 0.4999 / 65535, 0.5001 / 65535, 2.0, float("nan")]])
        images.write_png(tmp_path / "a.png", values[..., None], bits=16)
        assert read(tmp_path / "a.png", "uint16").flatten().tolist() == [0, 0, 1, 65535, 0]

    @pytest.mark.parametrize("bits", [8, 16])
    def test_a_full_disk_is_one_sentence(self, tmp_path: Path, bits: int) -> None:
        with pytest.raises(OutputError, match=FULL), small_disk():
            images.write_png(tmp_path / "a.png", random(64, 64, 3), bits=bits)
        assert list(tmp_path.iterdir()) == []


class TestExr:
    def test_floats_come_back_bit_for_bit_by_name(self, tmp_path: Path) -> None:
        path = tmp_path / "a.exr"
        layers = {name: random(9, 13) * scale for name, scale in
                  (("R", 1.0), ("G", 300.0), ("B", -1e-7), ("A", 1.0), ("Z", 1e10))}  # fmt: skip
        images.write_exr(path, layers, attributes={"note": "from a test"})
        source = oiio.ImageInput.open(str(path))
        assert str(source.spec().format) == "float"
        assert source.spec().getattribute("note") == "from a test"
        pixels = source.read_image("float")
        assert set(source.spec().channelnames) == set(layers)
        for index, name in enumerate(source.spec().channelnames):
            assert np.array_equal(pixels[..., index], layers[name].numpy()), name

    def test_a_full_disk_is_one_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=FULL), small_disk():
            images.write_exr(tmp_path / "a.exr", {"R": random(64, 64)})
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("half", [(), ("R", "G")])
    @pytest.mark.parametrize("lacking", [1, 500, 3000])
    def test_the_last_bytes_are_not_lost_silently(
        self, tmp_path: Path, half: tuple[str, ...], lacking: int
    ) -> None:
        """The library's own buffer is flushed when it no longer looks."""
        path, layers = tmp_path / "a.exr", {name: random(64, 24) for name in "RGB"}
        images.write_exr(path, layers, half=half)
        size = path.stat().st_size
        path.unlink()
        with pytest.raises(OutputError, match=FULL), small_disk(size - lacking):
            images.write_exr(path, layers, half=half)
        assert list(tmp_path.iterdir()) == []

    def test_halves_are_halves_and_the_rest_is_exact(self, tmp_path: Path) -> None:
        path = tmp_path / "a.exr"
        layers = {name: random(9, 13) for name in ("R", "key.R", "Z")}
        layers["R"][0, 0] = 1e9
        images.write_exr(path, layers, half={"R", "key.R"})
        source = oiio.ImageInput.open(str(path))
        kinds = map(str, source.spec().channelformats)
        assert dict(zip(source.spec().channelnames, kinds, strict=True)) == {
            "R": "half", "key.R": "half", "Z": "float",
        }  # fmt: skip
        found = dict(zip(source.spec().channelnames,
                         np.moveaxis(source.read_image("float"), -1, 0), strict=True))  # fmt: skip
        assert np.array_equal(found["Z"], layers["Z"].numpy())
        np.testing.assert_allclose(found["key.R"], layers["key.R"].numpy(), rtol=2**-11, atol=1e-7)
        assert found["R"][0, 0] == images.LARGEST_HALF, "no infinity"

    def test_without_openimageio_it_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "OpenImageIO", None)
        with pytest.raises(OutputError, match=r"a\.exr cannot be written without OpenImageIO; run"):
            images.write_exr(tmp_path / "a.exr", {"R": random(4, 4)})


class TestColour:
    def test_display_colour_is_converted_once(self) -> None:
        color = random(4, 3)
        assert torch.equal(images.display_color(color, "srgb"), color)
        assert torch.equal(images.display_color(color, "linear"), film_from_linear(color))

    def test_an_unknown_colour_space_is_refused(self) -> None:
        with pytest.raises(SettingError, match="'rgb' is not known; give srgb or linear"):
            images.display_color(random(4, 3), "rgb")

    @pytest.mark.parametrize("colour_space", ["srgb", "linear"])
    @pytest.mark.parametrize("background", [(0.0, 0.0, 0.0), (1.0, 0.5, 0.25)])
    def test_associated_colour_knows_no_background(
        self, colour_space: str, background: tuple[float, float, float]
    ) -> None:
        surface, opacity = random(50, 3), random(50) * 0.9 + 0.1
        covered = opacity[:, None]
        render = surface * covered + torch.tensor(background) * (1 - covered)
        found = images.associated_linear(
            render, opacity, background=background, colour_space=colour_space
        )
        linear = linear_from_srgb(surface) if colour_space == "srgb" else surface
        torch.testing.assert_close(found, linear * covered, atol=2e-6, rtol=1e-4)

    def test_associated_colour_of_nothing_is_nothing(self) -> None:
        white = torch.ones(2, 3)
        found = images.associated_linear(
            white, torch.zeros(2), background=(1.0, 1.0, 1.0), colour_space="srgb"
        )
        assert torch.equal(found, torch.zeros(2, 3))


class TestDepth:
    def test_the_picture_ends_at_its_limits_and_is_grey_where_nothing_is(self) -> None:
        depth, opacity = torch.tensor([2.0, 5.0, 9.0, 3.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
        picture = images.depth_picture(depth, opacity, (2.0, 5.0))
        assert torch.equal(picture[1], picture[2]), "clamped at the far limit"
        assert picture[0, 2] > picture[0, 1] and picture[1, 1] > picture[1, 2], "violet, yellow"
        assert torch.equal(picture[3], torch.full((3,), 0.5))

    def test_a_flat_wall_has_a_colour(self) -> None:
        depth = torch.full((4,), 3.0)
        limits = images.depth_limits(depth, torch.ones(4))
        assert limits is not None and limits[0] < 3.0 < limits[1]
        assert images.depth_picture(depth, torch.ones(4), limits).isfinite().all()
        assert images.depth_picture(depth, torch.ones(4), (3.0, 3.0)).isfinite().all()

    def test_limits_come_from_what_is_seen(self) -> None:
        depth = torch.cat([torch.linspace(2, 4, 1001), torch.tensor([500.0] * 50)])
        opacity = torch.cat([torch.ones(1001), torch.zeros(50)])
        near, far = images.depth_limits(depth, opacity) or (0.0, 0.0)
        assert near == pytest.approx(2.02 - 0.196, abs=1e-3)
        assert far == pytest.approx(3.98 + 0.196, abs=1e-3)
        assert images.depth_limits(depth, torch.zeros_like(depth)) is None
