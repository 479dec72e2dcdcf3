"""Coloured points on all that cameras see, evenly spread, and PLY files of points."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor
from tqdm import tqdm

from neural_render.core.cameras import rays_through_pixels
from neural_render.core.color import quantised
from neural_render.core.files import whole_file
from neural_render.core.rays import Rays
from neural_render.export.formats import PointSettings
from neural_render.export.geometry.space import Space
from neural_render.export.geometry.subject import Seen, Subject, nothing_to_export
from neural_render.rendering.images import TILE, tiled_order
from neural_render.rendering.normals import surface_normals

CANDIDATES = 6  # for each point
LEAST_RAYS, MOST_RAYS = 1 << 16, 1 << 27
LARGEST_SPREAD = 6.0  # march steps over which a ray may see its surface: no points between two
CLOSE_ENOUGH = 0.02  # of the wanted number
MOST_ROUNDS = 12

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Points in the field's frame, with unit normals towards those who see them, and sRGB."""

    points: Float[Tensor, "points 3"]
    normals: Float[Tensor, "points 3"]
    colors: Float[Tensor, "points 3"]

    def __len__(self) -> int:
        """The number of points."""
        return len(self.points)


def export_points(
    subject: Subject, space: Space, settings: PointSettings, path: Path, *, progress: bool
) -> tuple[Path, ...]:
    """The PLY of about as many points as are asked for, in the capture's coordinates, written."""
    cloud = surface_points(subject, space, settings.count, settings.min_opacity, progress=progress)
    _log.info("points: %d", len(cloud))
    write_points(
        path,
        subject.to_world(cloud.points.double()).numpy(),
        normals=cloud.normals.numpy(),
        colors=quantised(cloud.colors).numpy(),
    )
    return (path,)


def surface_points(
    subject: Subject, space: Space, count: int, min_opacity: float, *, progress: bool
) -> Cloud:
    """About ``count`` points, one in each cell of a lattice that anything is seen in.

    OutputError where nothing is.
    """
    found = _candidates(subject, space, count, min_opacity, progress=progress)
    if not len(found):
        raise nothing_to_export("points")
    places = space.of_field(found.points).double().numpy()
    keys = _thinning(places, count)
    _, group = np.unique(keys, return_inverse=True)
    index, size = torch.from_numpy(group.ravel()), int(group.max()) + 1
    number = torch.bincount(index, minlength=size)[:, None]

    def mean(values: Tensor) -> Tensor:
        return torch.zeros(size, 3).index_add_(0, index, values) / number

    points = mean(found.points)
    facing = torch.nn.functional.normalize(mean(found.normals), dim=1)
    return Cloud(
        points=points, normals=_normals(subject, space, points, facing), colors=mean(found.colors)
    )


def write_points(
    path: Path,
    positions: Float[np.ndarray, "points 3"],
    *,
    colors: UInt8[np.ndarray, "points 3"],
    normals: Float[np.ndarray, "pointed 3"] | None = None,
) -> None:
    """A binary PLY of points in the order given; OutputError where it cannot be written."""
    fields = [("x", "float", positions[:, 0]), ("y", "float", positions[:, 1])]
    fields.append(("z", "float", positions[:, 2]))
    if normals is not None:
        fields += [(f"n{axis}", "float", normals[:, i]) for i, axis in enumerate("xyz")]
    fields += [(name, "uchar", colors[:, i]) for i, name in enumerate(("red", "green", "blue"))]
    kinds = {"float": "<f4", "uchar": "u1"}
    rows = np.empty(len(positions), dtype=[(name, kinds[kind]) for name, kind, _ in fields])
    for name, _, values in fields:
        rows[name] = values
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {kind} {name}" for name, kind, _ in fields]
    with whole_file(path) as temporary:
        temporary.write_bytes("\n".join([*header, "end_header", ""]).encode() + rows.tobytes())


def _candidates(
    subject: Subject, space: Space, count: int, min_opacity: float, *, progress: bool
) -> Cloud:
    """Places that rays of all cameras end at, several for each point; normals face the cameras."""
    generator = torch.Generator().manual_seed(0)
    num_cameras = len(subject.cameras)
    pilot = max(1, LEAST_RAYS // num_cameras)
    parts: list[Cloud] = []
    hits = 0
    for index in range(num_cameras):
        parts.append(_ends(subject, space, _rays(subject, index, pilot, generator), min_opacity))
        hits += len(parts[-1])
    if hits:
        share = hits / (pilot * num_cameras)
        wanted = min(MOST_RAYS, CANDIDATES * count / share) / num_cameras
        rest = max(0, round(wanted) - pilot)
        for index in tqdm(range(num_cameras), desc="points", unit="view", disable=not progress):
            rays = _rays(subject, index, rest, generator)
            parts.append(_ends(subject, space, rays, min_opacity))
    names = ("points", "normals", "colors")
    return Cloud(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _rays(subject: Subject, index: int, count: int, generator: torch.Generator) -> Rays:
    """Rays of one camera through random places, neighbours one after another."""
    cameras = subject.cameras
    width, height = int(cameras.width[index]), int(cameras.height[index])
    order, _ = tiled_order(width, height, TILE)
    pixel = order[torch.randint(width * height, (count,), generator=generator).sort().values]
    corner = torch.stack([pixel % width, pixel // width], dim=-1)
    places = corner + torch.rand((count, 2), generator=generator)
    return rays_through_pixels(cameras, torch.full((count,), index), places)


def _ends(subject: Subject, space: Space, rays: Rays, min_opacity: float) -> Cloud:
    """What rays end at, where that is one surface."""
    seen: Seen = subject.look(rays)
    hit = ((seen.opacity >= min_opacity) & (seen.distance > 0)).nonzero()[:, 0]
    points = rays.origins[hit] + seen.distance[hit, None] * rays.directions[hit]
    places = space.of_field(points)
    low, high = space.limits
    kept = ((places >= low) & (places <= high)).all(-1)
    reach = LARGEST_SPREAD * space.reach(points, subject.renderer.march.step)
    kept &= seen.spread[hit] <= reach
    hit, points = hit[kept], points[kept]
    return Cloud(points=points, normals=-rays.directions[hit], colors=seen.color[hit])


def _thinning(places: Float64[np.ndarray, "points 3"], count: int) -> Int64[np.ndarray, " points"]:
    """The number of each place's cell, of cells such that about ``count`` of them hold any."""
    low = places.min(0)
    extent = max(float(np.ptp(places, axis=0).max()), 1e-9)
    step = extent / max(count, 1) ** 0.5
    finest = extent / (1 << 20)
    keys = _cells(places - low, step)
    for _ in range(MOST_ROUNDS):
        found = len(np.unique(keys))
        if abs(found - count) <= CLOSE_ENOUGH * count or (found < count and step <= finest):
            break
        # Surfaces have as many cells as the square of how fine they are.
        step = max(finest, step * (found / count) ** 0.5)
        keys = _cells(places - low, step)
    return keys


def _cells(places: Float64[np.ndarray, "points 3"], step: float) -> Int64[np.ndarray, " points"]:
    cells = (places / step).astype(np.int64)
    return (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]


def _normals(
    subject: Subject,
    space: Space,
    points: Float[Tensor, "points 3"],
    facing: Float[Tensor, "points 3"],
) -> Float[Tensor, "points 3"]:
    """The field's normals, turned to who sees the points; that direction where it has none."""
    step = space.reach(points, subject.renderer.march.step)
    device = subject.device
    found = surface_normals(
        subject.field, points.to(device), step.to(device), subject.frame.projection
    ).cpu()
    towards = (found * facing).sum(-1, keepdim=True)
    return torch.where(towards == 0, facing, found * towards.sign())
