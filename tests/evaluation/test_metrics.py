"""Metrics against numbers that can be worked out by hand."""

import math

import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from neural_render.core.color import linear_from_srgb
from neural_render.core.errors import SettingError
from neural_render.evaluation import metrics


def flat(*srgb: int, size: tuple[int, int] = (16, 24)) -> UInt8[Tensor, "height width 3"]:
    """An image of one colour."""
    return torch.tensor(srgb, dtype=torch.uint8).expand(*size, 3).contiguous()


def noisy(seed: int, *size: int, spread: int = 256) -> UInt8[Tensor, "height width 3"]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, spread, (*size, 3), generator=generator).to(torch.uint8)


def everything(image: Tensor) -> Tensor:
    return torch.ones(image.shape[:2], dtype=torch.bool)


class TestOverBackground:
    def test_straight_alpha_composites_in_srgb(self) -> None:
        photo = torch.tensor([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]])
        seen = metrics.over_background(photo.to(torch.uint8), (1.0, 1.0, 1.0))
        # 51 is a fifth: 200 / 5 + 255 * 4 / 5 = 244.
        assert seen.tolist() == [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]

    def test_a_photo_without_alpha_stays(self) -> None:
        photo = noisy(0, 4, 5)
        assert torch.equal(metrics.over_background(photo, (0.0, 0.0, 0.0)), photo)


class TestPsnr:
    @pytest.mark.parametrize(("levels", "decibels"), [(1, 48.1308), (10, 28.1308), (255, 0.0)])
    def test_one_difference_everywhere(self, levels: int, decibels: float) -> None:
        photo = flat(0, 0, 0)
        assert metrics.psnr(photo + levels, photo, everything(photo)) == pytest.approx(
            decibels, abs=1e-4
        )

    def test_one_wrong_channel_of_one_pixel(self) -> None:
        photo, render = flat(7, 7, 7, size=(2, 5)), flat(7, 7, 7, size=(2, 5))
        render[1, 3, 2] = 10
        expected = 10 * math.log10(255**2 * 30 / 9)
        assert metrics.psnr(render, photo, everything(photo)) == pytest.approx(expected)
        assert metrics.psnr(photo, render, everything(photo)) == pytest.approx(expected)

    def test_equal_images_have_the_greatest_finite_value(self) -> None:
        photo = noisy(1, 8, 8)
        assert metrics.psnr(photo, photo, everything(photo)) == metrics.MAX_PSNR

    def test_masked_pixels_do_not_count(self) -> None:
        photo, render = flat(50, 50, 50), flat(51, 51, 51)
        kept = everything(photo)
        kept[:, 3:] = False
        render[:, 3:] = 255
        assert metrics.psnr(render, photo, kept) == pytest.approx(48.1308, abs=1e-4)


class TestSsim:
    def test_equal_images_are_one_everywhere(self) -> None:
        photo = noisy(2, 20, 30)
        similarity = metrics.ssim_map(photo, photo)
        torch.testing.assert_close(similarity, torch.ones(20, 30))

    def test_two_greys(self) -> None:
        """Without structure only the luminance term is left: (2ab + c1) / (a^2 + b^2 + c1)."""
        a, b = 100 / 255, 180 / 255
        expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
        similarity = metrics.ssim_map(flat(100, 100, 100), flat(180, 180, 180))
        torch.testing.assert_close(similarity, torch.full((16, 24), expected), rtol=1e-3, atol=0)

    def test_a_negative_is_dissimilar(self) -> None:
        photo = noisy(3, 24, 24)
        assert float(metrics.ssim_map(255 - photo, photo).mean()) < -0.5

    @pytest.mark.parametrize("height", [255, 256, 257, 262, 600])
    def test_it_is_torchmetrics_in_float64_and_strips_do_not_show(self, height: int) -> None:
        photo, render = noisy(4, height, 12), noisy(5, height, 12)
        _, whole = structural_similarity_index_measure(
            *(image.permute(2, 0, 1)[None].double() / 255 for image in (render, photo)),
            data_range=1.0,
            return_full_image=True,
        )
        found = metrics.ssim_map(render, photo)
        torch.testing.assert_close(found, whole[0].mean(dim=0).float(), atol=3e-6, rtol=0)

    def test_too_small_a_view_is_named(self) -> None:
        tiny = noisy(6, 5, 40)
        with pytest.raises(SettingError, match=r"one has 40x5; set evaluation\.ssim=false"):
            metrics.ssim_map(tiny, tiny)


class TestFlip:
    """Flat images pass FLIP's filters unchanged: only its colour difference is left.

    Greys differ by ``|L1 - L2| ** 0.7`` (HyAB in Hunt-adjusted CIELAB), mapped piecewise linearly,
    with the greatest difference, that of green and blue, at one (the paper's section 4.1).
    """

    GREATEST = 41.2760  # ** 0.7 applied; L*, a*, b* of sRGB green and blue, a* and b* scaled by L*
    KNEE, VALUE = 0.4 * GREATEST, 0.95

    def expected(self, first: int, second: int) -> float:
        lightness = []
        for level in (first, second):
            luminance = float(linear_from_srgb(torch.tensor(level / 255)))
            cube = luminance ** (1 / 3) if luminance > (6 / 29) ** 3 else 7.787 * luminance + 4 / 29
            lightness.append(116 * cube - 16)
        difference = abs(lightness[0] - lightness[1]) ** 0.7
        if difference < self.KNEE:
            return self.VALUE * difference / self.KNEE
        above = (difference - self.KNEE) / (self.GREATEST - self.KNEE)
        return self.VALUE + above * (1 - self.VALUE)

    @pytest.mark.parametrize(("first", "second"), [(0, 255), (0, 128), (100, 120), (5, 6)])
    def test_two_greys(self, first: int, second: int) -> None:
        error = metrics.flip_map(flat(first, first, first), flat(second, second, second))
        expected = self.expected(first, second)
        torch.testing.assert_close(error, torch.full((16, 24), expected), rtol=2e-3, atol=2e-5)

    def test_equal_images_do_not_differ(self) -> None:
        photo = noisy(7, 20, 30)
        assert float(metrics.flip_map(photo, photo).abs().max()) == 0

    def test_the_map_lies_where_the_error_is(self) -> None:
        photo, render = flat(120, 120, 120, size=(64, 64)), flat(120, 120, 120, size=(64, 64))
        render[10:14, 40:44] = torch.tensor([255, 0, 0], dtype=torch.uint8)
        error = metrics.flip_map(render, photo)
        assert error.shape == (64, 64)
        assert float(error[12, 42]) > 0.5
        assert float(error[40:, :20].max()) == pytest.approx(0, abs=1e-4)

    def test_images_are_left_as_they_are(self) -> None:
        photo, render = noisy(8, 9, 9), noisy(9, 9, 9)
        copies = photo.clone(), render.clone()
        metrics.flip_map(render, photo)
        assert torch.equal(photo, copies[0]) and torch.equal(render, copies[1])


def test_the_absolute_error_is_a_mean_over_channels() -> None:
    error = metrics.absolute_error_map(flat(30, 0, 0), flat(0, 0, 21))
    torch.testing.assert_close(error, torch.full((16, 24), 17 / 255))


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large images are measured strip by strip, with the rows around that a pixel depends on."""
    photo, render = noisy(1, 150, 40), noisy(2, 150, 40)
    kept = noisy(3, 150, 40)[..., 0] > 40

    def measured() -> list[Tensor]:
        maps = (metrics.flip_map, metrics.ssim_map, metrics.absolute_error_map)
        psnr = torch.tensor(metrics.psnr(render, photo, kept))
        return [*(each(render, photo) for each in maps), psnr]

    whole = measured()
    monkeypatch.setattr(metrics, "STRIP_ROWS", 32)
    for one, other in zip(whole, measured(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_mean_of_what_is_kept_is_that_of_its_rows() -> None:
    """Over several strips, some of them masked as a whole."""
    values = torch.rand(3 * metrics.STRIP_ROWS + 5, 7)
    kept = torch.rand(values.shape) < 0.3
    kept[: metrics.STRIP_ROWS] = False
    expected = float(values[kept].double().mean())
    assert metrics.mean_over(values, kept) == pytest.approx(expected, rel=1e-12)
