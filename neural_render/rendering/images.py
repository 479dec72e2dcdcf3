"""Whole pictures, in pieces that fit into caches and can be interrupted."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.core.cameras import Cameras, image_directions, rays_from_pose
from neural_render.core.protocols import Field, knows_far
from neural_render.core.rays import Rays
from neural_render.kernels import dispatch
from neural_render.rendering.renderer import Renderer

RAYS_AT_ONCE = 1 << 18
CPU = torch.device("cpu")
SAMPLED_AT_ONCE = 1 << 16  # where a piece's samples are all in memory together
PIXELS_AT_ONCE = 1 << 21  # larger pictures are made in bands: a pixel's ray takes a hundred bytes
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
    """What camera ``index`` of ``cameras`` (field frame) sees; the same each time, bit for bit.

    Colours are gathered as ``Renderer.for_pictures`` says. Where the field knows what is far, its
    opacity is 1 everywhere.
    """
    width, height = int(cameras.width[index]), int(cameras.height[index])
    if width * height > PIXELS_AT_ONCE and height > TILE:
        return _in_bands(renderer, field, cameras, index, background, conditions)
    pose = cameras.world_from_camera[index]
    directions, footprint = tiled_lens(lens_numbers(cameras, index), TILE, pose.device)
    rays = rays_from_pose(pose, directions.to(pose), footprint.to(pose))
    return image_of_tiles(renderer, field, rays, (width, height), background, conditions)


@torch.no_grad()
def image_of_tiles(
    renderer: Renderer,
    field: Field,
    rays: Rays,
    size: tuple[int, int],
    background: Float[Tensor, " channels"],
    conditions: Float[Tensor, " conditions"] | None = None,
) -> Image:
    """What ``rays`` (field frame) see as a picture of ``size`` (width, height).

    There is one ray for each pixel, in the order of ``tiled_order`` with tiles of ``TILE`` pixels.
    """
    width, height = size
    values, opacity, distance = seen_along(renderer, field, rays, background, conditions)
    place = tiled_order(width, height, TILE, background.device)[1]
    return Image(
        color=values.index_select(0, place).view(height, width, -1),
        opacity=opacity.index_select(0, place).view(height, width),
        distance=distance.index_select(0, place).view(height, width),
    )


@torch.no_grad()
def seen_along(
    renderer: Renderer,
    field: Field,
    rays: Rays,
    background: Float[Tensor, " channels"],
    conditions: Float[Tensor, " conditions"] | None = None,
) -> tuple[Float[Tensor, "rays channels"], Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """The values, the opacity and the distance of each ray (field frame), as in pictures.

    Where the field knows what is far, and a ray sees more of that than of anything nearer, its
    distance is 0.
    """
    device = background.device
    rays = rays.to(device)
    sparing = renderer.for_pictures()
    at_once = SAMPLED_AT_ONCE if field.fused_view() is None else RAYS_AT_ONCE
    if at_once == RAYS_AT_ONCE and device.type != "cpu":
        at_once = getattr(dispatch.active(), "RAYS_AT_ONCE", at_once)
    pieces = []
    for start in range(0, max(len(rays), 1), at_once):
        here = rays[start : start + at_once]
        seen = sparing.render(
            field,
            here,
            background=rows_of(tuple(background.tolist()), len(here), device),
            jitter=rows_of((0.5,), len(here), device).view(-1),
            conditions=None if conditions is None else conditions.repeat(len(here), 1),
        )
        pieces.append((seen.values, seen.opacity, seen.distance))
    values, opacity, distance = (
        parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*pieces, strict=True)
    )
    if knows_far(field):
        # What is far covers all that is behind, and is at no distance.
        distance = distance.where(opacity > 0.5, 0.0)
        opacity = torch.ones_like(opacity)
    return values, opacity, distance


def _in_bands(
    renderer: Renderer,
    field: Field,
    cameras: Cameras,
    index: int,
    background: Float[Tensor, " channels"],
    conditions: Float[Tensor, " conditions"] | None,
) -> Image:
    """``render_image`` of some rows at a time, by cameras that see no others."""
    width, height = int(cameras.width[index]), int(cameras.height[index])
    rows = max(1, PIXELS_AT_ONCE // width // TILE) * TILE
    color = torch.empty(height, width, len(background), device=background.device)
    opacity, distance = torch.empty(2, height, width, device=background.device).unbind()
    for top in range(0, height, rows):
        here = slice(top, min(top + rows, height))
        band = replace(
            cameras,
            center_px=cameras.center_px - cameras.center_px.new_tensor([0, top]),
            height=torch.full_like(cameras.height, here.stop - top),
        )
        image = render_image(renderer, field, band, index, background, conditions)
        color[here], opacity[here], distance[here] = image.color, image.opacity, image.distance
    return Image(color=color, opacity=opacity, distance=distance)


@lru_cache(maxsize=8)
def rows_of(
    values: tuple[float, ...], count: int, device: torch.device = CPU
) -> Float[Tensor, "count values"]:
    """The same values in each row: never to be written to, as all pictures share them."""
    return torch.tensor(values, device=device).repeat(count, 1)


@dataclass(frozen=True, kw_only=True)
class LensNumbers:
    """All that the directions of a picture's pixels depend on, as numbers that can be compared."""

    focal_px: tuple[float, float]
    center_px: tuple[float, float]
    distortion: tuple[float, ...]
    lens: int
    width: int
    height: int


def lens_numbers(cameras: Cameras, index: int) -> LensNumbers:
    """Those of one camera."""
    return LensNumbers(
        focal_px=tuple(cameras.focal_px[index].tolist()),
        center_px=tuple(cameras.center_px[index].tolist()),
        distortion=tuple(cameras.distortion[index].tolist()),
        lens=int(cameras.lens[index]),
        width=int(cameras.width[index]),
        height=int(cameras.height[index]),
    )


# Of 16 bytes a pixel, 32 MiB for a band of ``PIXELS_AT_ONCE``: a film of 3840 x 2160 has four.
@lru_cache(maxsize=8)
def tiled_lens(
    numbers: LensNumbers, tile: int, device: torch.device = CPU
) -> tuple[Float[Tensor, "pixels 3"], Float[Tensor, " pixels"]]:
    """``image_directions`` tile by tile; the pictures of a film or a test split share them."""
    camera = Cameras(
        world_from_camera=torch.eye(4)[None, :3],
        focal_px=torch.tensor([numbers.focal_px]),
        center_px=torch.tensor([numbers.center_px]),
        distortion=torch.tensor([numbers.distortion]),
        lens=torch.tensor([numbers.lens]),
        width=torch.tensor([numbers.width]),
        height=torch.tensor([numbers.height]),
    )
    directions, footprint = image_directions(camera, 0)
    order, _ = tiled_order(numbers.width, numbers.height, tile)
    return directions[order].to(device), footprint[order].to(device)


@lru_cache(maxsize=4)
def tiled_order(
    width: int, height: int, tile: int, device: torch.device = CPU
) -> tuple[Int[Tensor, " pixels"], Int[Tensor, " pixels"]]:
    """Row-major indices of all pixels, tile by tile, so that neighbours are soon after another, and
    the place of each pixel, row by row, among them."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across = (width + tile - 1) // tile
    rank = ((y // tile) * across + x // tile) * tile * tile + (y % tile) * tile + x % tile
    order = rank.view(-1).argsort()
    return order.to(device), order.argsort().to(device)
