"""A picture of all that is far away, in the latitude-longitude format of Mitsuba's ``envmap``.

Legend: (x, y, z) a unit direction in the environment's axes, y up; u = atan2(x, -z) / 2 pi from the
picture's left, v = acos(y) / pi from its top. Columns are pixel centres and wrap around; the first
row is the upper pole, the last one the lower.

Source: Mitsuba 3, src/emitters/envmap.cpp (``eval`` and ``eval_spectrum``).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.cameras import Cameras, pixel_centers, rays_through_pixels

MOST_LOOKUPS = 4  # along each side of a pixel that is larger than the environment's
PIXELS_AT_ONCE = 1 << 17


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

    def behind(
        self, cameras: Cameras, index: int, wanted: Bool[Tensor, "height width"]
    ) -> Float[Tensor, "height width 3"]:
        """What camera ``index`` (in the world) would see of it alone, averaged over each pixel that
        is ``wanted``; the others are black."""
        centers = pixel_centers(cameras, index)
        seen = centers.new_zeros(len(centers), 3)
        places = wanted.to(centers.device).flatten().nonzero()[:, 0]
        texel_rad = math.tau / self.picture.shape[1]
        pixel_rad = 1 / float(cameras.focal_px[index].min())
        count = min(math.ceil(2 * pixel_rad / texel_rad), MOST_LOOKUPS)
        steps = (torch.arange(count) + 0.5) / count - 0.5
        offsets = torch.cartesian_prod(steps, steps).to(centers)
        for part in places.split(PIXELS_AT_ONCE):
            camera = torch.full_like(part, index)
            for offset in offsets:
                rays = rays_through_pixels(cameras, camera, centers[part] + offset)
                seen[part] += self.radiance(rays.directions) / len(offsets)
        return seen.view(*wanted.shape, 3)
