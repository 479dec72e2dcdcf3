"""Colour spaces: scene-linear and display-referred sRGB; and colours for plain numbers.

Source of both sRGB curves: IEC 61966-2-1 (sRGB).
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

GREY = 0.18  # scene-linear; where the film's shoulder begins
# The standard's rounded constants leave a kink of 2 % where its two parts meet. These, which follow
# from its 0.055 and 2.4, leave none; the curves differ by less than 2e-5.
_TOE = 0.055 / 1.4  # display-referred
_TOE_SLOPE = (1.055 / 2.4) ** 2.4 * (1.4 / 0.055) ** 1.4


def srgb_from_linear(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Display-referred sRGB of scene-linear values; differentiable; values above 1 are kept."""
    curved = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return curved.where(linear > 0.0031308, 12.92 * linear)


def linear_from_srgb(srgb: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Scene-linear values of display-referred sRGB; differentiable."""
    curved = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return curved.where(srgb > 0.04045, srgb / 12.92)


def film_from_linear(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Display-referred sRGB in [0, 1) of scene-linear radiance, rolled off as film does.

    Up to ``GREY`` it is the sRGB curve; above, what is left up to white is approached as 1 / x, so
    that the slope falls to 0 and no highlight has an edge. It is monotone and C1; in 8 bits, whole
    stops from 8 below grey to 6 above differ, and white (255) comes 9 stops above grey. Exposure is
    applied before it. Each channel goes by itself: bright saturated colours fade to white, and
    their hue turns towards the nearest of yellow, cyan and magenta, but never past it.
    Differentiable; below 0 it is 0.
    """
    over = (linear - GREY).clamp(min=0) / (1 - GREY)
    shown = torch.where(linear > GREY, 1 - (1 - GREY) / (1 + over), linear.clamp(min=0))
    curved = 1.055 * shown.clamp(min=_TOE / _TOE_SLOPE) ** (1 / 2.4) - 0.055
    srgb = torch.where(shown > _TOE / _TOE_SLOPE, curved, _TOE_SLOPE * shown)
    return srgb.clamp(max=1 - torch.finfo(linear.dtype).eps)


def quantised(srgb: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """8-bit values of display-referred colour: clamped to [0, 1], rounded; not differentiable."""
    return (srgb.clamp(0, 1) * 255).round().to(torch.uint8)


# Rows: red, green, blue; columns: powers 0..6. Least-squares fits, within 0.025, to the maps of
# Smith and van der Walt (2015), https://bids.github.io/colormap, uniform to the eye.
_MAGMA = (
    (-0.0021, 0.2505, 8.3459, -27.667, 52.1707, -50.7586, 18.6643),
    (-0.0007, 0.6945, -3.596, 14.2539, -27.9446, 29.0539, -11.49),
    (-0.0095, 2.4953, 0.3291, -13.6466, 12.8811, 4.2699, -5.5708),
)
_VIRIDIS = (
    (0.2745, 0.1077, -0.3272, -4.5999, 6.2037, 4.7518, -5.4321),
    (0.0058, 1.3965, 0.2148, -5.7582, 14.154, -13.7494, 4.6416),
    (0.3327, 1.3868, 0.092, -19.2918, 56.6563, -65.321, 26.2721),
)


def magma(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape 3"]:
    """sRGB of values in [0, 1] (others are clamped), black to light yellow: for errors."""
    return _polynomial_map(values, _MAGMA)


def viridis(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape 3"]:
    """sRGB of values in [0, 1] (others are clamped), violet to yellow: for distances."""
    return _polynomial_map(values, _VIRIDIS)


def _polynomial_map(
    values: Float[Tensor, "*shape"], rows: tuple[tuple[float, ...], ...]
) -> Float[Tensor, "*shape 3"]:
    place = values.clamp(0, 1)[..., None]
    powers = values.new_tensor(rows)
    color = powers[:, -1].expand(*values.shape, 3)
    for power in range(powers.shape[1] - 2, -1, -1):
        color = color * place + powers[:, power]
    return color.clamp(0, 1)
