"""Pictures of all directions in the latitude-longitude format of Mitsuba's ``envmap``.

Legend: (x, y, z) a unit direction, y up; u = atan2(x, -z) / 2 pi from the picture's left,
v = acos(y) / pi from its top. Columns are pixel centres and wrap around; the first row is the upper
pole, the last one the lower.

Source: Mitsuba 3, src/emitters/envmap.cpp (``eval`` and ``eval_spectrum``).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def look_up(
    picture: Float[Tensor, "height width channels"], directions: Float[Tensor, "rays 3"]
) -> Float[Tensor, "rays channels"]:
    """The picture's values in unit ``directions``, bilinearly; differentiable in both, in
    directions but at the poles."""
    height, width = picture.shape[:2]
    x, y, z = directions.unbind(1)
    across = torch.atan2(x, -z) / math.tau * width - 0.5
    down = torch.atan2(torch.hypot(x, z), y) / math.pi * (height - 1)
    left = across.detach().floor()
    top = down.detach().floor().clamp(0, max(height - 2, 0))
    right_part, lower_part = (across - left)[:, None], (down - top)[:, None]
    column, row = left.long() % width, top.long() * width
    next_column, next_row = (column + 1) % width, (row + width).clamp(max=(height - 1) * width)
    texels = picture.flatten(0, 1)

    def at(row: Tensor, column: Tensor) -> Tensor:
        return texels.index_select(0, row + column)

    upper = torch.lerp(at(row, column), at(row, next_column), right_part)
    lower = torch.lerp(at(next_row, column), at(next_row, next_column), right_part)
    return torch.lerp(upper, lower, lower_part)
