"""The sub-frames that a picture is the mean of: where in the pixel, in the lens and in time.

Each dimension is divided evenly between the sub-frames of a picture, and which part of one meets
which part of another is drawn at random (Latin hypercubes; Pharr, Jakob and Humphreys, "Physically
Based Rendering", section 8.5). Places in the lens and in time are shifted for each pixel by itself:
too few sub-frames are seen as grain, not as several copies of an edge.

Legend: N sub-frames, i one of them, u in [0, 1) a place along one dimension.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

FILTERS = ("box", "gaussian")
GAUSSIAN_SIGMA_PX, GAUSSIAN_RADIUS_PX = 0.5, 1.5
SIDE_OF_BLUR = 6  # squared: the sub-frames of a picture with blur, where nothing else is asked for


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One sub-frame; as it stands, a still picture by a pinhole through the pixels' centres.

    ``lens`` is a place in the unit square, which `disc` makes one on the lens. ``opens`` and
    ``closes`` are frames after the picture's own time.
    """

    offset_px: tuple[float, float] = (0.0, 0.0)
    lens: tuple[float, float] = (0.0, 0.0)
    opens: float = 0.0
    closes: float = 0.0


STILL = Moment()


def moments(
    side: int, *, pixel_filter: str, shutter: float, generator: torch.Generator
) -> tuple[Moment, ...]:
    """``side`` squared sub-frames that share out the pixel, the lens and the shutter's time.

    ``shutter`` is the time that it is open, in frames, half of it before the picture's own time.
    """
    number = side * side
    grid = [offset_px((i + 0.5) / side, pixel_filter) for i in range(side)]
    part_of_lens, part_of_time = (
        torch.randperm(number, generator=generator).tolist() for _ in range(2)
    )
    return tuple(
        Moment(
            offset_px=(grid[i % side], grid[i // side]),
            lens=((lens + 0.5) / number, _mirrored_bits(lens)),
            opens=shutter * (time / number - 0.5),
            closes=shutter * ((time + 1) / number - 0.5),
        )
        for i, (lens, time) in enumerate(zip(part_of_lens, part_of_time, strict=True))
    )


def offset_px(u: float, pixel_filter: str) -> float:
    """How far from the pixel's centre a share ``u`` of the filter lies behind: so many equal parts
    of the filter's area have their rays (Ernst, Stamminger and Greiner 2006)."""
    if pixel_filter == "box":
        return u - 0.5
    assert pixel_filter == "gaussian", pixel_filter
    unit = math.sqrt(2) * GAUSSIAN_SIGMA_PX
    inside = math.erf(GAUSSIAN_RADIUS_PX / unit)
    return unit * torch.erfinv(torch.tensor((2 * u - 1) * inside, dtype=torch.float64)).item()


def disc(square: Float[Tensor, "rays 2"]) -> Float[Tensor, "rays 2"]:
    """Points of the unit disc for those of the unit square; equal areas stay equal (Shirley and
    Chiu 1997)."""
    x, y = (2 * square - 1).unbind(-1)
    wide = x.abs() > y.abs()
    radius = torch.where(wide, x, y)
    ratio = torch.where(wide, y, x) / torch.where(radius == 0, torch.ones_like(radius), radius)
    angle = (math.pi / 4) * ratio
    angle = torch.where(wide, angle, math.pi / 2 - angle)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=-1)


def _mirrored_bits(number: int) -> float:
    """The radical inverse in base 2: with i / N it spreads points evenly (Hammersley 1960)."""
    mirrored, part = 0.0, 0.5
    while number:
        mirrored += part * (number & 1)
        number, part = number >> 1, part / 2
    return mirrored
