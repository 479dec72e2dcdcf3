"""Where splats begin: places on surfaces that renders see, and flat splats that lie there.

Legend: t distance along a pixel's ray, d its direction. A pixel's *size* is how wide it is at t.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_render.core.cameras import Cameras, rays_through_pixels
from neural_render.core.transforms import quat_wxyz_from_rotation
from neural_render.kernels.splats.records import Splats
from neural_render.rendering import Image
from neural_render.rendering.normals import surface_normals
from neural_render.training.runs.restore import TrainedScene

DC = 0.28209479177387814  # the harmonic of degree 0, 1 / sqrt(4 pi)
PIXEL_SIGMAS = math.sqrt(12.0)  # a pixel's width over its footprint
SEEN = 0.5  # opacity of what is worth a splat
DETAIL = 3.0  # how much rather a splat is where a picture changes as it does on average
MOST_DETAIL = 5.0  # times the average
EDGE = 0.1  # how much rather not where a pixel sees two surfaces, whose mean lies between them
EDGE_STEP = 0.02  # of the distance, from pixel to pixel
FAR_RADIUS = 1.5  # field units from the cube's centre: where what is far beyond it is put
CROWD = 6.0  # places in a cell from which their spacing is told
FIRST_OPACITY = 0.7
WIDTH, THICKNESS = 0.5, 0.25  # standard deviations over the spacing


@dataclass(frozen=True, kw_only=True)
class Places:
    """Pixels of views, and where on surfaces (field frame) they lie."""

    points: Float[Tensor, "places 3"]
    directions: Float[Tensor, "places 3"]
    size: Float[Tensor, " places"]
    colors: Float[Tensor, "places 3"]
    view: Int[Tensor, " places"]
    pixel: Int[Tensor, " places"]  # row by row

    def __len__(self) -> int:
        """The number of places."""
        return len(self.size)

    def __getitem__(self, index: Tensor) -> "Places":
        """The places at ``index``."""
        return Places(**{entry.name: getattr(self, entry.name)[index] for entry in fields(self)})


def all_places(parts: list[Places]) -> Places:
    """The places of several views."""
    names = [entry.name for entry in fields(Places)]
    return Places(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def places_seen(
    cameras: Cameras,
    index: int,
    image: Image,
    picture: Float[Tensor, "height width 4"],
    count: int,
    generator: torch.Generator,
) -> Places:
    """At most ``count`` pixels of a render by camera ``index`` (field frame) that show something.

    Rather those where the picture changes. ``picture`` is the render as it is shown.
    """
    covered = picture[..., 3]
    likely = _detail(picture) * torch.where(_on_an_edge(image.distance), EDGE, 1.0)
    likely = likely.where(covered > SEEN, 0.0).flatten()
    count = min(count, int((likely > 0).sum()))
    if not count:
        pixel = torch.zeros(0, dtype=torch.int64)
    else:
        pixel = torch.multinomial(likely, count, generator=generator)
    width = picture.shape[1]
    centers = torch.stack([pixel % width, pixel // width], dim=1) + 0.5
    rays = rays_through_pixels(cameras, torch.full_like(pixel, index), centers)
    t = image.distance.flatten()[pixel]
    t = torch.where(t > 0, t, _distance_of_the_far(rays.origins, rays.directions))
    colors = picture.view(-1, 4)[pixel]
    found = Places(
        points=rays.origins + t[:, None] * rays.directions,
        directions=rays.directions,
        size=PIXEL_SIGMAS * rays.footprint * t,
        colors=colors[:, :3] / colors[:, 3:],
        view=torch.full_like(pixel, index),
        pixel=pixel,
    )
    return found[t > 0]


def _distance_of_the_far(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
) -> Float[Tensor, " rays"]:
    """Where rays leave the ball that what is far is put on; 0 from outside of it."""
    offset = origins - 0.5
    along = (offset * directions).sum(-1)
    inside = FAR_RADIUS**2 - (offset * offset).sum(-1)
    return torch.where(inside > 0, (along * along + inside.clamp(min=0)).sqrt() - along, 0.0)


def _detail(picture: Float[Tensor, "height width 4"]) -> Float[Tensor, "height width"]:
    """1 where a picture is even, more where it changes from pixel to pixel."""
    change = torch.zeros_like(picture[..., 0])
    change[:, 1:] += (picture[:, 1:] - picture[:, :-1]).abs().sum(-1)
    change[1:] += (picture[1:] - picture[:-1]).abs().sum(-1)
    mean = change[picture[..., 3] > SEEN].mean().nan_to_num().clamp(min=1e-6)
    return 1 + DETAIL * (change / mean).clamp(max=MOST_DETAIL)


def _on_an_edge(distance: Float[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    """Where distances jump from pixel to pixel, on both sides."""
    on = torch.zeros_like(distance, dtype=torch.bool)
    for axis in range(2):
        step = distance.diff(dim=axis).abs()
        jumps = step > EDGE_STEP * distance.narrow(axis, 1, step.shape[axis])
        on.narrow(axis, 1, step.shape[axis]).logical_or_(jumps)
        on.narrow(axis, 0, step.shape[axis]).logical_or_(jumps)
    return on


def spacing(places: Places) -> Float[Tensor, " places"]:
    """How far neighbouring places are apart, about: from how many share a cell with each.

    Cells are as large as pixels are there, times what makes the middle one of them crowded.
    """
    cell = 2.0
    while True:
        level = (places.size * cell).log2().round()
        width = level.exp2()
        corner = torch.cat([places.points / width[:, None], level[:, None]], dim=1).floor().long()
        # Cells that meet by chance in a hash are as rare as they are harmless.
        key = (corner * corner.new_tensor([73856093, 19349663, 83492791, 67867979])).sum(-1)
        _, group, counts = key.unique(return_inverse=True, return_counts=True)
        crowd = counts[group].float()
        if crowd.median() >= min(CROWD, len(places)) or cell > 1e6:
            return width / crowd.sqrt()
        cell *= 1.5


def flat_splats(
    scene: TrainedScene, places: Places, apart: Float[Tensor, " places"], num_harmonics: int
) -> Splats:
    """A splat at each of the places, flat on the surface, as wide as they are ``apart``."""
    device = scene.background.device
    normals = surface_normals(
        scene.field,
        places.points.to(device),
        places.size.clamp(min=scene.renderer.march.step).to(device),
        scene.renderer.projection,
    ).cpu()
    known = normals.norm(dim=1, keepdim=True) > 0.5
    normals = torch.where(known, normals, -places.directions)
    colors = places.points.new_zeros(len(places), num_harmonics, 3)
    colors[:, 0] = (places.colors - 0.5) / DC
    widths = torch.stack([WIDTH * apart, WIDTH * apart, THICKNESS * apart], dim=1)
    logit = math.log(FIRST_OPACITY / (1 - FIRST_OPACITY))
    return Splats(
        means=places.points,
        scales=widths.clamp(min=1e-12).log(),
        rotations=quat_wxyz_from_rotation(_facing(normals)),
        opacities=torch.full_like(apart, logit),
        colors=colors,
    )


def _facing(normals: Float[Tensor, "places 3"]) -> Float[Tensor, "places 3 3"]:
    """Rotations whose third axes are the normals."""
    spare = torch.zeros_like(normals).scatter(1, normals.abs().argmin(1, keepdim=True), 1.0)
    first = torch.nn.functional.normalize(torch.linalg.cross(spare, normals), dim=1)
    return torch.stack([first, torch.linalg.cross(normals, first), normals], dim=-1)
