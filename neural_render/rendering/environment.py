"""A picture of all that is far away, behind scenes (see ``core.lenses.latlong``)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.cameras import Cameras, pixel_centers, rays_through_pixels
from neural_render.core.lenses.latlong import look_up

MOST_LOOKUPS = 4  # along each side of a pixel that is larger than the environment's
PIXELS_AT_ONCE = 1 << 17


@dataclass(frozen=True, kw_only=True)
class EnvironmentMap:
    """Scene-linear radiance from all around, at unit emission of the group ``environment``."""

    picture: Float[Tensor, "height width 3"]
    world_from_environment: Float[Tensor, "3 3"]  # a rotation

    def radiance(self, directions: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
        """What is seen in directions of the world, bilinearly."""
        turned = directions @ self.world_from_environment.to(directions)
        return look_up(self.picture.to(directions), turned)

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
