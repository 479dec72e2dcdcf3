"""Samples along rays on the GPU, and which of them light reaches."""

from collections.abc import Sequence
from functools import lru_cache
from math import log

import torch
import triton.language as tl
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.core.rays import Rays
from neural_render.kernels.cuda.device import launch, ray_block, ready, tiles
from neural_render.kernels.cuda.programs.marching import (
    Light,
    March,
    MarchedRays,
    light_program,
    list_program,
    march_program,
)
from neural_render.kernels.records import PackedSamples
from neural_render.kernels.specs import MORTON_RESOLUTION, MarchSpec

RAYS, STEPS = 32, 32  # rays of a program, and how many intervals of each are looked at together
BLOCKS = MORTON_RESOLUTION // 8  # along a side
SLOTS = 16  # samples of a ray that are looked at together


def march_of(spec: MarchSpec) -> March:
    """The march as kernels take it."""
    growing = spec.cone_angle > 0.0
    t1 = max(spec.near, spec.step / spec.cone_angle) if growing else spec.near
    t2 = max(t1, spec.max_step / spec.cone_angle) if growing else t1
    s1 = (t1 - spec.near) / spec.step
    s2 = s1 + (log(t2 / t1) / spec.cone_angle if growing else 0.0)
    return March(
        near=float(spec.near),
        step=float(spec.step),
        cone_angle=float(spec.cone_angle),
        max_step=float(spec.max_step),
        t1=float(t1),
        t2=float(t2),
        s1=float(s1),
        s2=float(s2),
        finest=2.0**-spec.cascades,
        most=tl.constexpr(spec.max_samples_per_ray),
        growing=tl.constexpr(growing),
        cascades=tl.constexpr(spec.cascades),
    )


def march_rays(
    rays: Rays, jitter: Tensor, occupancy: Tensor, spec: MarchSpec, capacity: int
) -> PackedSamples:
    """See ``ops.march_rays``; no host waits for the counts."""
    marched, march = _marched(rays, jitter, occupancy, spec), march_of(spec)
    numbers, *ways = _sample_counts(marched, march)
    return _write(marched, march, _offsets(numbers), ways, capacity)


def march_whole(
    rays: Rays, jitter: Tensor, occupancy: Tensor, spec: MarchSpec, room: int, most: int = 0
) -> tuple[PackedSamples, Tensor]:
    """All samples of the rays that find room, the first ones, and which rays these are.

    Without ``room`` (0) all do, in buffers that just hold them, for which the host waits.
    TooManySamples if these are more than ``most`` (0: any number) and of more than one ray.
    """
    marched, march = _marched(rays, jitter, occupancy, spec), march_of(spec)
    numbers, *ways = _sample_counts(marched, march)
    offsets, fits = whole_rays(numbers, room)
    capacity = room or int(offsets[-1])
    if most and capacity > most and len(rays) > 1:
        raise TooManySamples(capacity)
    return _write(marched, march, offsets, ways, capacity), fits


class TooManySamples(Exception):
    """So many samples of rays are more than may be in memory together."""

    def __init__(self, count: int) -> None:
        """The number of them."""
        super().__init__(count)
        self.count = count


def whole_rays(numbers: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Offsets of the samples of rays, none of those that find no room, and which rays do."""
    fits = torch.ones_like(numbers, dtype=torch.bool)
    if room:
        fits = numbers.cumsum(0) <= room
    return _offsets(numbers * fits), fits


def _marched(rays: Rays, jitter: Tensor, occupancy: Tensor, spec: MarchSpec) -> MarchedRays:
    count = len(rays)
    shape = (spec.cascades, MORTON_RESOLUTION**3 // 8)
    if occupancy.shape != shape:
        raise KernelError(
            f"occupancy has shape {tuple(occupancy.shape)}, but {shape} was wanted: a bit for each"
            f" cell of {spec.cascades} cascades."
        )
    return MarchedRays(
        ready(rays.origins, "origins", count, 3),
        ready(rays.directions, "directions", count, 3),
        ready(jitter, "jitter", count),
        occupancy.contiguous(),
        *occupied_blocks(occupancy),
    )


def occupied_blocks(occupancy: Tensor) -> tuple[Tensor, Tensor]:
    """Where anything is occupied, by blocks of 8^3 cells; no host waits.

    Least and greatest coordinates of all that is, ``[2 3]``, the least exceeding the greatest where
    nothing is; and whether a block, or one beside it, holds any, row by row, x fastest: of the
    first cascade.
    """
    cascades = len(occupancy)
    low, high, order = _blocks(cascades, occupancy.device)
    # Of Morton's order, 8^3 cells are a block of 64 bytes.
    occupied = occupancy.view(cascades, -1, 64).amax(-1) > 0
    each = occupied.view(-1, 1)
    least = low.where(each, torch.inf).amin(0)
    box = torch.stack([least, high.where(each, -torch.inf).amax(0)])
    grid = occupied[0].index_select(0, order).view(1, 1, BLOCKS, BLOCKS, BLOCKS)
    near = torch.nn.functional.max_pool3d(grid.float(), 3, stride=1, padding=1)
    return box, near.to(torch.int8).flatten()


@lru_cache(maxsize=8)
def _blocks(cascades: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Least and greatest coordinates of all blocks of all cascades, in Morton's order; and their
    places there, row by row."""
    code = torch.arange(BLOCKS**3, device="cpu")
    # Bit 3 i + a of Morton's order is bit i of the coordinate along axis a.
    bits = torch.stack([code >> bit & 1 for bit in range(12)], -1).view(-1, 4, 3)
    cell = (bits << torch.arange(4, device="cpu")[:, None]).sum(1)
    low = cell / BLOCKS
    sides = [2.0 ** (cascade + 1 - cascades) for cascade in range(cascades)]
    lows = torch.cat([(low - 0.5) * side + 0.5 for side in sides])
    highs = torch.cat([(low + 1 / BLOCKS - 0.5) * side + 0.5 for side in sides])
    rank = cell @ torch.tensor([1, BLOCKS, BLOCKS**2], device="cpu")
    return lows.to(device), highs.to(device), rank.argsort().to(device)


def _sample_counts(rays: MarchedRays, march: March) -> tuple[Tensor, Tensor, Tensor]:
    """How many samples rays have; first k and number of the intervals among which these are."""
    count, device = len(rays.origins), rays.origins.device
    numbers = torch.zeros(count, dtype=torch.int64, device=device)
    firsts = rays.origins.new_zeros(count)
    found = numbers, firsts, torch.zeros(count, dtype=torch.int32, device=device)
    size, steps = ray_block(RAYS, STEPS)
    given = (rays, march, found, count, 0, (tl.constexpr(size), tl.constexpr(steps)))
    launch(march_program, (tiles(count, size),), *given, WRITE=False)
    return found


def _write(
    rays: MarchedRays, march: March, offsets: Tensor, ways: Sequence[Tensor], capacity: int
) -> PackedSamples:
    count, t_near = len(rays.origins), rays.origins.new_zeros(capacity)
    t_far = torch.zeros_like(t_near)
    ray_index = torch.zeros(capacity, dtype=torch.int64, device=offsets.device)
    size, steps = ray_block(RAYS, STEPS)
    out = (offsets, *ways, t_near, t_far, ray_index)
    tile = (tl.constexpr(size), tl.constexpr(steps))
    given = (rays, march, out, count, capacity, tile)
    launch(march_program, (tiles(count, size),), *given, WRITE=True)
    kept = offsets.clamp(max=capacity)
    return PackedSamples(
        t_near=t_near,
        t_far=t_far,
        ray_index=ray_index,
        offsets=kept,
        count=kept[-1],
        num_wanted=offsets[-1],
    )


def _offsets(numbers: Tensor) -> Tensor:
    """Where each ray's samples begin, and where the last ones end."""
    return torch.cat([numbers.new_zeros(1), numbers.cumsum(0)])


def listed(
    starts: Tensor, numbers: Tensor, offsets: Tensor, length: int, zeros: bool = False
) -> Tensor:
    """``starts, starts + 1, ...``, so many as ``numbers`` says, of all rays one after another.

    Behind them is nothing meaningful, or ``zeros``.
    """
    out, count = torch.empty(length, dtype=torch.int64, device=starts.device), len(numbers)
    if zeros:
        out.zero_()
    given = (starts, numbers, offsets, out, count)
    size, slots = ray_block(RAYS, SLOTS)
    launch(list_program, (tiles(count, size),), *given, RAYS=size, SLOTS=slots)
    return out


class LightFront:
    """How far light has come on each ray of samples whose densities are found slot after slot."""

    def __init__(self, samples: PackedSamples, min_transmittance: float) -> None:
        """All rays alive, nothing stopped yet."""
        self.samples = samples
        self.numbers = samples.offsets.diff()
        like = samples.offsets
        self.light = Light(
            torch.zeros(len(self.numbers), device=like.device),
            torch.zeros(len(self.numbers), dtype=torch.int32, device=like.device),
            (self.numbers > 0).to(torch.int8),
            float(min_transmittance),
        )

    def next_samples(self, first: int, last: int, wait: bool) -> tuple[Tensor, Tensor]:
        """The samples in slots from ``first`` up to ``last`` of the rays that are alive.

        Also their number: behind so many nothing is meant, unless the host is to ``wait`` for it.
        """
        numbers = (self.numbers.clamp(max=last) - first).clamp(min=0) * self.light.alive
        offsets = _offsets(numbers)
        most = min(len(self.samples.t_near), len(numbers) * (last - first))
        length = int(offsets[-1]) if wait else most
        index = listed(self.samples.offsets[:-1] + first, numbers, offsets, length)
        return index, offsets[-1]

    def advance(self, density: Tensor, first: int, last: int) -> None:
        """Lets light through these slots, whose densities are known by now."""
        samples, count = self.samples, len(self.numbers)
        given = (samples.offsets, samples.t_near, samples.t_far, density)
        size, slots = ray_block(RAYS, SLOTS)
        grid, constants = (tiles(count, size),), {"RAYS": size, "SLOTS": slots}
        launch(light_program, grid, given, self.light, first, last, count, **constants)

    def survivors(self, room: int) -> tuple[PackedSamples, Tensor, Tensor]:
        """The samples that light reaches, their places among all, and the rays that find room.

        Without ``room`` (0) all do, and the host waits for their number.
        """
        offsets, fits = whole_rays(self.light.survivors.to(torch.int64), room)
        length = room or int(offsets[-1])
        first, numbers = self.samples.offsets[:-1], offsets.diff()
        index = listed(first, numbers, offsets, length, zeros=True)
        kept = PackedSamples(
            t_near=self.samples.t_near[index],
            t_far=self.samples.t_far[index],
            ray_index=self.samples.ray_index[index],
            offsets=offsets,
            count=offsets[-1],
            num_wanted=offsets[-1],
        )
        return kept, index, fits
