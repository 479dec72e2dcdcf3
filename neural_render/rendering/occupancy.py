"""Where space is occupied: a bit per cell of nested 128^3 grids, kept up to date with a field.

Source: Mueller et al. 2022, appendix C, with two changes. Cells outside the region of interest are
judged by the longer steps that are taken there, and the threshold follows the mean density, not the
mean opacity, so that cascades of different step lengths are judged alike.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.protocols import Field
from neural_render.kernels.morton import morton_decode, morton_encode
from neural_render.kernels.specs import MORTON_RESOLUTION
from neural_render.rendering.visibility import seen_cells

NUM_CELLS = MORTON_RESOLUTION**3
NUM_STRIPES = 32
UNSEEN = -1.0
MAX_POINTS = 1 << 18  # evaluated at once
ROW = 512  # cells per partial sum
SETTLE_ROUNDS = 8


class OccupancyGrid:
    """Opacity of one march step in each cell (Morton order), and which cells are worth marching.

    ``values`` are ``density * step`` of the cascade's step, the recent maximum over points of the
    cell; -1 marks cells that no camera sees: they are never evaluated and never occupied. Until the
    first update all other cells are occupied. ``bits`` is what ``MarchSpec`` marches through.
    """

    values: Float[Tensor, "cascades cells"]
    bits: UInt8[Tensor, "cascades bytes"]

    def __init__(
        self,
        cascades: int,
        device: torch.device,
        *,
        threshold: float = 0.01,
        decay: float = 0.75,
    ) -> None:
        """A grid that takes all space for occupied."""
        self.threshold, self.decay = threshold, decay
        self.values = torch.zeros((cascades, NUM_CELLS), device=device)
        self._cursor = torch.zeros(2, dtype=torch.int64)  # updates so far, striped ones among them
        self._occupied = torch.ones((cascades, NUM_CELLS), dtype=torch.bool, device=device)
        self.bits = pack_bits(self._occupied)

    @property
    def cascades(self) -> int:
        """The number of nested cubes."""
        return self.values.shape[0]

    @property
    def fraction(self) -> float:
        """The occupied fraction of all cells."""
        return self._occupied.count_nonzero().item() / self._occupied.numel()

    def mark_unseen(self, cameras: Cameras, near: float = 0.0) -> None:
        """Empties for good the cells that none of ``cameras`` (field frame) sees beyond ``near``.

        To be called before the first update.
        """
        assert int(self._cursor[0]) == 0, "unseen cells are marked before the first update"
        for cascade in range(self.cascades):
            seen = seen_cells(cameras, self.side(cascade), near).to(self.values.device)
            self.values[cascade].masked_fill_(~seen, UNSEEN)
        self._pool_finer(step=1.0, cone_angle=0.0)
        self._occupied = self.values >= 0
        self.bits = pack_bits(self._occupied)

    def side(self, cascade: int) -> float:
        """The side of a cascade's cube in field units."""
        return 2.0 ** (cascade - self.cascades + 1)

    def step_length(self, cascade: int, step: float, cone_angle: float) -> float:
        """The step with which a cascade's cells are judged: the shortest one that a camera in the
        middle of the scene takes there."""
        if cascade == 0:
            return step
        return max(step, cone_angle * self.side(cascade - 1) / 2)

    @torch.no_grad()
    def update(
        self,
        field: Field,
        *,
        step: float,
        generator: torch.Generator,
        full: bool,
        cone_angle: float = 0.0,
    ) -> None:
        """Evaluates the density at one random point in each of some cells and refreshes the bits.

        ``full``: in all cells (the first update always is). Else in one of 32 interleaved stripes,
        which take turns, and in as many occupied cells. ``step`` and ``cone_angle`` are those of
        ``MarchSpec``. The result depends on the arguments and the state alone, never on threads.
        """
        full = full or int(self._cursor[0]) == 0
        cells = self._all_cells() if full else self._some_cells(generator)
        old = self.values.view(-1)
        fresh = torch.empty_like(cells, dtype=torch.float32)
        for start in range(0, len(cells), MAX_POINTS):
            chunk = cells[start : start + MAX_POINTS]
            fresh[start : start + MAX_POINTS] = self._opacity_in(
                chunk, field, (step, cone_angle), generator
            )
        kept = old[cells] * self.decay
        # A cell may come up twice: both times from the same old value, so the order is no matter.
        old[cells] = kept
        old.scatter_reduce_(0, cells, fresh, reduce="amax")
        self._pool_finer(step, cone_angle)
        self._cursor += torch.tensor([1, 0 if full else 1])
        self._refresh(step, cone_angle)

    @torch.no_grad()
    def settle(
        self,
        field: Field,
        *,
        step: float,
        generator: torch.Generator,
        cone_angle: float = 0.0,
    ) -> None:
        """Looks at several random points of the cells at or beside occupied ones, and forgets none.

        Updates during training drop a cell that a thin surface only grazes whenever chance misses
        the surface often enough: edges then look serrated. Cells far from anything stay as they
        are: what lies in them was never fitted.
        """
        cells = self._near_occupied()
        values = self.values.view(-1)
        for _ in range(SETTLE_ROUNDS):
            for chunk in cells.split(MAX_POINTS):
                fresh = self._opacity_in(chunk, field, (step, cone_angle), generator)
                values[chunk] = torch.maximum(values[chunk], fresh)
        self._pool_finer(step, cone_angle)
        self._refresh(step, cone_angle)

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs."""
        return {"values": self.values, "cursor": self._cursor, "bits": self.bits}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Takes over what ``state`` gave."""
        assert state["values"].shape == self.values.shape, "a grid of another number of cascades"
        self.values.copy_(state["values"])
        self._cursor.copy_(state["cursor"])
        self.bits.copy_(state["bits"])
        self._occupied = unpack_bits(self.bits)

    def _all_cells(self) -> Int[Tensor, " cells"]:
        """Flat indices of all cells that are seen and not covered by a finer cascade."""
        seen = self.values >= 0
        seen[1:, inner_cells(self.values.device)] = False
        return seen.view(-1).nonzero().squeeze(1)

    def _near_occupied(self) -> Int[Tensor, " cells"]:
        """Flat indices of the cells that are occupied or touch one that is, of those in use."""
        x, y, z = cell_coordinates(self.values.device).long().unbind(1)
        near = torch.zeros_like(self._occupied)
        for cascade in range(self.cascades):
            cube = torch.zeros((MORTON_RESOLUTION,) * 3, device=self.values.device)
            cube[x, y, z] = self._occupied[cascade].float()
            grown = torch.nn.functional.max_pool3d(cube[None], 3, stride=1, padding=1)[0]
            near[cascade] = grown[x, y, z] > 0
        near &= self.values >= 0
        near[1:, inner_cells(self.values.device)] = False
        return near.view(-1).nonzero().squeeze(1)

    def _some_cells(self, generator: torch.Generator) -> Int[Tensor, " cells"]:
        """Flat indices of the next stripe's cells and of as many occupied ones, evenly spread."""
        device = self.values.device
        cursor = int(self._cursor[1]) % NUM_STRIPES
        stripe = torch.arange(cursor, self.values.numel(), NUM_STRIPES, device=device)
        covered = covered_cells(device)
        outer = (stripe < NUM_CELLS) | ~covered[stripe % NUM_CELLS]
        stripe = stripe[outer & (self.values.view(-1)[stripe] >= 0)]
        eligible = self._occupied.clone()
        eligible[1:, inner_cells(device)] = False
        occupied = eligible.view(-1).nonzero().squeeze(1)
        wanted = self.values.numel() // NUM_STRIPES
        if len(occupied) > wanted:
            start = torch.rand((), generator=generator, device=generator.device).item()
            spread = torch.arange(wanted, dtype=torch.float64, device=device) + start
            occupied = occupied[(spread * (len(occupied) / wanted)).long()]
        return torch.cat([stripe, occupied])

    def _opacity_in(
        self,
        cells: Int[Tensor, " cells"],
        field: Field,
        steps: tuple[float, float],
        generator: torch.Generator,
    ) -> Float[Tensor, " cells"]:
        """The opacity of a step at one random point of each cell."""
        device = cells.device
        lengths = [self.step_length(cascade, *steps) for cascade in range(self.cascades)]
        sides = [self.side(cascade) for cascade in range(self.cascades)]
        cascade = cells // NUM_CELLS
        jitter = torch.rand((len(cells), 3), generator=generator, device=generator.device)
        corner = cell_coordinates(device)[cells % NUM_CELLS]
        inside = (corner + jitter.to(device)) / MORTON_RESOLUTION - 0.5
        points = 0.5 + inside * torch.tensor(sides, device=device)[cascade, None]
        density = field.density(points)
        return density * torch.tensor(lengths, device=device)[cascade]

    def _pool_finer(self, step: float, cone_angle: float) -> None:
        """Gives each cell that a finer cascade covers the greatest of its eight values there."""
        for cascade in range(1, self.cascades):
            finer = self.values[cascade - 1].view(-1, 8).amax(dim=1)
            longer = self.step_length(cascade, step, cone_angle) / self.step_length(
                cascade - 1, step, cone_angle
            )
            pooled = torch.where(finer < 0, finer, finer * longer)
            self.values[cascade, inner_cells(self.values.device)] = pooled

    def _refresh(self, step: float, cone_angle: float) -> None:
        """Occupied is what exceeds the threshold, or the mean density where that is less."""
        lengths = [self.step_length(cascade, step, cone_angle) for cascade in range(self.cascades)]
        density = self._mean_density(lengths)
        limits = [min(self.threshold, density * length) for length in lengths]
        self._occupied = self.values > self.values.new_tensor(limits)[:, None]
        self.bits = pack_bits(self._occupied)

    def _mean_density(self, lengths: list[float]) -> float:
        """The mean over all seen cells, summed in no order that threads could change."""
        num_seen = int((self.values >= 0).count_nonzero())
        rows = self.values.clamp(min=0).view(self.cascades, -1, ROW).sum(dim=-1)
        totals = [
            math.fsum(row) / length for row, length in zip(rows.tolist(), lengths, strict=True)
        ]
        return math.fsum(totals) / max(1, num_seen)


def pack_bits(occupied: Bool[Tensor, "cascades cells"]) -> UInt8[Tensor, "cascades bytes"]:
    """Eight cells per byte, the first in the lowest bit."""
    powers = (1 << torch.arange(8, device=occupied.device)).to(torch.uint8)
    return (occupied.view(occupied.shape[0], -1, 8) * powers).sum(dim=-1, dtype=torch.uint8)


def unpack_bits(packed: UInt8[Tensor, "cascades bytes"]) -> Bool[Tensor, "cascades cells"]:
    """The inverse of ``pack_bits``."""
    powers = (1 << torch.arange(8, device=packed.device)).to(torch.uint8)
    return ((packed[..., None] & powers) != 0).view(packed.shape[0], -1)


@lru_cache(maxsize=4)
def cell_coordinates(device: torch.device) -> UInt8[Tensor, "cells 3"]:
    """The coordinates of all cells of a cascade in Morton order."""
    return morton_decode(torch.arange(NUM_CELLS, device=device)).to(torch.uint8)


@lru_cache(maxsize=4)
def inner_cells(device: torch.device) -> Int[Tensor, " inner"]:
    """The cells that the next finer cascade covers: each covers eight of its cells, in order."""
    finer = morton_decode(torch.arange(NUM_CELLS // 8, device=device))
    return morton_encode(finer + MORTON_RESOLUTION // 4)


@lru_cache(maxsize=4)
def covered_cells(device: torch.device) -> Bool[Tensor, " cells"]:
    """Whether the next finer cascade covers a cell."""
    covered = torch.zeros(NUM_CELLS, dtype=torch.bool, device=device)
    covered[inner_cells(device)] = True
    return covered
