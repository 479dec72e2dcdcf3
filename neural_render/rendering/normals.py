"""Which way surfaces face: where density falls fastest around what a ray sees.

Legend: s density per field unit, h half a step of the differences, a = 1 - exp(-2 h s) the opacity
of so much of the medium. a falls where s falls; but it is bounded, so that the arbitrary densities
inside of things do not drown the surface.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.projection import IDENTITY_PROJECTION, Projection
from neural_render.core.protocols import Field
from neural_render.core.rays import Rays
from neural_render.rendering.renderer import Renderer

POINTS_AT_ONCE = 1 << 18
FLAT = 1e-6  # a change of opacity over a step that says nothing


@torch.no_grad()
def surface_normals(
    field: Field,
    points: Float[Tensor, "samples 3"],
    radius: Float[Tensor, " samples"],
    projection: Projection = IDENTITY_PROJECTION,
) -> Float[Tensor, "samples 3"]:
    """Unit vectors (field frame) from dense to empty space; zero where density does not change.

    By central differences, ``radius`` being h, for any field. ``points`` and the result are in the
    field's frame; ``projection`` leads to the cube of its parameters. Not differentiable.
    """
    axes = torch.eye(3, dtype=points.dtype, device=points.device)
    found = torch.zeros_like(points)
    for start in range(0, len(points), POINTS_AT_ONCE):
        here, h = points[start : start + POINTS_AT_ONCE], radius[start : start + POINTS_AT_ONCE]
        steps = h[:, None, None] * torch.cat([axes, -axes])
        around = (here[:, None] + steps).view(-1, 3)
        s = field.density(projection.apply(around)).view(-1, 2, 3)
        a = -torch.expm1(-2 * h[:, None, None] * s)
        falls = a[:, 1] - a[:, 0]
        length = falls.norm(dim=-1, keepdim=True)
        found[start : start + POINTS_AT_ONCE] = torch.where(
            length > FLAT, falls / length.clamp(min=FLAT), 0.0
        )
    return found


def image_normals(
    renderer: Renderer,
    field: Field,
    cameras: Cameras,
    index: int,
    distance: Float[Tensor, "height width"],
) -> Float[Tensor, "height width 3"]:
    """The surfaces' normals (field frame) where camera ``index`` (field frame) sees them.

    ``distance`` is that of its `Image`; where it is 0, and nothing is, so is the normal. A
    difference is as wide as a step of the renderer or a pixel there, whichever is more.
    """
    rays = image_rays(cameras, index).to(distance.device)
    found = ray_normals(renderer, field, rays, distance.flatten())
    return found.view(*distance.shape, 3)


def ray_normals(
    renderer: Renderer, field: Field, rays: Rays, distance: Float[Tensor, " rays"]
) -> Float[Tensor, "rays 3"]:
    """``image_normals`` of any rays (field frame)."""
    seen = distance > 0
    t = distance[seen]
    points = rays.origins[seen] + t[:, None] * rays.directions[seen]
    radius = (rays.footprint[seen] * t).clamp(min=renderer.march.step)
    normals = distance.new_zeros(len(distance), 3)
    normals[seen] = surface_normals(field, points, radius, renderer.projection)
    return normals
