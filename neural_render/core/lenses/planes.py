"""From directions to a lens's plane, and back in closed form.

Legend: (X, Y, Z) point in camera axes, R its distance from the axis, (x, y) its place on the plane,
q = x^2 + y^2, r = sqrt(q); a direction is (x A, y A, B) before it is normalised, A and B functions
of q.

    PERSPECTIVE      r = R / Z                                     A = 1         B = 1
    FISHEYE          r = atan2(R, Z)                               A = sin(r)/r  B = cos(r)
    FOV              r = atan2(2 tan(a/2) R, Z) / a                A = sin(a r)/(a r)
                                                                   B = 2 tan(a/2) cos(a r)/a
    DIVISION         r = 2 R / (Z + sqrt(Z^2 - 4 a R^2))           A = 1         B = 1 + a q
    EUCM             r = R / (a sqrt(b R^2 + Z^2) + (1 - a) Z)     A = 1
                               B = (1 - a^2 b q) / (a sqrt(1 - (2 a - 1) b q) + 1 - a)
    EQUIRECTANGULAR  x = atan2(X, Z),  y = atan2(Y, sqrt(X^2 + Z^2))

Sources: COLMAP, sensor/models.h; Devernay and Faugeras 2001, "Straight lines have to be straight"
(FOV); Fitzgibbon 2001 (division); Khomutenko, Garcia and Martinet 2016 (EUCM).
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.lenses.kinds import Lens, own_parameters

_TINY = 1e-12  # of a squared radius: within it functions are replaced by their series
_SMALLEST_OMEGA = 1e-4


def from_plane(
    plane: Float[Tensor, "rays 2"], lens: Lens, distortion: Float[Tensor, "#rays coefficients"]
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Unit directions, solid angle per unit of the plane's area, and where the plane is imaged.

    Where it is not, directions are merely finite. Differentiable.
    """
    if lens == Lens.EQUIRECTANGULAR:
        return _from_equirectangular(plane)
    square = (plane * plane).sum(-1)
    if lens == Lens.PERSPECTIVE:
        cosine = (1 + square).rsqrt()
        directions = torch.cat([plane, torch.ones_like(cosine)[:, None]], -1) * cosine[:, None]
        return directions, cosine**3, torch.ones_like(cosine, dtype=torch.bool)
    across, along, turning, valid = _profile(square, lens, distortion)
    length = (square * across * across + along * along).rsqrt()
    across, along = across * length, along * length
    directions = torch.cat([plane * across[:, None], along[:, None]], dim=-1)
    # sin(theta)/r dtheta/dr, with sin(theta) = r A / n and dtheta/dr = ((r A)' B - r A B') / n^2.
    solid_angle = across * turning * length * length
    return directions, torch.where(valid, solid_angle, solid_angle.abs()), valid


def _profile(
    square: Float[Tensor, " rays"], lens: Lens, distortion: Float[Tensor, "#rays coefficients"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A, B, ``(r A)' B - r A B'`` (positive where r grows with the angle), and where it is so."""
    one = torch.ones_like(square)
    a, b = own_parameters(distortion)
    if lens == Lens.FOV:
        omega = a.abs().clamp(min=_SMALLEST_OMEGA)
        sine, cosine = _sine_ratio_and_cosine(omega * omega * square)
        scale = 2 * (omega / 2).tan() / omega
        return sine, scale * cosine, scale * one, omega * omega * square < (math.pi / 2) ** 2
    if lens == Lens.DIVISION:
        turning = 1 - a * square
        valid = turning > 1e-6
        return one, 1 + a * square, turning.clamp(min=1e-6), valid
    if lens == Lens.EUCM:
        return _eucm_profile(square, a, b)
    sine, cosine = _sine_ratio_and_cosine(square)
    return sine, cosine, one, square < math.pi**2


def _eucm_profile(
    square: Float[Tensor, " rays"], alpha: Float[Tensor, " #rays"], beta: Float[Tensor, " #rays"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`_profile` of the enhanced unified camera model."""
    stretch = (2 * alpha - 1) * beta
    radicand = 1 - stretch * square
    valid = radicand > 1e-6
    root = radicand.clamp(min=1e-6).sqrt()
    above, below = 1 - alpha * alpha * beta * square, alpha * root + 1 - alpha
    below = below.clamp(min=1e-6)
    along = above / below
    slope = (-alpha * alpha * beta + along * alpha * stretch / (2 * root)) / below
    turning = along - 2 * square * slope
    valid = valid & (turning > 1e-6)
    return torch.ones_like(square), along, turning.clamp(min=1e-6), valid


def _sine_ratio_and_cosine(
    square: Float[Tensor, " rays"],
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """``sin(r) / r`` and ``cos(r)`` of ``r^2``, with derivatives on the axis too."""
    central = square < _TINY
    radius = torch.where(central, torch.ones_like(square), square).sqrt()
    sine = torch.where(central, 1 - square / 6, radius.sin() / radius)
    return sine, torch.where(central, 1 - square / 2, radius.cos())


def _from_equirectangular(
    plane: Float[Tensor, "rays 2"],
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """`from_plane` where x is the azimuth and y the angle below the horizon."""
    azimuth, below = plane.unbind(-1)
    level = below.cos()
    directions = torch.stack([level * azimuth.sin(), below.sin(), level * azimuth.cos()], dim=-1)
    valid = (azimuth.abs() < math.pi + 1e-4) & (below.abs() < math.pi / 2 + 1e-4)
    return directions, level.abs().clamp(min=1e-6), valid


def to_plane(
    local: Float[Tensor, "points 3"], lens: Lens, distortion: Float[Tensor, "points coefficients"]
) -> Float[Tensor, "points 2"]:
    """Where points in camera axes lie on the lens's plane; differentiable.

    It means something only where the lens can see the point: in front of a perspective one.
    """
    if lens == Lens.EQUIRECTANGULAR:
        return _to_equirectangular(local)
    depth = local[:, 2]
    if lens == Lens.PERSPECTIVE:
        return local[:, :2] / _not_zero(depth)[:, None]
    square = (local[:, :2] * local[:, :2]).sum(-1)
    a, b = own_parameters(distortion)
    if lens == Lens.DIVISION:
        root = (depth * depth - 4 * a * square).clamp(min=torch.finfo(depth.dtype).tiny).sqrt()
        return local[:, :2] * (2 / _not_zero(depth + root))[:, None]
    if lens == Lens.EUCM:
        root = (b * square + depth * depth).clamp(min=torch.finfo(depth.dtype).tiny).sqrt()
        return local[:, :2] / _not_zero(a * root + (1 - a) * depth)[:, None]
    omega = torch.ones_like(depth)
    scale = omega
    if lens == Lens.FOV:
        omega = a.abs().clamp(min=_SMALLEST_OMEGA)
        scale = 2 * (omega / 2).tan()
    central = square < _TINY * depth**2
    radius = torch.where(central, torch.ones_like(square), square).sqrt()
    angle = torch.atan2(scale * radius, depth)
    safe_depth = torch.where(central & (depth > 0), depth, torch.ones_like(depth))
    ratio = torch.where(central, scale / safe_depth, angle / radius) / omega
    return local[:, :2] * ratio[:, None]


def _to_equirectangular(local: Float[Tensor, "points 3"]) -> Float[Tensor, "points 2"]:
    """`to_plane` in azimuth and angle below the horizon; the poles have the azimuth zero."""
    x, y, z = local.unbind(-1)
    square = x * x + z * z
    pole = square < _TINY * y * y
    level = torch.where(pole, torch.ones_like(square), square).sqrt()
    safe_z = torch.where(pole, torch.ones_like(z), z)
    below = torch.atan2(y, torch.where(pole, torch.zeros_like(level), level))
    azimuth = torch.where(pole, torch.zeros_like(x), torch.atan2(x, safe_z))
    return torch.stack([azimuth, below], dim=-1)


def _not_zero(values: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """The values, the tiniest in place of those that cannot be divided by."""
    tiny = torch.finfo(values.dtype).tiny
    return torch.where(values.abs() > tiny, values, torch.full_like(values, tiny))
