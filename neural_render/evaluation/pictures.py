"""Pictures for people: photo, render and error map of a view side by side, and read again."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, cat, linspace

from neural_render.core.color import magma, quantised
from neural_render.core.files import large_pictures, whole_file

HEADER_ROWS = 32
WELL_READ = 640  # columns of a view whose captions have their own size; larger ones' grow along
STRIP_ROWS = 256  # bounds what the colours of a large error map take
_PAPER, _INK = (255, 255, 255), (20, 20, 20)
_SCALE_COLUMNS, _SCALE_ROWS = 96, 8


def write_panel(
    path: Path,
    photo: UInt8[Tensor, "height width 3"],
    render: UInt8[Tensor, "height width 3"],
    error: Float[Tensor, "height width"],
    *,
    captions: tuple[str, str, str],
    error_scale: float,
) -> None:
    """Write a PNG of photo | render | error in colours that end at ``error_scale``.

    Under a header of ``HEADER_ROWS`` rows, more above large views, photo and render are exact,
    pixel for pixel.
    """
    heat = cat([quantised(magma(rows / error_scale)) for rows in error.split(STRIP_ROWS)])
    height, width = photo.shape[:2]
    times = _times(width)
    panel = Image.new("RGB", (3 * width, height + times * HEADER_ROWS), _PAPER)
    for column, image in enumerate((photo, render, heat)):
        shown = Image.fromarray(np.ascontiguousarray(image.numpy(force=True)))
        panel.paste(shown, (column * width, times * HEADER_ROWS))
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(size=14 * times)
    for column, caption in enumerate(captions):
        draw.text((column * width + 6 * times, 7 * times), caption, fill=_INK, font=font)
    if width >= 3 * _SCALE_COLUMNS:
        _draw_scale(panel, error_scale, times)
    with whole_file(path, durable=False) as temporary:
        panel.save(temporary, format="PNG", compress_level=1)


def read_panel(path: Path, size: tuple[int, int]) -> tuple[Image.Image, ...]:
    """What ``write_panel`` wrote of a view of (width, height): photo, render and error.

    Raises ``OSError`` where there is no such picture, or another one.
    """
    width, height = size
    try:
        with large_pictures(), Image.open(path) as picture:
            header = picture.height - height  # that of older ones did not grow
            known = (HEADER_ROWS, _times(width) * HEADER_ROWS)
            if picture.width != 3 * width or header not in known:
                raise OSError(f"{path} is not the picture of a view of {width}x{height}")
            panel = picture.convert("RGB")
    except (ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    edges = (0, width, 2 * width)
    return tuple(panel.crop((left, header, left + width, header + height)) for left in edges)


def _times(width: int) -> int:
    """How many times as large the header of a view of so many columns is."""
    return max(1, int(width / WELL_READ + 0.5))


def _draw_scale(panel: Image.Image, error_scale: float, times: int) -> None:
    """The colours of the error map from 0 to ``error_scale`` at the right end of the header."""
    columns, rows = _SCALE_COLUMNS * times, _SCALE_ROWS * times
    bar = np.broadcast_to(quantised(magma(linspace(0, 1, columns))).numpy(), (rows, columns, 3))
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(size=11 * times)
    end, top = f"{error_scale:g}", 9 * times
    left = panel.width - columns - 16 * times - int(draw.textlength(end, font=font))
    panel.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, 12 * times))
    draw.text((left - 10 * times, top), "0", fill=_INK, font=font)
    draw.text((left + columns + 4 * times, top), end, fill=_INK, font=font)
