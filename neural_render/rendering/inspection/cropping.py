"""What lies in a box alone: a renderer that marches through fewer cells, and a field without its
far surroundings. Nothing of the trained scene is touched."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_render.core.protocols import Field
from neural_render.kernels.cells import pack_bits
from neural_render.kernels.morton import morton_encode
from neural_render.kernels.specs import MORTON_RESOLUTION
from neural_render.rendering.occupancy import OccupancyGrid
from neural_render.rendering.renderer import Renderer

Corner = tuple[float, float, float]


def cells_in_box(renderer: Renderer, low: Corner, high: Corner) -> Bool[Tensor, "cascades cells"]:
    """Whether the middle of a cell (Morton order) lies in the box, given in the field's frame."""
    device = renderer.occupancy.bits.device
    order = _morton_order(device)
    place = (torch.arange(MORTON_RESOLUTION, device=device) + 0.5) / MORTON_RESOLUTION - 0.5
    found = []
    for cascade in range(renderer.occupancy.cascades):
        along = 0.5 + place * renderer.occupancy.side(cascade)
        if renderer.projection.is_identity:
            x, y, z = (
                (along >= least) & (along <= most) for least, most in zip(low, high, strict=True)
            )
            inside = x[:, None, None] & y[:, None] & z
        else:
            middles = torch.cartesian_prod(along, along, along).double()
            middles = renderer.projection.inverse().apply(middles)
            least, most = middles.new_tensor(low), middles.new_tensor(high)
            inside = ((middles >= least) & (middles <= most)).all(1)
        found.append(torch.empty_like(order, dtype=torch.bool).scatter_(0, order, inside.flatten()))
    return torch.stack(found)


def _morton_order(device: torch.device) -> Int[Tensor, " cells"]:
    """The place in Morton order of the cells that come x by x, y by y, z by z."""
    along = torch.arange(MORTON_RESOLUTION, device=device)
    zeros = torch.zeros_like(along)
    x = morton_encode(torch.stack([along, zeros, zeros], dim=-1))
    return (x[:, None, None] | x[:, None] << 1 | x << 2).flatten()


class Crop:
    """The part of a renderer's scene that lies in a box (field frame), to the nearest whole cells.

    Boxes and cells have the same axes, so that the faces of the cut are flat, but for scenes
    behind a projection.
    """

    def __init__(self, renderer: Renderer, low: Corner, high: Corner) -> None:
        whole = renderer.occupancy
        self._whole = whole
        self._mask = pack_bits(cells_in_box(renderer, low, high))
        self._part = OccupancyGrid(whole.cascades, whole.bits.device)
        self._renderer = Renderer(
            renderer.march,
            self._part,
            antialias=renderer.antialias,
            projection=renderer.projection,
        )

    def renderer(self) -> Renderer:
        """The renderer of the part, as the scene's cells are occupied now."""
        torch.bitwise_and(self._whole.bits, self._mask, out=self._part.bits)
        return self._renderer


class NearField:
    """A field without what it knows of far away: behind its samples is the given background."""

    def __init__(self, field: Field) -> None:
        self._field = field

    @property
    def num_channels(self) -> int:
        """The number of radiance channels."""
        return self._field.num_channels

    def query(
        self,
        points: Float[Tensor, "samples 3"],
        directions: Float[Tensor, "samples 3"],
        conditions: Float[Tensor, "rays conditions"] | None = None,
        ray_index: Int[Tensor, " samples"] | None = None,
        footprint: Float[Tensor, " samples"] | None = None,
    ) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
        """Density and radiance of the field."""
        return self._field.query(points, directions, conditions, ray_index, footprint)

    def density(
        self, points: Float[Tensor, "samples 3"], footprint: Float[Tensor, " samples"] | None = None
    ) -> Float[Tensor, " samples"]:
        """Density of the field."""
        return self._field.density(points, footprint)

    def fused_view(self) -> tuple[object, object] | None:
        """That of the field."""
        return self._field.fused_view()
