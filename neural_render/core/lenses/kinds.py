"""The kinds of lenses, and the order of their coefficients."""

from collections.abc import Sequence
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Lens(IntEnum):
    """How a camera maps the direction of a point to the plane that its distortion then bends.

    RADIAL_FIRST_FISHEYE is a fisheye whose tangential and prism terms act on what the radial ones
    have made of the point (COLMAP's RAD_TAN_THIN_PRISM_FISHEYE), not on the point itself.
    """

    PERSPECTIVE = 0
    FISHEYE = 1
    FOV = 2
    DIVISION = 3
    EUCM = 4
    EQUIRECTANGULAR = 5
    RADIAL_FIRST_FISHEYE = 6


# The columns of ``distortion``: powers r^2 to r^8 and the tangential terms, which are all that most
# cameras have; then r^10, r^12, the denominator's r^2 to r^6, the prism's r^2 and r^4 in x and in
# y, and the two parameters of the lens itself (omega; k; alpha and beta).
COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")
_FURTHER = ("k5", "k6", "d1", "d2", "d3", "s1", "s2", "s3", "s4")
ALL_COEFFICIENTS = (*COEFFICIENTS, *_FURTHER, "a", "b")
NUM_PLAIN = len(COEFFICIENTS)
NUM_BENDING = NUM_PLAIN + len(_FURTHER)  # all but the lens's own

_BY_ANGLE = (Lens.FISHEYE, Lens.RADIAL_FIRST_FISHEYE, Lens.EQUIRECTANGULAR)


def maps_angles(lens: Int[Tensor, " cameras"]) -> Bool[Tensor, " cameras"]:
    """Whether distances on the plane are angles, so that what is behind the camera has a place."""
    return torch.isin(lens, lens.new_tensor([int(kind) for kind in _BY_ANGLE]))


def padded(distortion: Sequence[float], length: int = len(ALL_COEFFICIENTS)) -> tuple[float, ...]:
    """The coefficients with zeros for those that are not stated."""
    return (*distortion, *(0.0,) * (length - len(distortion)))


def own_parameters(
    distortion: Float[Tensor, "rays coefficients"],
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """The columns a and b; zeros where the lens has plain coefficients only."""
    if distortion.shape[-1] == NUM_PLAIN:
        zero = torch.zeros_like(distortion[:, 0])
        return zero, zero
    return distortion[:, -2], distortion[:, -1]
