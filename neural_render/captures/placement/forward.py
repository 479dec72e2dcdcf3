"""Captures from one side: the view that all cameras share, and how its space fills the cube.

Cells are then even in disparity, as parallax is: what is twice as far away is half as finely
divided, and all that lies ahead has its place, however far it is.

Legend: z depth along the mean axis of the cameras, from their middle; slopes x/z and y/z.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from neural_render.captures.placement.regions import narrower_tangent
from neural_render.captures.placement.seen_space import NEAREST_SHARE, SeenSpace
from neural_render.core.cameras import Cameras, rays_through_pixels
from neural_render.core.flight.paths import is_forward_facing
from neural_render.core.projection import forward_projection
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity

# Of the depth of the nearest places: points are found on things, not in front of them.
NEAR_MARGIN = 0.9
# Where nothing is known, nothing is nearer than this many times what the cameras are apart.
GUESSED_NEAR = 1.0
# The shared view is at most so much wider than one picture: beyond, too few photos show the same.
LARGEST_WIDENING = 4.0
RIM = 1.02
BORDER_STEPS = 9  # places along each side of a picture, for bent lenses


def forward_frame(cameras: Cameras, seen: SeenSpace) -> tuple[SceneFrame | None, str]:
    """The frame of a forward-facing scene and what it is like; None, and the reason against it.

    The field's unit of length is the depth of the nearest things, its origin the cameras' middle.
    """
    if not is_forward_facing(cameras):
        return None, "the cameras do not look the same way"
    poses = cameras.world_from_camera.double()
    middle, rotation = poses[:, :, 3].mean(0), _mean_rotation(poses)
    near = _near(cameras, seen, middle, rotation)
    foremost = float(((poses[:, :, 3] - middle) @ rotation[:, 2]).max())
    if not near > foremost:
        return None, "things lie beside or behind some cameras"
    origins, directions = _border_rays(cameras, middle, rotation)
    if not bool((directions[:, 2] > 0).all()):
        return None, "the cameras see more than what lies ahead"
    first = origins + ((near - origins[:, 2]) / directions[:, 2])[:, None] * directions
    ends = torch.cat([first[:, :2] / near, directions[:, :2] / directions[:, 2:]])
    low, high = ends.amin(0), ends.amax(0)
    # One picture's height or width, whichever is less, against the same of the shared view.
    widening = float((high - low).min()) / (2 * float(narrower_tangent(cameras).median()))
    if widening > LARGEST_WIDENING:
        return None, f"together they see {widening:.1f} times as wide as one of them"
    center, half = (low + high) / 2, RIM * (high - low) / 2
    (left, top), (right, bottom) = (center - half).tolist(), (center + half).tolist()
    x, y, z = middle.tolist()
    frame = SceneFrame(
        world_from_field=Similarity(scale=near, translation=(x, y, z)),
        cascades=1,
        near=0.0,
        projection=forward_projection(
            rotation=rotation,
            position=torch.zeros(3),
            slopes=((left, right), (top, bottom)),
            near=1.0,
        ),
    )
    how = "the points or bounds say" if seen.is_known else "is guessed from how they are apart"
    return frame, (
        f"the cameras look the same way and nothing is nearer than {near:.3g} world units, {how}"
    )


def _mean_rotation(poses: Float64[Tensor, "cameras 3 4"]) -> Float64[Tensor, "3 3"]:
    """The rotation nearest to the mean of the cameras' (its polar factor)."""
    left, _, right = torch.linalg.svd(poses[:, :, :3].mean(0))
    return left @ right


def _near(
    cameras: Cameras,
    seen: SeenSpace,
    middle: Float64[Tensor, "3"],
    rotation: Float64[Tensor, "3 3"],
) -> float:
    """The depth before which nothing is."""
    if seen.is_known:
        depth = (seen.places - middle) @ rotation[:, 2]
        return NEAR_MARGIN * float(depth.quantile(NEAREST_SHARE))
    offsets = cameras.world_from_camera[:, :, 3].double() - middle
    spread = float(offsets.norm(dim=-1).max())
    return float((offsets @ rotation[:, 2]).max()) + GUESSED_NEAR * spread


def _border_rays(
    cameras: Cameras, middle: Float64[Tensor, "3"], rotation: Float64[Tensor, "3 3"]
) -> tuple[Float64[Tensor, "rays 3"], Float64[Tensor, "rays 3"]]:
    """Rays through the borders of all pictures, in the axes of the shared view."""
    steps = torch.linspace(0, 1, BORDER_STEPS)
    zero, one = torch.zeros_like(steps), torch.ones_like(steps)
    sides = ((steps, zero), (steps, one), (zero, steps), (one, steps))
    border = torch.cat([torch.stack(side, dim=-1) for side in sides])
    index = torch.arange(len(cameras)).repeat_interleave(len(border))
    size = torch.stack([cameras.width, cameras.height], dim=-1)[index]
    pixels = border.repeat(len(cameras), 1) * size
    rays = rays_through_pixels(cameras, index, pixels.to(cameras.focal_px))
    return (rays.origins.double() - middle) @ rotation, rays.directions.double() @ rotation
