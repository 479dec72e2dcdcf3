"""Distortion of the plane by polynomials, and its inverse by Newton's method.

Legend: (x, y) point on the lens's plane, s = x^2 + y^2, L the radial factor, (ex, ey) what the
tangential and prism terms add, u the distorted point, J the Jacobian du/d(x, y).

    L  = (1 + k1 s + .. + k6 s^6) / (1 + d1 s + d2 s^2 + d3 s^3)
    ex = 2 p1 x y + p2 (s + 2 x^2) + s1 s + s2 s^2
    ey = p1 (s + 2 y^2) + 2 p2 x y + s3 s + s4 s^2
    u  = (x, y) L + (ex, ey),  or where radial terms come first  q + (ex, ey)(q)  with q = (x, y) L

Sources: OpenCV, "Camera Calibration and 3D Reconstruction"; COLMAP, sensor/models.h. k3 and k4
multiply r^6 and r^8, as in instant-ngp's and nerfstudio's files.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.lenses.kinds import NUM_BENDING, NUM_PLAIN

# Newton doubles the digits at each step; wide lenses need about six, hopeless pixels all of them.
MAX_NEWTON_STEPS = 20
# No lens that bends shows more of a perspective plane; powers of more would not be finite.
MAX_RADIUS = 100.0
# Where a step of (x, y) moves u by less, the polynomial folds; a step so small ends the search.
SMALLEST_SLOPE = 1e-3
SOLVED = 1e-4
_SMALLEST_DENOMINATOR = 1e-6


class Bent(NamedTuple):
    """u, and the entries of J: xy is du_x/dy."""

    points: Float[Tensor, "points 2"]
    xx: Float[Tensor, " points"]
    xy: Float[Tensor, " points"]
    yx: Float[Tensor, " points"]
    yy: Float[Tensor, " points"]


def bends(distortion: Float[Tensor, "rays coefficients"]) -> bool:
    """Whether there is anything to invert, or to differentiate."""
    return distortion.requires_grad or bool(distortion[:, :NUM_BENDING].any())


def distort(
    plane: Float[Tensor, "points 2"],
    distortion: Float[Tensor, "#points coefficients"],
    *,
    radial_first: bool = False,
) -> Bent:
    """u of (x, y), and J."""
    factor, slope = _radial((plane * plane).sum(-1), distortion)
    x, y = plane.unbind(-1)
    across = slope * x * y
    radial = Bent(
        points=plane * factor[:, None],
        xx=factor + slope * x * x,
        xy=across,
        yx=across,
        yy=factor + slope * y * y,
    )
    if not radial_first:
        added = _decentred(plane, distortion)
        return Bent(*(one + other for one, other in zip(radial, added, strict=True)))
    added = _decentred(radial.points, distortion)
    xx, yy = 1 + added.xx, 1 + added.yy
    return Bent(
        points=radial.points + added.points,
        xx=xx * radial.xx + added.xy * radial.yx,
        xy=xx * radial.xy + added.xy * radial.yy,
        yx=added.yx * radial.xx + yy * radial.yx,
        yy=added.yx * radial.xy + yy * radial.yy,
    )


def _radial(
    square: Float[Tensor, " points"], distortion: Float[Tensor, "#points coefficients"]
) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
    """L, and twice its derivative in s."""
    k1, k2, k3, k4 = distortion[:, :4].unbind(-1)
    if distortion.shape[-1] == NUM_PLAIN:
        factor = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
        slope = 2 * (k1 + square * (2 * k2 + square * (3 * k3 + square * 4 * k4)))
        return factor, slope
    k5, k6, d1, d2, d3 = distortion[:, NUM_PLAIN : NUM_PLAIN + 5].unbind(-1)
    high, high_slope = (
        k4 + square * (k5 + square * k6),
        4 * k4 + square * (5 * k5 + square * 6 * k6),
    )
    above = 1 + square * (k1 + square * (k2 + square * (k3 + square * high)))
    above_slope = k1 + square * (2 * k2 + square * (3 * k3 + square * high_slope))
    below = 1 + square * (d1 + square * (d2 + square * d3))
    below_slope = d1 + square * (2 * d2 + square * 3 * d3)
    # It is 1 on the axis. From where it has reached zero on nothing is imaged: J is zero there.
    imaged = below > _SMALLEST_DENOMINATOR
    below = torch.where(imaged, below, torch.ones_like(below))
    factor = torch.where(imaged, above / below, torch.zeros_like(below))
    slope = 2 * (above_slope - factor * below_slope) / below
    return factor, torch.where(imaged, slope, torch.zeros_like(below))


def _decentred(
    plane: Float[Tensor, "points 2"], distortion: Float[Tensor, "#points coefficients"]
) -> Bent:
    """(ex, ey), and its derivatives."""
    p1, p2 = distortion[:, 4:NUM_PLAIN].unbind(-1)
    x, y = plane.unbind(-1)
    square = x * x + y * y
    mixed = 2 * p1 * x + 2 * p2 * y
    to_x = 2 * p1 * x * y + p2 * (square + 2 * x * x)
    to_y = p1 * (square + 2 * y * y) + 2 * p2 * x * y
    xx, xy, yx, yy = 2 * p1 * y + 6 * p2 * x, mixed, mixed, 6 * p1 * y + 2 * p2 * x
    if distortion.shape[-1] > NUM_PLAIN:
        s1, s2, s3, s4 = distortion[:, NUM_BENDING - 4 : NUM_BENDING].unbind(-1)
        to_x, to_y = to_x + square * (s1 + square * s2), to_y + square * (s3 + square * s4)
        slope_x, slope_y = 2 * (s1 + 2 * square * s2), 2 * (s3 + 2 * square * s4)
        xx, xy = xx + slope_x * x, xy + slope_x * y
        yx, yy = yx + slope_y * x, yy + slope_y * y
    return Bent(points=torch.stack([to_x, to_y], dim=-1), xx=xx, xy=xy, yx=yx, yy=yy)


def undistort(
    distorted: Float[Tensor, "rays 2"],
    distortion: Float[Tensor, "#rays coefficients"],
    *,
    radial_first: bool = False,
    largest: float = MAX_RADIUS,
) -> tuple[Float[Tensor, "rays 2"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """(x, y) of u no farther than ``largest`` from the axis, det J, and where the inverse exists.

    Differentiable in both inputs; det J is a constant. Where the polynomial folds back, the inverse
    does not exist: there (x, y) is merely finite.
    """
    if not distortion.requires_grad and not _decentres(distortion):
        return _undistort_radius(distorted, distortion, largest)
    plane = distorted
    tolerance = 8 * torch.finfo(distorted.dtype).eps

    def newton(plane: Tensor) -> tuple[Tensor, Tensor]:
        return _newton_step(plane, distorted, distortion, radial_first=radial_first)

    with torch.no_grad():
        radius = plane.norm(dim=-1, keepdim=True)
        for _ in range(MAX_NEWTON_STEPS):
            step, determinant = newton(plane)
            lost = ~(determinant > SMALLEST_SLOPE)
            if bool(lost.any()):  # beyond a fold the way back is towards the axis
                step = torch.where(lost[:, None], 0.5 * plane, step)
            # A step is never longer than the point is far from the axis, so none can jump off.
            reach = 0.5 + radius
            step = step * (reach / step.norm(dim=-1, keepdim=True).clamp(min=reach))
            plane = plane - step
            radius = plane.norm(dim=-1, keepdim=True)
            if bool((radius > largest).any()):
                plane = plane * (largest / radius.clamp(min=largest))
                radius = radius.clamp(max=largest)
            if bool((step.abs() <= tolerance * reach).all()):
                break
    step, determinant = newton(plane)
    near = step.detach().norm(dim=-1) < SOLVED * (1.5 + radius[:, 0])
    valid = (determinant > SMALLEST_SLOPE) & near
    return plane - torch.where(valid[:, None], step, torch.zeros_like(step)), determinant, valid


def _decentres(distortion: Float[Tensor, "rays coefficients"]) -> bool:
    """Whether points move across the radius too."""
    prism = distortion[:, NUM_BENDING - 4 : NUM_BENDING]
    return bool(distortion[:, 4:NUM_PLAIN].any()) or (
        distortion.shape[-1] > NUM_PLAIN and bool(prism.any())
    )


def _undistort_radius(
    distorted: Float[Tensor, "rays 2"],
    distortion: Float[Tensor, "#rays coefficients"],
    largest: float,
) -> tuple[Float[Tensor, "rays 2"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """`undistort` where all is radial, by Newton's method in one dimension; differentiable in u."""
    square = (distorted * distorted).sum(-1)
    central = square < 1e-12  # there the norm has no derivative; L is 1
    length = torch.where(central, torch.ones_like(square), square).sqrt()
    target = torch.where(central, torch.zeros_like(length), length)
    tolerance = 8 * torch.finfo(distorted.dtype).eps

    def newton(radius: Tensor) -> tuple[Tensor, Tensor]:
        factor, slope = _radial(radius * radius, distortion)
        growth = factor + slope * radius * radius
        return (radius * factor - target) / growth.clamp(min=SMALLEST_SLOPE), growth

    with torch.no_grad():
        radius = target.clamp(max=largest)
        for _ in range(MAX_NEWTON_STEPS):
            step, growth = newton(radius)
            step = torch.where(growth > SMALLEST_SLOPE, step, 0.5 * radius)
            radius = (radius - step).clamp(0, largest)
            if bool((step.abs() <= tolerance * (0.5 + radius)).all()):
                break
    step, growth = newton(radius)
    valid = (growth > SMALLEST_SLOPE) & (step.detach().abs() < SOLVED * (1.5 + radius))
    radius = radius - torch.where(valid, step, torch.zeros_like(step))
    ratio = torch.where(central, torch.ones_like(radius), radius / length)
    determinant = (growth / ratio.clamp(min=SMALLEST_SLOPE)).detach()
    return distorted * ratio[:, None], determinant, valid


def _newton_step(
    plane: Float[Tensor, "points 2"],
    distorted: Float[Tensor, "points 2"],
    distortion: Float[Tensor, "#points coefficients"],
    *,
    radial_first: bool,
) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
    """What to subtract from ``plane``, and det J; differentiable with J taken as constant.

    At the solution this gives the exact derivative of the inverse (implicit function theorem).
    """
    bent = distort(plane, distortion, radial_first=radial_first)
    xx, xy, yx, yy = (entry.detach() for entry in bent[1:])
    determinant = xx * yy - xy * yx
    # Beyond a fold J may turn by half a turn: two negative eigenvalues are no solution either.
    determinant = torch.where(xx + yy > 0, determinant, -determinant.abs())
    error_x, error_y = (bent.points - distorted).unbind(-1)
    step = torch.stack([yy * error_x - xy * error_y, xx * error_y - yx * error_x], dim=-1)
    return step / determinant.clamp(min=SMALLEST_SLOPE)[:, None], determinant
