"""Whole pictures, in pieces that fit into caches and can be interrupted."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.protocols import Field
from neural_render.rendering.renderer import Renderer

RAYS_AT_ONCE = 1 << 16
TILE = 16  # pixels along a side: rays of a tile go through the same cells, one after another


@dataclass(frozen=True, kw_only=True)
class Image:
    """A rendered picture in the run's colour space, composited over its background.

    ``distance`` is the expected distance along each ray in field units, 0 where nothing is.
    """

    color: Float[Tensor, "height width channels"]
    opacity: Float[Tensor, "height width"]
    distance: Float[Tensor, "height width"]

    def to(self, device: torch.device) -> "Image":
        """The same picture on another device."""
        return Image(
            color=self.color.to(device),
            opacity=self.opacity.to(device),
            distance=self.distance.to(device),
        )


@torch.no_grad()
def render_image(
    renderer: Renderer,
    field: Field,
    cameras: Cameras,
    index: int,
    background: Float[Tensor, " channels"],
    conditions: Float[Tensor, " conditions"] | None = None,
) -> Image:
    """What camera ``index`` of ``cameras`` (field frame) sees; the same each time, bit for bit."""
    width, height = int(cameras.width[index]), int(cameras.height[index])
    device = background.device
    order = tiled_order(width, height, TILE).to(device)
    rays = image_rays(cameras, index).to(device)
    color = background.new_empty((width * height, len(background)))
    opacity, distance = background.new_empty((2, width * height)).unbind(0)
    for pixels in order.split(RAYS_AT_ONCE):
        here = rays[pixels]
        seen = renderer.render(
            field,
            here,
            background=background.repeat(len(here), 1),
            jitter=torch.full_like(here.footprint, 0.5),
            conditions=None if conditions is None else conditions.repeat(len(here), 1),
        )
        color[pixels], opacity[pixels], distance[pixels] = seen.values, seen.opacity, seen.distance
    return Image(
        color=color.view(height, width, -1),
        opacity=opacity.view(height, width),
        distance=distance.view(height, width),
    )


@lru_cache(maxsize=4)
def tiled_order(width: int, height: int, tile: int) -> Int[Tensor, " pixels"]:
    """Row-major indices of all pixels, tile by tile, so that neighbours come soon after another."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across = (width + tile - 1) // tile
    rank = ((y // tile) * across + x // tile) * tile * tile + (y % tile) * tile + x % tile
    return rank.view(-1).argsort()
