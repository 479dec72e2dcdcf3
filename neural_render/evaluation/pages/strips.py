"""Pictures of some views for a page: read from ``evaluation/``, made small, held to a budget."""

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_STRIPS = 16
MAX_SIDE = 1080  # pixels of a picture on a page
QUALITY, ERROR_QUALITY = 88, 80  # of WebP
SAME = 8.0  # of 255: two references of one view, each with its own noise, are closer
MARKUP = 3000  # characters around the pictures of a strip
_PREFIX = "data:image/webp;base64,"

Thing = TypeVar("Thing")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One picture of a view."""

    label: str
    is_error: bool  # a map of errors, not a picture of the scene
    uri: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Strip:
    """The pictures of one view and what was measured in it."""

    name: str
    caption: str
    brief: str  # the figure that it is sorted by
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """The characters that it takes, or a few more."""
        return MARKUP + sum(len(layer.uri) for layer in self.layers)


def strips_within(
    budget: int, wanted: Iterable[Thing], strip_of: Callable[[Thing], Strip]
) -> list[Strip]:
    """Strips of what is wanted, in that order, as many as ``budget`` characters hold.

    Views whose pictures are missing or broken are passed over; there are `MAX_STRIPS` at most.
    """
    strips: list[Strip] = []
    for thing in wanted:
        if len(strips) == MAX_STRIPS:
            break
        try:
            strip = strip_of(thing)
        except OSError:
            continue
        budget -= strip.size
        if budget < 0:
            break
        strips.append(strip)
    return strips


def layer(label: str, picture: "Image", *, is_error: bool = False) -> Layer:
    """A picture, `MAX_SIDE` pixels long at most, as it goes into a page."""
    picture = picture.copy()
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    quality = ERROR_QUALITY if is_error else QUALITY
    picture.save(buffer, format="WEBP", quality=quality, method=2)
    return Layer(
        label=label,
        is_error=is_error,
        uri=_PREFIX + base64.b64encode(buffer.getvalue()).decode("ascii"),
        width=picture.width,
        height=picture.height,
    )


def error_of(photo: "Image", render: "Image") -> "Image":
    """The absolute difference of two pictures, as a heat map."""
    import numpy as np
    import torch
    from PIL import Image

    from neural_render.core.color import magma, quantised
    from neural_render.evaluation.metrics import HEAT_ENDS, absolute_error_map

    images = (torch.from_numpy(np.array(picture)) for picture in (render, photo))
    heat = quantised(magma(absolute_error_map(*images) / HEAT_ENDS["|error|"]))
    return Image.fromarray(heat.numpy())


def spread_ranks(available: int, most: int) -> list[int]:
    """Ranks spread evenly from 0 to ``available`` - 1; any beginning of the list is spread too."""
    count = min(available, most)
    even = [index * (available - 1) // max(count - 1, 1) for index in range(count)]
    ordered, spans = [0, count - 1][:count], [(0, count - 1)]
    while spans:
        low, high = spans.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            ordered.append(middle)
            spans += [(low, middle), (middle, high)]
    return [even[index] for index in ordered]


def same_picture(first: "Image", second: "Image") -> bool:
    """Whether two photos show the same, but for noise and a decoder's roundings."""
    import numpy as np

    if first.size != second.size:
        return False
    one, other = (np.asarray(picture, dtype=np.int16) for picture in (first, second))
    return float(np.abs(one - other).mean()) < SAME
