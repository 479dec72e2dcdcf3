"""Pictures as BT.709 video stores them, in 10 bits: FFmpeg's own scaler is off by 3 of its levels.

Legend: R, G, B in [0, 1] as displayed; Y luma, Cb and Cr colour differences; 64 to 940 (Cb, Cr:
960) of 1023 are their range. Where chroma is halved its samples lie on the left ones of each pair
of columns, and between both of each pair of rows.

Source: ITU-R BT.709-6, items 3 and 4.
"""

import numpy as np
from jaxtyping import Float, UInt16

RED, BLUE = 0.2126, 0.0722
BLACK, LUMA_RANGE, CHROMA_RANGE, MIDDLE = 64, 876, 896, 512
OPAQUE = 1023  # opacity has the full range

Plane = UInt16[np.ndarray, "_ _"]


def planes_10bit(
    picture: Float[np.ndarray, "height width channels"], pixels: str
) -> tuple[Plane, ...]:
    """The planes Y, Cb, Cr, and opacity of a picture with four channels, for FFmpeg's ``pixels``.

    The sizes that are halved must be even.
    """
    red, green, blue = (picture[..., channel] for channel in range(3))
    luma = RED * red + (1 - RED - BLUE) * green + BLUE * blue
    found = [_levels(BLACK + LUMA_RANGE * luma)]
    for part, share in ((blue, BLUE), (red, RED)):
        difference = _halved((part - luma) / (2 * (1 - share)), pixels)
        found.append(_levels(MIDDLE + CHROMA_RANGE * difference))
    if picture.shape[-1] == 4:
        found.append(_levels(OPAQUE * picture[..., 3]))
    return tuple(found)


def _halved(
    chroma: Float[np.ndarray, "height width"], pixels: str
) -> Float[np.ndarray, "rows columns"]:
    """Chroma at the places where it is stored."""
    if "444" in pixels:
        return chroma
    left = np.concatenate([chroma[:, :1], chroma[:, 1:-1:2]], axis=1)
    chroma = (left + 2 * chroma[:, ::2] + chroma[:, 1::2]) / 4
    if "420" in pixels:
        chroma = (chroma[::2] + chroma[1::2]) / 2
    return chroma


def _levels(values: Float[np.ndarray, "_ _"]) -> Plane:
    return np.rint(values).clip(0, OPAQUE).astype(np.uint16)
