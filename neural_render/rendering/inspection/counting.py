"""How many samples a picture's rays take: what its pixels cost."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.protocols import Field
from neural_render.core.rays import Rays
from neural_render.kernels.records import RenderInputs
from neural_render.rendering.composed import drop_hidden, march_all
from neural_render.rendering.renderer import Renderer
from neural_render.rendering.settings import PICTURE_MIN_TRANSMITTANCE

RAYS_AT_ONCE = 1 << 14  # their samples are in memory together


@torch.no_grad()
def image_counts(
    renderer: Renderer, field: Field, cameras: Cameras, index: int
) -> Int[Tensor, "height width"]:
    """The samples that are asked for their density where camera ``index`` (field frame) looks.

    Those of occupied cells until as little light is left as ends the rays of pictures.
    """
    rays = image_rays(cameras, index).to(renderer.occupancy.bits.device)
    counts = [ray_counts(renderer, field, rays[at]) for at in _pieces(len(rays))]
    height, width = int(cameras.height[index]), int(cameras.width[index])
    return torch.cat(counts).view(height, width)


def ray_counts(renderer: Renderer, field: Field, rays: Rays) -> Int[Tensor, " rays"]:
    """The same of single rays."""
    if not renderer.projection.is_identity:
        rays = renderer.projection.apply_to_rays(rays).rays
    footprint: Float[Tensor, " rays"] = rays.footprint * float(renderer.antialias)
    empty = footprint.new_zeros(len(rays), 0)
    inputs = RenderInputs(
        rays=Rays(origins=rays.origins, directions=rays.directions, footprint=footprint),
        jitter=torch.full_like(footprint, 0.5),
        background=empty,
        conditions=empty,
        occupancy=renderer.occupancy.bits,
    )
    light = max(renderer.march.min_transmittance, PICTURE_MIN_TRANSMITTANCE)
    asked = drop_hidden(field, inputs, march_all(inputs, renderer.march), light)
    return asked.offsets.diff().long()


def _pieces(num_rays: int) -> list[slice]:
    return [slice(at, at + RAYS_AT_ONCE) for at in range(0, num_rays, RAYS_AT_ONCE)]
