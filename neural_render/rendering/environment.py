"""A picture of all that is far away, behind scenes (see ``core.lenses.latlong``)."""

import math
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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
        self,
        directions: Float[Tensor, "height width 3"],
        wanted: Bool[Tensor, "height width"],
        pixel: float = 1.0,
    ) -> Float[Tensor, "height width 3"]:
        """What is seen of it alone in a picture whose pixels look in ``directions`` of the world,
        averaged over each pixel that is ``wanted``; the others are black.

        ``pixel`` is the share of a pixel's width and height that is averaged over; 0: none, which
        suits directions that differ from pixel to pixel at random.
        """
        flat = directions.flatten(0, 1)
        seen = torch.zeros_like(flat)
        places = wanted.to(flat.device).flatten().nonzero()[:, 0]
        across, down = (pixel * _steps(directions, dim).flatten(0, 1) for dim in (1, 0))
        pixel_rad = max(step.norm(dim=-1).amax().item() for step in (across, down))
        texel_rad = math.tau / self.picture.shape[1]
        count = min(max(math.ceil(2 * pixel_rad / texel_rad), 1), MOST_LOOKUPS)
        shares = [(part + 0.5) / count - 0.5 for part in range(count)]
        for part in places.split(PIXELS_AT_ONCE):
            for x, y in product(shares, shares):
                toward = flat[part] + x * across[part] + y * down[part]
                toward = torch.nn.functional.normalize(toward, dim=-1)
                seen[part] += self.radiance(toward) / count**2
        return seen.view_as(directions)


def _steps(directions: Float[Tensor, "height width 3"], dim: int) -> Tensor:
    """How directions change from one pixel to the next; none where there is no other."""
    if directions.shape[dim] < 2:
        return torch.zeros_like(directions)
    return torch.gradient(directions, dim=dim)[0]
