"""Real spherical harmonics of directions (see ``reference.networks``), in tiles.

Harmonic k of a direction stands in the column whose ``index`` is k. Each is a polynomial of z times
the real or imaginary part of ``(x + iy)^m``, times a norm, which ``norms`` holds.
"""

import triton
import triton.language as tl


@triton.jit
def harmonics(direction, index, norms, DEGREE: tl.constexpr):
    """``[samples columns]``: the first DEGREE^2 harmonics; 0 in all other columns."""
    x, y, z = direction
    real, imaginary = x * 0.0 + 1.0, x * 0.0
    tile = x[:, None] * 0.0 * index[None, :]
    start = 1.0
    for m in tl.static_range(DEGREE):
        before, polynomial = x * 0.0, x * 0.0 + start
        for n in tl.static_range(m, DEGREE):
            if n > m:
                after = ((2 * n - 1) * z * polynomial - (n + m - 1) * before) / (n - m)
                before = polynomial
                polynomial = after
            value = polynomial * real
            tile = tl.where((index == n * n + n + m)[None, :], value[:, None], tile)
            if m > 0:
                value = polynomial * imaginary
                tile = tl.where((index == n * n + n - m)[None, :], value[:, None], tile)
        power = x * real - y * imaginary
        imaginary = x * imaginary + y * real
        real = power
        start = start * -(2 * m + 1)
    known = (index >= 0) & (index < DEGREE * DEGREE)
    return tile * tl.load(norms + index, mask=known, other=0.0)[None, :]


@triton.jit
def chosen(tile, wanted):
    """The column that is ``wanted``, as a vector."""
    return tl.sum(tl.where(wanted[None, :], tile, 0.0), 1)


@triton.jit
def back_to_direction(given, direction, index, norms, DEGREE: tl.constexpr):
    """The gradient to the direction, as three vectors, given that to the harmonics' tile."""
    x, y, z = direction
    known = (index >= 0) & (index < DEGREE * DEGREE)
    given = given * tl.load(norms + index, mask=known, other=0.0)[None, :]
    to_x, to_y, to_z = x * 0.0, x * 0.0, x * 0.0
    real, imaginary = x * 0.0 + 1.0, x * 0.0
    real_before, imaginary_before = x * 0.0, x * 0.0
    start = 1.0
    for m in tl.static_range(DEGREE):
        before, polynomial = x * 0.0, x * 0.0 + start
        slope_before, slope = x * 0.0, x * 0.0
        for n in tl.static_range(m, DEGREE):
            if n > m:
                after = ((2 * n - 1) * z * polynomial - (n + m - 1) * before) / (n - m)
                steeper = (2 * n - 1) * (polynomial + z * slope) - (n + m - 1) * slope_before
                slope_before = slope
                slope = steeper / (n - m)
                before = polynomial
                polynomial = after
            to_real = chosen(given, index == n * n + n + m)
            to_z += to_real * slope * real
            to_x += to_real * polynomial * m * real_before
            to_y -= to_real * polynomial * m * imaginary_before
            if m > 0:
                to_imaginary = chosen(given, index == n * n + n - m)
                to_z += to_imaginary * slope * imaginary
                to_x += to_imaginary * polynomial * m * imaginary_before
                to_y += to_imaginary * polynomial * m * real_before
        real_before, imaginary_before = real, imaginary
        power = x * real - y * imaginary
        imaginary = x * imaginary + y * real
        real = power
        start = start * -(2 * m + 1)
    return to_x, to_y, to_z
