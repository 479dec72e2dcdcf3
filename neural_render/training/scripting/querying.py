"""What a scene is at points of the world, where its renderer would look.

Legend: x a point and d a unit direction in the world, f the field's frame, p its image in the
field's cube (``SceneFrame.projection``), J d what a short way along d becomes in the cube, which is
|J d| times as long. Light through a length is dimmed alike in both: density in the world is that of
the cube times |J d|. A field's directions are those of the cube too, J d / |J d|.
"""

from itertools import product

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neural_render.core.projection import Projection
from neural_render.core.protocols import SceneFrame
from neural_render.export.geometry.subject import looked_up
from neural_render.kernels.cells import unpack_bits
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.specs import MORTON_RESOLUTION
from neural_render.training.runs.restore import TrainedScene

POINTS_AT_ONCE = 1 << 18


@torch.no_grad()
def query_world(
    scene: TrainedScene,
    points: Float[Tensor, "samples 3"],
    directions: Float[Tensor, "samples 3"],
    conditions: Float[Tensor, " conditions"],
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
    """Density per world unit and radiance of all channels; zero where nothing is ever sampled.

    What a field says of space that no camera saw, or that was found empty, was never fitted.
    """
    density = points.new_zeros(len(points))
    radiance = points.new_zeros(len(points), scene.field.num_channels)
    occupied = torch.nn.functional.pad(unpack_bits(scene.renderer.occupancy.bits), (0, 1))
    for start in range(0, len(points), POINTS_AT_ONCE):
        here = slice(start, start + POINTS_AT_ONCE)
        places, ways, stretch = into_cube(points[here], directions[here], scene.frame)
        seen = looked_up(occupied, places).nonzero()[:, 0]
        if not len(seen):
            continue
        told = conditions.to(places).repeat(1, 1) if len(conditions) else None
        index = torch.zeros_like(seen) if len(conditions) else None
        found = scene.field.query(places[seen], ways[seen], told, index)
        density[here][seen] = found[0] * stretch[seen]
        radiance[here][seen] = found[1]
    return density, radiance


def world_bounds(
    frame: SceneFrame, occupied: UInt8[Tensor, "cascades bytes"]
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """The corners of a box outside of which there is nothing, in the world.

    It is the cube's, but where that reaches to infinity: there it is one around occupied cells,
    the last layer of which is cut at its middle.
    """
    corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    if not frame.projection.is_identity:
        (cells,) = unpack_bits(occupied.cpu()).any(0).nonzero(as_tuple=True)
        places = morton_decode(cells).float()
        last = MORTON_RESOLUTION - 0.5
        back, seen = frame.projection.inverse(), [corners[:0]]
        for corner in product((0.0, 1.0), repeat=3) if len(places) else ():
            image = (places + torch.tensor(corner)).clamp(max=last) / MORTON_RESOLUTION
            inside = back.apply(image)
            seen += [inside.amin(0, keepdim=True), inside.amax(0, keepdim=True)]
        found = torch.cat(seen)
        corners = torch.stack([found.amin(0), found.amax(0)]) if len(found) else 0 * corners
    low, high = frame.world_from_field.apply(corners)
    return low, high


def into_cube(
    points: Float[Tensor, "samples 3"], directions: Float[Tensor, "samples 3"], frame: SceneFrame
) -> tuple[Float[Tensor, "samples 3"], Float[Tensor, "samples 3"], Float[Tensor, " samples"]]:
    """World points and unit directions in the field's cube, and how much a way stretches."""
    place = frame.world_from_field.inverse()
    inside = place.apply(points)
    if frame.projection.is_identity:
        return inside, directions, torch.full_like(points[:, 0], place.scale)
    image = frame.projection.apply(inside)
    ways = _image_ways(frame.projection, inside, image, directions)
    stretch = ways.norm(dim=1)
    return image, ways / stretch[:, None].clamp(min=1e-12), place.scale * stretch


def _image_ways(
    projection: Projection,
    points: Float[Tensor, "samples 3"],
    image: Float[Tensor, "samples 3"],
    directions: Float[Tensor, "samples 3"],
) -> Float[Tensor, "samples 3"]:
    """J d, before the camera plane: with P = H (x, 1) and Q = H (d, 0), J d = (Q - p Q_w) / P_w."""
    matrix = points.new_tensor(projection.matrix).view(4, 4)
    way = directions @ matrix[:, :3].T
    depth = points @ matrix[3, :3] + matrix[3, 3]
    return (way[:, :3] - image * way[:, 3:]) / depth.clamp(min=1e-12)[:, None]
