"""Numbers that compare a render with a photo, both 8-bit sRGB images.

PSNR: ``10 log10(255^2 / MSE)``. SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment:
from error visibility to structural similarity", IEEE TIP 2004, eq. 13. FLIP: Andersson, Nilsson,
Akenine-Moller, Oskarsson, Astrom, Fairchild, "FLIP: a difference evaluator for alternating images",
HPG 2020.

Nothing here is differentiable. All metrics read the quantised images, so that they can be computed
again from the files on disk.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import conv2d, pad

from neural_render.core.color import quantised
from neural_render.core.errors import SettingError

MAX_PSNR = 100.0  # of equal images, whose PSNR is infinite: neither JSON nor a mean takes that
SSIM_WINDOW = 11
SSIM_SIGMA_PX = 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
FLIP_PIXELS_PER_DEGREE = 67.02064  # 0.7 m before a display of 3840 pixels and 0.7 m (FLIP's own)
HEAT_ENDS = {"FLIP": 0.5, "|error|": 0.25}  # where heat maps end; their headers say so too
STRIP_ROWS = 256  # bounds the memory of large images; no result depends on it
STRIP_PIXELS = 1 << 18  # and that of wide ones: SSIM's windows take 350 bytes a pixel
_FLIP_HALO = 16  # rows around a pixel on which its FLIP depends: 10

METRIC_DEFINITIONS = {
    "psnr": f"mean over views of each 8-bit sRGB image's PSNR; equal images count {MAX_PSNR:g}",
    "ssim": f"Gaussian window {SSIM_WINDOW}x{SSIM_WINDOW}, sigma {SSIM_SIGMA_PX}, k1 0.01, "
    "k2 0.03, data range 1, reflected borders, mean over pixels and channels, then over views",
    "flip": f"LDR-FLIP, {FLIP_PIXELS_PER_DEGREE:.2f} pixels per degree, mean over pixels, "
    "then over views",
}


def over_background(
    photo: UInt8[Tensor, "height width photo_channels"], background: tuple[float, float, float]
) -> UInt8[Tensor, "height width 3"]:
    """The photo's straight alpha composited in sRGB on ``background``, if it has one."""
    if photo.shape[-1] == 3:
        return photo
    values = photo.float() / 255
    opacity = values[..., 3:]
    return quantised(values[..., :3] * opacity + values.new_tensor(background) * (1 - opacity))


def psnr(
    render: UInt8[Tensor, "height width 3"],
    photo: UInt8[Tensor, "height width 3"],
    kept: Bool[Tensor, "height width"],
) -> float:
    """Decibels between two 8-bit images over the ``kept`` pixels, computed in integers."""
    squares = 0
    for rows in zip(*(each.split(STRIP_ROWS) for each in (render, photo, kept)), strict=True):
        difference = rows[0].int() - rows[1].int()
        squares += int((difference * difference).sum(dim=-1)[rows[2]].sum())
    count = int(kept.sum()) * photo.shape[-1]
    assert count > 0, "PSNR of no pixels"
    return 10 * math.log10(255**2 * count / squares) if squares else MAX_PSNR


def ssim_map(
    render: UInt8[Tensor, "height width 3"], photo: UInt8[Tensor, "height width 3"]
) -> Float[Tensor, "height width"]:
    """Structural similarity in [-1, 1] around each pixel, mean over the channels."""
    height, width = photo.shape[:2]
    halo = SSIM_WINDOW // 2
    if min(height, width) <= halo:
        raise SettingError(
            f"SSIM needs views of {halo + 1}x{halo + 1} pixels or more and one has "
            f"{width}x{height}; set evaluation.ssim=false."
        )

    def of_strip(first: int, last: int) -> Tensor:
        x, y = (_channels(image[first:last]) for image in (render, photo))
        mean_x, mean_y, xx, yy, xy = _windowed(torch.stack([x, y, x * x, y * y, x * y]))
        variances = (xx - mean_x**2).clamp(min=0) + (yy - mean_y**2).clamp(min=0)
        luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
        structure = (2 * (xy - mean_x * mean_y) + SSIM_C2) / (variances + SSIM_C2)
        return (luminance * structure).mean(dim=0)

    return _in_strips(of_strip, photo, halo)


def flip_map(
    render: UInt8[Tensor, "height width 3"], photo: UInt8[Tensor, "height width 3"]
) -> Float[Tensor, "height width"]:
    """The difference in [0, 1] that a viewer sees at each pixel when flipping between the two."""
    from flip_evaluator import evaluate

    parameters = {"ppd": FLIP_PIXELS_PER_DEGREE}

    def of_strip(first: int, last: int) -> Tensor:
        reference, test = (
            np.ascontiguousarray(image[first:last].numpy(force=True), dtype=np.float32)
            / np.float32(255)
            for image in (photo, render)
        )
        error = evaluate(reference, test, "LDR", True, False, False, parameters)[0]
        return torch.from_numpy(error[..., 0])

    return _in_strips(of_strip, photo, _FLIP_HALO)


def absolute_error_map(
    render: UInt8[Tensor, "height width 3"], photo: UInt8[Tensor, "height width 3"]
) -> Float[Tensor, "height width"]:
    """The absolute difference of sRGB values in [0, 1], mean over the channels."""
    pairs = zip(render.split(STRIP_ROWS), photo.split(STRIP_ROWS), strict=True)
    return torch.cat([(a.float() - b.float()).abs().mean(dim=-1) / 255 for a, b in pairs])


def error_map(
    render: UInt8[Tensor, "height width 3"], photo: UInt8[Tensor, "height width 3"], *, flip: bool
) -> tuple[Float[Tensor, "height width"], str]:
    """FLIP, or the absolute difference, at each pixel; and what it is called in ``HEAT_ENDS``."""
    if flip:
        return flip_map(render, photo), "FLIP"
    return absolute_error_map(render, photo), "|error|"


def mean_over(values: Float[Tensor, "height width"], kept: Bool[Tensor, "height width"]) -> float:
    """The mean of the ``kept`` values, summed row by row in float64, without a copy of them all."""
    parts = zip(values.split(STRIP_ROWS), kept.split(STRIP_ROWS), strict=True)
    total = sum(float(value[keep].double().sum()) for value, keep in parts)
    return total / int(kept.sum())


def _in_strips(
    of_strip: Callable[[int, int], Tensor], photo: UInt8[Tensor, "height width 3"], halo: int
) -> Float[Tensor, "height width"]:
    """A map made of strips of rows, each found with the rows around it that it depends on."""
    height, width = photo.shape[:2]
    rows = max(2 * halo, min(STRIP_ROWS, STRIP_PIXELS // width))
    whole = torch.empty(height, width, device=photo.device)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - halo, 0), min(bottom + halo, height)
        whole[top:bottom] = of_strip(first, last)[top - first : bottom - first]
    return whole


def _channels(
    image: UInt8[Tensor, "height width channels"],
) -> Float[Tensor, "channels height width"]:
    """An image in [0, 1], one channel after the other."""
    return image.permute(2, 0, 1).float() / 255


def _windowed(
    images: Float[Tensor, "images channels height width"],
) -> Float[Tensor, "images channels height width"]:
    """Means under SSIM's window around each pixel; over a border, images are reflected."""
    halo, planes = SSIM_WINDOW // 2, images.shape[0] * images.shape[1]
    offsets = torch.arange(-halo, halo + 1, device=images.device)
    weights = torch.exp(-((offsets / SSIM_SIGMA_PX) ** 2) / 2)
    column = (weights / weights.sum()).view(1, 1, -1, 1).expand(planes, 1, -1, 1)
    padded = pad(images.flatten(0, 1)[None], (halo,) * 4, mode="reflect")
    # As groups of one image: several times faster than as a batch.
    return conv2d(conv2d(padded, column, groups=planes), column.mT, groups=planes).view_as(images)
