"""A picture of all that is far away, in the latitude-longitude format of Mitsuba's ``envmap``.

Legend: (x, y, z) a unit direction in the environment's axes, y up; u = atan2(x, -z) / 2 pi from the
picture's left, v = acos(y) / pi from its top. Columns are pixel centres and wrap around; the first
row is the upper pole, the last one the lower.

Source: Mitsuba 3, src/emitters/envmap.cpp (``eval`` and ``eval_spectrum``).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, image_rays

LOOKUPS_PER_SIDE = 4  # of each pixel: a sun is smaller than a pixel


@dataclass(frozen=True, kw_only=True)
class EnvironmentMap:
    """Scene-linear radiance from all around, at unit emission of the group ``environment``."""

    picture: Float[Tensor, "height width 3"]
    world_from_environment: Float[Tensor, "3 3"]  # a rotation

    def radiance(self, directions: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
        """What is seen in directions of the world, bilinearly."""
        height, width = self.picture.shape[:2]
        x, y, z = (directions @ self.world_from_environment.to(directions)).unbind(1)
        across = torch.atan2(x, -z) / math.tau * width - 0.5
        down = torch.atan2(torch.hypot(x, z), y) / math.pi * (height - 1)
        left = across.floor()
        top = down.floor().clamp(0, max(height - 2, 0))
        right_part, lower_part = (across - left)[:, None], (down - top)[:, None]
        column, row = left.long() % width, top.long()
        next_column, next_row = (column + 1) % width, (row + 1).clamp(max=height - 1)
        picture = self.picture.to(directions)
        upper = torch.lerp(picture[row, column], picture[row, next_column], right_part)
        lower = torch.lerp(picture[next_row, column], picture[next_row, next_column], right_part)
        return torch.lerp(upper, lower, lower_part)

    def behind(self, cameras: Cameras, index: int) -> Float[Tensor, "height width 3"]:
        """What camera ``index`` (in the world) would see of it alone, averaged over each pixel."""
        width, height = int(cameras.width[index]), int(cameras.height[index])
        fine = cameras[index : index + 1].resized(
            width * LOOKUPS_PER_SIDE, height * LOOKUPS_PER_SIDE
        )
        seen = self.radiance(image_rays(fine, 0).directions)
        return seen.view(height, LOOKUPS_PER_SIDE, width, LOOKUPS_PER_SIDE, 3).mean(dim=(1, 3))
