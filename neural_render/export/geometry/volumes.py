"""Density as an array of numbers, with its place in the capture's coordinates.

The ``.npz`` holds

    density           [x y z] float32: per world unit, so that a way w through it takes
                      1 - exp(-density * w) of the light
    world_from_index  [4 4] float64: (x, y, z, w) of sample (i, j, k) is this times (i, j, k, 1),
                      its world coordinates are (x, y, z) / w
    low, high         [3] float64: the corners of the samples' box in world coordinates
    color             [x y z 3] uint8, if asked for: display-referred sRGB, mean over directions

Samples are even in the world. Of a scene seen from one side they are even in disparity: their
matrix is projective (w is not 1), and density is that along the lines of sight.

It opens with ``numpy.load``. Files of OpenVDB or NanoVDB are not written: no wheel that writes them
is kept up, and a writer of our own would be larger than the rest of this folder.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from tqdm import tqdm

from neural_render.core.color import quantised
from neural_render.core.errors import SettingError
from neural_render.core.files import whole_file
from neural_render.export.formats import VolumeSettings
from neural_render.export.geometry.space import Space
from neural_render.export.geometry.subject import Subject
from neural_render.export.geometry.surfaces.blocks import content
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.specs import MORTON_RESOLUTION

MOST_SAMPLES = 1 << 29
FAINTEST = 0.01  # of a march step, opacity: cells that are thinner bound nothing
COLORED = 1e-3  # of a march step, opacity: thinner samples have no colour
SAMPLES_AT_ONCE = 1 << 18


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Samples ``low + step * (i, j, k)`` of the field's cube."""

    low: Float[Tensor, "3"]
    step: Float[Tensor, "3"]
    counts: tuple[int, int, int]

    def places(self, first: int, last: int) -> Float[Tensor, "samples 3"]:
        """The samples of some slices across the first axis."""
        axes = [torch.arange(first, last), *(torch.arange(count) for count in self.counts[1:])]
        return self.low + self.step * torch.cartesian_prod(*axes).view(-1, 3)


def export_volume(
    subject: Subject, space: Space, settings: VolumeSettings, path: Path, *, progress: bool
) -> tuple[Path, ...]:
    """The ``.npz`` of the field's density in ``space``'s region, written."""
    grid = _grid(subject, space, settings.resolution)
    density = np.zeros(grid.counts, dtype=np.float32)
    color = np.zeros((*grid.counts, 3) if settings.color else (0,), dtype=np.uint8)
    across = grid.counts[1] * grid.counts[2]
    slices = max(1, SAMPLES_AT_ONCE // across)
    for first in tqdm(
        range(0, grid.counts[0], slices), desc="volume", unit="slice", disable=not progress
    ):
        last = min(first + slices, grid.counts[0])
        places = grid.places(first, last)
        found = subject.density(places)
        per_unit = found / _way(subject, places)
        density[first:last] = per_unit.view(-1, *grid.counts[1:]).numpy()
        if settings.color:
            seen = found > COLORED / subject.renderer.march.step
            part = torch.zeros(len(places), 3, dtype=torch.uint8)
            part[seen] = quantised(_mean_color(subject, places[seen]))
            color[first:last] = part.view(-1, *grid.counts[1:], 3).numpy()
    matrix = _world_from_index(subject, grid)
    corners = _corners(matrix, grid.counts)
    content = {"density": density, "world_from_index": matrix}
    content |= {"low": corners.min(0), "high": corners.max(0)}
    if settings.color:
        content["color"] = color
    encoded = io.BytesIO()
    np.savez_compressed(encoded, **content)
    with whole_file(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
    return (path,)


def _grid(subject: Subject, space: Space, resolution: int) -> _Grid:
    """The samples around all that is occupied; SettingError where they would be too many."""
    inside = content(subject, space, FAINTEST / subject.renderer.march.step, "a volume")
    low, high = _box(inside.cells[:, :-1])
    if space.inner:
        half = 2.0**-subject.frame.cascades
        low, high = low.clamp(0.5 - half, 0.5 + half), high.clamp(0.5 - half, 0.5 + half)
    limit = space.limits[1] if not subject.frame.projection.is_identity else torch.ones(3)
    high = torch.minimum(high, limit)
    extent = high - low
    step = float(extent.amax()) / (resolution - 1)
    x, y, z = ((extent / step).round().long() + 1).clamp(min=2).tolist()
    if x * y * z > MOST_SAMPLES:
        raise SettingError(
            f"export.volume.resolution={resolution} makes {x}x{y}x{z} samples, more than memory"
            f" should hold ({MOST_SAMPLES >> 20} million): give a smaller resolution."
        )
    return _Grid(low=low, step=extent / torch.tensor([x - 1, y - 1, z - 1]), counts=(x, y, z))


def _box(cells: Tensor) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """The corners of the box around the cells (Morton order) of all cascades."""
    corners = []
    for cascade, marked in enumerate(cells):
        side = 2.0 ** (cascade - len(cells) + 1)
        found = morton_decode(marked.nonzero()[:, 0])
        for corner in (0, 1):
            corners.append(((found + corner) / MORTON_RESOLUTION - 0.5) * side + 0.5)
    joined = torch.cat(corners)
    return joined.amin(0), joined.amax(0)


def _way(subject: Subject, places: Float[Tensor, "samples 3"]) -> Float[Tensor, " samples"]:
    """World units that a unit of the field's cube is, in depth where the cube is a projection."""
    projection = subject.frame.projection
    if projection.is_identity:
        return torch.full((len(places),), subject.scale)
    # dX/dz of X = P / w, with P and w linear in the place: what stays in one pixel moves so.
    back = torch.tensor(projection.inverse().matrix, dtype=torch.float64).view(4, 4)
    homogeneous = torch.nn.functional.pad(places.double(), (0, 1), value=1.0) @ back.T
    points, depth = homogeneous[:, :3], homogeneous[:, 3:]
    moves = (back[:3, 2] * depth - points * back[3, 2]) / depth.square()
    return (subject.scale * moves.norm(dim=-1)).float()


@torch.no_grad()
def _mean_color(subject: Subject, places: Float[Tensor, "samples 3"]) -> Float[Tensor, "samples 3"]:
    """The colours of places in the cube, seen from the corners and the sides of a cube.

    Through a projection's cube all rays go forward: nothing is known of other directions there.
    """
    steps = torch.tensor([-1.0, 0.0, 1.0])
    ways = torch.cartesian_prod(steps, steps, steps)
    ways = ways[(ways.abs().sum(1) % 2 == 1)]  # six sides and eight corners
    if not subject.frame.projection.is_identity:
        ways = ways[ways[:, 2] > 0]
    total = torch.zeros(len(places), 3)
    device = subject.device
    for way in torch.nn.functional.normalize(ways, dim=1):
        for part in torch.arange(len(places)).split(SAMPLES_AT_ONCE):
            told = subject.told(1)
            _, radiance = subject.field.query(
                places[part].to(device),
                way.to(device).expand(len(part), 3).contiguous(),
                told,
                None if told is None else torch.zeros(len(part), dtype=torch.int64, device=device),
            )
            total[part] += subject.palette.shown(radiance).cpu()
    return total / len(ways)


def _world_from_index(subject: Subject, grid: _Grid) -> Float64[np.ndarray, "4 4"]:
    frame = subject.frame
    cube_from_index = np.eye(4)
    cube_from_index[:3, :3] = np.diag(grid.step.double().numpy())
    cube_from_index[:3, 3] = grid.low.double().numpy()
    world_from_field = np.eye(4)
    world_from_field[:3, :3] *= frame.world_from_field.scale
    world_from_field[:3, 3] = frame.world_from_field.translation
    field_from_cube = np.array(frame.projection.inverse().matrix).reshape(4, 4)
    matrix = world_from_field @ field_from_cube @ cube_from_index
    return matrix


def _corners(
    matrix: Float64[np.ndarray, "4 4"], counts: tuple[int, int, int]
) -> Float64[np.ndarray, "8 3"]:
    """The world coordinates of the eight outermost samples."""
    ends = np.stack(np.meshgrid(*([0, count - 1] for count in counts), indexing="ij"), -1)
    homogeneous = np.concatenate([ends.reshape(-1, 3), np.ones((8, 1))], axis=1) @ matrix.T
    return homogeneous[:, :3] / homogeneous[:, 3:]
