"""Which cells of a 128^3 grid some camera sees; the others need never be evaluated.

Cells are tested as balls, in blocks first: a block that is wholly inside one picture is seen, one
that is outside all pictures is not, and only the others are split in eight, down to eight cells.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_render.core.cameras import Cameras, directions_in_camera, project
from neural_render.core.lenses.kinds import maps_angles
from neural_render.core.projection import Projection
from neural_render.kernels.cells import with_neighbours
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.specs import MORTON_RESOLUTION

COARSEST_BLOCKS, FINEST_BLOCKS = 16, 64  # along a side; single cells are not worth their time
PROJECTED_BLOCKS = 64
MAX_PAIRS = 1 << 18  # of a camera and a block, tested at once
BORDER_POINTS = 9  # per side of a picture, to find its widest angle
# The local scale of a picture varies over a ball; lens distortion adds its own.
MARGIN_FACTOR = 1.5


@torch.no_grad()
def seen_cells(cameras: Cameras, side: float, near: float) -> Bool[Tensor, " cells"]:
    """Whether any camera sees a cell beyond the distance ``near``; cells in Morton order.

    The grid is the cube of ``side`` around (0.5, 0.5, 0.5) in the frame of ``cameras``. Cells at
    the rim of a picture count as seen.
    """
    device = cameras.world_from_camera.device
    seen = torch.zeros(MORTON_RESOLUTION**3, dtype=torch.bool, device=device)
    children = torch.arange(8, device=device)
    blocks = torch.arange(COARSEST_BLOCKS**3, device=device)
    widest = widest_angles(cameras)
    resolution = COARSEST_BLOCKS
    while True:
        size = side / resolution
        centers = (morton_decode(blocks) + 0.5) * size + 0.5 - side / 2
        radius = size * math.sqrt(3.0) / 2
        inside, touched = _classify(cameras, widest, centers, radius, near)
        seen.view(resolution**3, -1)[blocks[inside]] = True
        blocks = blocks[touched & ~inside]
        if resolution == FINEST_BLOCKS:
            seen.view(resolution**3, -1)[blocks] = True
            return seen
        blocks = (8 * blocks[:, None] + children).view(-1)
        resolution *= 2


@torch.no_grad()
def seen_projected_cells(cameras: Cameras, projection: Projection) -> Bool[Tensor, " cells"]:
    """Whether any camera sees a cell of the cube that ``projection`` maps the field's frame to.

    Cells in Morton order; whole blocks are judged by their middles, and those beside one that is
    seen count as seen.
    """
    device = cameras.world_from_camera.device
    blocks = torch.arange(PROJECTED_BLOCKS**3, device=device)
    images = (morton_decode(blocks) + 0.5) / PROJECTED_BLOCKS
    points = projection.inverse().apply(images.double()).to(cameras.focal_px)
    seen = torch.zeros(len(blocks), dtype=torch.bool, device=device)
    for camera in range(len(cameras)):
        rest = (~seen).nonzero().squeeze(1)
        pixels, depth = project(cameras, torch.full_like(rest, camera), points[rest])
        size = torch.stack([cameras.width[camera], cameras.height[camera]])
        seen[rest] = (depth > 0) & ((pixels >= 0) & (pixels <= size)).all(1)
    cells = seen.repeat_interleave((MORTON_RESOLUTION // PROJECTED_BLOCKS) ** 3)
    for _ in range(MORTON_RESOLUTION // PROJECTED_BLOCKS):
        cells = with_neighbours(cells[None])[0]
    return cells


def widest_angles(cameras: Cameras) -> Float[Tensor, " cameras"]:
    """The greatest angle between the axis and a ray of each picture, in radians.

    It tells the picture from what a distorted lens folds into it from outside.
    """
    kind = {"device": cameras.focal_px.device, "dtype": cameras.focal_px.dtype}
    steps = torch.linspace(0, 1, BORDER_POINTS, **kind)
    zero, one = torch.zeros_like(steps), torch.ones_like(steps)
    border = torch.cat(
        [
            torch.stack(pair, dim=-1)
            for pair in ((steps, zero), (steps, one), (zero, steps), (one, steps))
        ]
    )
    index = torch.arange(len(cameras), device=cameras.lens.device)
    sizes = torch.stack([cameras.width, cameras.height], dim=-1).to(border.dtype)
    pixels = (border * sizes[:, None]).view(-1, 2)
    index = index.repeat_interleave(len(border))
    directions, _, _ = directions_in_camera(cameras, index, pixels)
    cosine = directions[:, 2].view(len(cameras), -1).amin(dim=1)
    return cosine.clamp(-1, 1).acos()


def _classify(
    cameras: Cameras,
    widest: Float[Tensor, " cameras"],
    centers: Float[Tensor, "blocks 3"],
    radius: float,
    near: float,
) -> tuple[Bool[Tensor, " blocks"], Bool[Tensor, " blocks"]]:
    """Which balls are wholly inside some picture, and which touch one."""
    inside = torch.zeros(len(centers), dtype=torch.bool, device=centers.device)
    touched = inside.clone()
    start = 0
    while start < len(cameras):
        rest = (~inside).nonzero().squeeze(1)
        if len(rest) == 0:
            break
        stop = min(len(cameras), start + max(1, MAX_PAIRS // len(rest)))
        cameras_here = torch.arange(start, stop, device=centers.device)
        index = cameras_here.repeat(len(rest))
        points = centers[rest].repeat_interleave(len(cameras_here), dim=0)
        pair_inside, pair_touched = _pairs(cameras, widest, index, points, (radius, near))
        inside[rest] = pair_inside.view(len(rest), -1).any(dim=1)
        touched[rest] |= pair_touched.view(len(rest), -1).any(dim=1)
        start = stop
    return inside, touched


def _pairs(
    cameras: Cameras,
    widest: Float[Tensor, " cameras"],
    index: Int[Tensor, " pairs"],
    points: Float[Tensor, "pairs 3"],
    radius_and_near: tuple[float, float],
) -> tuple[Bool[Tensor, " pairs"], Bool[Tensor, " pairs"]]:
    """Whether a ball is wholly inside a camera's picture, and whether it touches it."""
    radius, near = radius_and_near
    pixels, depth = project(cameras, index, points)
    distance = (points - cameras.world_from_camera[index, :, 3]).norm(dim=-1)
    around = distance < 2 * radius  # the camera is in the ball or next to it
    ball_angle = (radius / distance.clamp(min=2 * radius)).asin()
    angle = (depth / distance.clamp(min=1e-12)).clamp(-1, 1).acos()
    perspective = ~maps_angles(cameras.lens)[index]
    unsure = perspective & (depth < radius)  # partly beside or behind a pinhole
    cosine = torch.where(perspective & ~unsure, depth / distance.clamp(min=1e-12), 1.0)
    focal = cameras.focal_px[index].amax(dim=-1)
    margin = MARGIN_FACTOR * focal * ball_angle / cosine.square()
    size = torch.stack([cameras.width[index], cameras.height[index]], dim=-1)
    room = torch.minimum(pixels, size - pixels).amin(dim=-1)  # to the nearest rim, outside: < 0
    in_cone = angle - ball_angle <= widest[index]
    touched = around | (in_cone & (unsure | (room > -margin)))
    inside = ~around & ~unsure & in_cone & (room > margin)
    return inside & (distance - radius > near), touched & (distance + radius > near)
