"""Ten-bit planes are BT.709's, to half a level."""

import numpy as np
import pytest

from neural_render.export.video.planes import planes_10bit

GREYS = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 64, 1).repeat(4, 0).repeat(3, -1)


@pytest.mark.parametrize("pixels", ["yuv444p10le", "yuv422p10le", "yuv420p10le"])
def test_greys_have_every_level_and_no_colour(pixels: str) -> None:
    """Eight bits would have left 220 levels of the 877."""
    luma, blue, red = planes_10bit(GREYS, pixels)
    assert np.abs(luma - (64 + 876 * GREYS[..., 0])).max() <= 0.5
    assert (luma[0, 0], luma[0, -1]) == (64, 940)
    assert (blue == 512).all() and (red == 512).all()
    sizes = {"444": (4, 64), "422": (4, 32), "420": (2, 32)}
    assert blue.shape == red.shape == sizes[pixels[3:6]]


def test_primaries_are_where_the_standard_puts_them() -> None:
    pictures = np.eye(3, dtype=np.float32).reshape(1, 3, 3)
    luma, blue, red = planes_10bit(pictures, "yuv444p10le")
    assert luma[0].tolist() == [250, 691, 127]
    assert blue[0].tolist() == [409, 167, 960]
    assert red[0].tolist() == [960, 105, 471]


def test_halved_colours_lie_on_the_left_of_a_pair() -> None:
    """A blue column spreads to its two neighbours and no further."""
    picture = np.zeros((2, 12, 3), dtype=np.float32)
    picture[:, 6, 2] = 1.0
    _, blue, _ = planes_10bit(picture, "yuv422p10le")
    assert blue[0].tolist() == [512, 512, 512, 512 + 224, 512, 512]
    picture = np.roll(picture, 1, axis=1)
    _, blue, _ = planes_10bit(picture, "yuv422p10le")
    assert blue[0].tolist() == [512, 512, 512, 512 + 112, 512 + 112, 512]


def test_opacity_has_the_full_range() -> None:
    picture = np.concatenate([GREYS, GREYS[..., :1]], axis=-1)
    *_, opacity = planes_10bit(picture, "yuva444p10le")
    assert (opacity[0, 0], opacity[0, -1]) == (0, 1023)
