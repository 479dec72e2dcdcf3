"""Where space is occupied: a bit per cell of nested 128^3 grids, kept up to date with a field.

Source: Mueller et al. 2022, appendix C, with two changes. Cells outside the region of interest are
judged by the longer steps that are taken there, and the threshold follows the mean density, not the
mean opacity, so that cascades of different step lengths are judged alike.
"""

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.processes import group
from neural_render.core.projection import IDENTITY_PROJECTION, Projection
from neural_render.core.protocols import Field
from neural_render.core.waiting.patience import told_if_slow
from neural_render.kernels import ops
from neural_render.kernels.cells import (
    NUM_CELLS,
    ROW,
    count_bits,
    inner_cells,
    unpack_bits,
    with_neighbours,
)
from neural_render.kernels.records import OccupancyState
from neural_render.kernels.specs import OccupancySpec
from neural_render.rendering.emptiness.visibility import seen_cells, seen_projected_cells

NUM_STRIPES = 32
UNSEEN = -1.0
HELD = -2.0
MAX_POINTS = 1 << 18  # evaluated at once
SETTLE_ROUNDS = 8


class OccupancyGrid:
    """Opacity of one march step in each cell (Morton order), and which cells are worth marching.

    ``values`` are ``density * step`` of the cascade's step, the recent maximum over points of the
    cell; -1 marks cells that no camera sees or that are known to be empty: they are never evaluated
    and never occupied, and neither are those marked -2, until they are released. Until the first
    update all other cells are occupied. ``bits`` is what ``MarchSpec`` marches through.
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
        self.bits = torch.full((cascades, NUM_CELLS // 8), 255, dtype=torch.uint8, device=device)
        self.holds = False  # some cells
        self._cursor = torch.zeros(2, dtype=torch.int64)  # updates so far, striped ones among them
        rows = torch.empty((cascades, NUM_CELLS // ROW, 2), dtype=torch.float64, device=device)
        limits = torch.empty(cascades, device=device)
        self._state = OccupancyState(values=self.values, bits=self.bits, rows=rows, limits=limits)
        self._step_lengths: tuple[float, ...] = ()  # of the last update
        self._forget_summary()

    @property
    def cascades(self) -> int:
        """The number of nested cubes."""
        return self.values.shape[0]

    @property
    def fraction(self) -> float:
        """The occupied fraction of all cells."""
        return count_bits(self.bits) / self.values.numel()

    @told_if_slow("finding the space that no camera sees")
    def mark_unseen(
        self, cameras: Cameras, near: float = 0.0, projection: Projection = IDENTITY_PROJECTION
    ) -> None:
        """Empties for good the cells that none of ``cameras`` (field frame) sees beyond ``near``.

        To be called before the first update. ``projection``: see ``SceneFrame``.
        """
        if projection.is_identity:
            sides = map(self.side, range(self.cascades))
            seen = torch.stack([seen_cells(cameras, side, near) for side in sides])
        else:
            assert self.cascades == 1 and near == 0, "projected cubes have one cascade"
            seen = seen_projected_cells(cameras, projection)[None]
        self.mark_empty(~seen.to(self.values.device))

    def mark_empty(self, empty: Bool[Tensor, "cascades cells"]) -> None:
        """Empties cells for good. To be called before the first update."""
        assert int(self._cursor[0]) == 0, "cells are marked before the first update"
        self.values.masked_fill_(empty, UNSEEN)
        self._pack()

    def hold(self, cells: Bool[Tensor, "cascades cells"]) -> None:
        """Empties cells until ``release``. To be called before the first update."""
        assert int(self._cursor[0]) == 0, "cells are held before the first update"
        self.values.masked_fill_(cells & (self.values >= 0), HELD)
        self.holds = True
        self._pack()

    def release(self) -> None:
        """Lets the next updates look at the cells that were held."""
        self.values.masked_fill_(self.values == HELD, 0.0)
        self.holds = False
        self._forget_summary()

    def _pack(self) -> None:
        """Makes the bits anew: all cells but the marked ones are occupied."""
        self._forget_summary()
        # Seen cells hold 0, so that a threshold between 0 and UNSEEN tells the two apart.
        spec = OccupancySpec(
            step_lengths=(1.0,) * self.cascades, threshold=UNSEEN / 2, decay=self.decay
        )
        nowhere = torch.empty(0, dtype=torch.int64, device=self.values.device)
        ops.occupancy_update(self._state, nowhere, self.values.new_empty(0), spec)
        self._forget_summary()

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
        decay: float | None = None,
    ) -> None:
        """Evaluates the density at one random point in each of some cells and refreshes the bits.

        ``full``: in all cells (the first update always is). Else in one of 32 interleaved stripes,
        which take turns, and in as many occupied cells. ``step`` and ``cone_angle`` are those of
        ``MarchSpec``; ``decay`` replaces the grid's own, this once. The result depends on the
        arguments and the state alone, never on threads.
        """
        full = full or int(self._cursor[0]) == 0
        if full:
            cells = ops.occupancy_cells(self._state, stripe=0, num_stripes=1)
        else:
            cells = ops.occupancy_cells(
                self._state,
                stripe=int(self._cursor[1]) % NUM_STRIPES,
                num_stripes=NUM_STRIPES,
                num_occupied=self.values.numel() // NUM_STRIPES,
                start=torch.rand((), generator=generator, device=generator.device).item(),
            )
        density = self._density_in(cells, field, generator)
        spec = self._spec(step, cone_angle, self.decay if decay is None else decay)
        ops.occupancy_update(self._state, cells, density, spec)
        self._cursor += torch.tensor([1, 0 if full else 1])

    @torch.no_grad()
    def settle(
        self,
        field: Field,
        *,
        step: float,
        generator: torch.Generator,
        cone_angle: float = 0.0,
    ) -> None:
        """Looks at several random points of empty cells beside occupied ones, and forgets none.

        Updates during training drop a cell that a thin surface only grazes whenever chance misses
        the surface often enough: edges then look serrated. Cells far from anything stay as they
        are: what lies in them was never fitted.
        """
        cells = self._near_occupied()
        spec = self._spec(step, cone_angle, decay=1.0)
        for _ in range(SETTLE_ROUNDS):
            cells = cells[~unpack_bits(self.bits).view(-1)[cells]]
            if not len(cells):
                break
            density = self._density_in(cells, field, generator)
            ops.occupancy_update(self._state, cells, density, spec)

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs."""
        return {"values": self.values, "cursor": self._cursor, "bits": self.bits}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Takes over what ``state`` gave."""
        assert state["values"].shape == self.values.shape, "a grid of another number of cascades"
        self.values.copy_(state["values"])
        self._cursor.copy_(state["cursor"])
        self.bits.copy_(state["bits"])
        self.holds = bool((self.values == HELD).any())
        self._forget_summary()

    def _forget_summary(self) -> None:
        """Lets the next update sum up and pack everything anew: values or steps have changed."""
        self._state.rows.fill_(torch.nan)
        self._state.limits.fill_(torch.nan)

    def _near_occupied(self) -> Int[Tensor, " cells"]:
        """Flat indices of the cells that are occupied or touch one that is, of those in use."""
        near = with_neighbours(unpack_bits(self.bits)) & (self.values >= 0)
        near[1:, inner_cells(self.values.device)] = False
        return near.view(-1).nonzero().squeeze(1)

    def _density_in(
        self, cells: Int[Tensor, " cells"], field: Field, generator: torch.Generator
    ) -> Float[Tensor, " cells"]:
        """The density at one random point of each cell, of which each process looks at a part."""
        # Drawn on the generator's device, which may be another one.
        key = torch.randint(1 << 62, (), generator=generator, device=generator.device).item()
        own = -(-len(cells) // group.size())
        density = torch.empty(own, device=cells.device)
        first = own * group.place().rank
        for start in range(first, min(first + own, len(cells)), MAX_POINTS):
            some = cells[start : min(start + MAX_POINTS, first + own)]
            points = ops.occupancy_points(some, self.cascades, int(key), start)
            density[start - first : start - first + len(some)] = field.density(points)
        (parts,) = group.gathered(density)
        return parts.view(-1)[: len(cells)]

    def _spec(self, step: float, cone_angle: float, decay: float) -> OccupancySpec:
        """The spec of an update with these steps, after which the summary is one of these steps."""
        lengths = tuple(self.step_length(c, step, cone_angle) for c in range(self.cascades))
        if lengths != self._step_lengths:
            self._forget_summary()
            self._step_lengths = lengths
        return OccupancySpec(step_lengths=lengths, threshold=self.threshold, decay=decay)
