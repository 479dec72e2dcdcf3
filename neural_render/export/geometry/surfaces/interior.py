"""What lies inside of things, where nobody can look: it counts as solid.

Photos say nothing of it, so that a field is a sponge there, whose surface would be larger than all
that is seen. Interior is what neither the photos' cameras nor others all around have a free view
of.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.export.geometry.space import Space
from neural_render.export.geometry.surfaces.witnesses import Witnesses

MOST_CELLS = 256  # along the longest side
SLACK_CELLS = 0.5  # behind a surface that are not taken for interior


@dataclass(frozen=True, kw_only=True)
class Interior:
    """Cells of a box of the lattice's cube, and which of them are interior; none without cells."""

    low: Float[Tensor, "3"]
    step: float
    cells: Bool[Tensor, "width height depth"]

    def holds(self, places: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
        """Whether points are interior."""
        found = torch.zeros(len(places), dtype=torch.bool)
        if not self.cells.numel():
            return found
        index = ((places - self.low) / self.step).floor().long()
        size = torch.tensor(self.cells.shape)
        inside = ((index >= 0) & (index < size)).all(-1)
        x, y, z = index[inside].unbind(-1)
        found[inside] = self.cells[x, y, z]
        return found


def no_interior() -> Interior:
    """Nothing is solid but what is dense."""
    return Interior(low=torch.zeros(3), step=1.0, cells=torch.zeros(0, 0, 0, dtype=torch.bool))


def find_interior(
    space: Space,
    low: Float[Tensor, "3"],
    high: Float[Tensor, "3"],
    finest: float,
    seen_by: tuple[Witnesses, ...],
) -> Interior:
    """The interior of a bounded scene in the box; cells are no smaller than ``finest``."""
    step = max(finest, float((high - low).amax()) / MOST_CELLS)
    counts = ((high - low) / step).ceil().long().clamp(min=1).tolist()
    axes = [torch.arange(count) + 0.5 for count in counts]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    points = space.field(low + step * grid.view(-1, 3))
    hidden = torch.arange(len(points))
    slack = torch.full((len(points),), SLACK_CELLS * step)
    for witness in seen_by:
        for index in range(len(witness)):
            seen = witness.sees(index, points[hidden], slack[: len(hidden)])
            hidden = hidden[~seen]
    cells = torch.zeros(len(points), dtype=torch.bool)
    cells[hidden] = True
    return Interior(low=low, step=step, cells=cells.view(*np.asarray(counts).tolist()))
