"""What the middle of each frame shows is in focus, and the focus follows it smoothly."""

import math
from collections.abc import Callable

import torch

from neural_render.core.cameras import Cameras, rays_through_pixels
from neural_render.rendering.images import seen_along
from neural_render.training.films.exposing import Subject

MIDDLE = 0.1  # of the picture's width and height: what is looked at
RAYS_ACROSS = 16
REACH = 8  # frames on either side that a frame's focus is averaged with
SIGMA = 4.0  # frames
FURTHER = (0.4, 1.0)  # shares of the picture that are looked at where nothing is in its middle


def auto_focus(subject: Subject, cameras: Cameras, *, along_path: bool) -> Callable[[int], float]:
    """Tells the depth in focus of a frame, in the world's units.

    The median depth in the middle of the picture; ``along_path``, its mean over neighbouring
    frames, of the inverses, since blur goes with these. Where a picture shows nothing at all, 1.
    """
    known: dict[int, float] = {}

    def measured(index: int) -> float:
        if index not in known:
            shares = (MIDDLE, *FURTHER)
            depths = (median_depth(subject, cameras, index, share) for share in shares)
            known[index] = next((depth for depth in depths if depth > 0), 0.0)
        return known[index]

    def focus(index: int) -> float:
        reach = REACH if along_path else 0
        near = range(max(index - reach, 0), min(index + reach + 1, len(cameras)))
        weights = {frame: math.exp(-(((frame - index) / SIGMA) ** 2) / 2) for frame in near}
        seen = {frame: weight for frame, weight in weights.items() if measured(frame) > 0}
        if not seen:
            return 1.0
        inverse = sum(weight / measured(frame) for frame, weight in seen.items())
        return sum(seen.values()) / inverse

    return focus


def median_depth(subject: Subject, cameras: Cameras, index: int, share: float) -> float:
    """The median depth (world's units) of what is more seen than not in the middle of a picture;
    0 where nothing is. ``share`` of its width and height is looked at."""
    size = cameras.focal_px.new_tensor([int(cameras.width[index]), int(cameras.height[index])])
    steps = (torch.arange(RAYS_ACROSS) + 0.5) / RAYS_ACROSS - 0.5
    pixels = size * (0.5 + share * torch.cartesian_prod(steps, steps).to(size))
    rays = rays_through_pixels(cameras, torch.full((len(pixels),), index), pixels)
    with torch.inference_mode():
        _, opacity, distance = seen_along(
            subject.renderer,
            subject.field,
            subject.in_field(rays),
            subject.over,
            subject.conditions,
        )
    forward = cameras.world_from_camera[index, :, 2]
    depth = distance.cpu() * (rays.directions @ forward) * subject.frame.world_from_field.scale
    depth = depth[(opacity.cpu() > 0.5) & (depth > 0)]
    return depth.median().item() if len(depth) else 0.0
