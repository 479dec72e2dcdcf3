"""Fields whose renderings are known in closed form, and fields that hide their fused view."""

from dataclasses import replace

import torch
from torch import Tensor

from neural_render.core.protocols import SceneFrame
from neural_render.core.rays import Rays
from neural_render.core.transforms import Similarity
from neural_render.fields import FieldSettings, GridSettings, RadianceField, field_spec

CPU = torch.device("cpu")


class SphereField:
    """A ball of constant density in the cube's middle; its colour is constant or the position."""

    def __init__(self, radius: float, density: float, color: tuple[float, ...] | None) -> None:
        self.radius, self.inside, self.color = radius, torch.tensor(density), color
        self.num_asked = 0

    @property
    def num_channels(self) -> int:
        return 3 if self.color is None else len(self.color)

    def query(
        self,
        points: Tensor,
        directions: Tensor,
        conditions: Tensor | None = None,
        ray_index: Tensor | None = None,
        footprint: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        radiance = points if self.color is None else points.new_tensor(self.color)
        return self.density(points), radiance.expand(len(points), self.num_channels)

    def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
        self.num_asked += len(points)
        hit = (points - 0.5).norm(dim=-1) < self.radius
        return torch.where(hit, self.inside.to(points.dtype), 0.0)

    def fused_view(self) -> None:
        return None


class SlabField(SphereField):
    """Constant density between two planes of constant x."""

    def __init__(self, low: float, high: float, density: float) -> None:
        super().__init__(0.0, density, (1.0, 0.5, 0.25))
        self.low, self.high = low, high

    def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
        self.num_asked += len(points)
        hit = (points[:, 0] >= self.low) & (points[:, 0] < self.high)
        return torch.where(hit, self.inside.to(points.dtype), 0.0)


class Unfused:
    """Another field without its fused view, so that the renderer has to compose."""

    def __init__(self, field: RadianceField) -> None:
        self.field = field

    @property
    def num_channels(self) -> int:
        return self.field.num_channels

    def query(
        self,
        points: Tensor,
        directions: Tensor,
        conditions: Tensor | None = None,
        ray_index: Tensor | None = None,
        footprint: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        return self.field.query(points, directions, conditions, ray_index, footprint)

    def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
        return self.field.density(points, footprint)

    def fused_view(self) -> None:
        return None


def frame(cascades: int = 1, near: float = 0.0) -> SceneFrame:
    """The unit cube of the world."""
    identity = Similarity(scale=1.0, translation=(0.0, 0.0, 0.0))
    return SceneFrame(world_from_field=identity, cascades=cascades, near=near)


def small_field(
    cascades: int = 1, num_conditions: int = 0, density_bias: float = 0.0
) -> RadianceField:
    """A small hash-grid field with random features, thousands of times those of a fresh one."""
    grid = GridSettings(levels=4, features=2, log2_rows=9, coarsest=4, finest=32)
    spec = field_spec(
        FieldSettings(grid=grid, width=16, sh_degree=2, latent=16),
        num_channels=3,
        cascades=cascades,
        radiance="sigmoid",
        num_conditions=num_conditions,
    )
    spec = replace(spec, density_bias=density_bias)
    field = RadianceField(spec, torch.Generator().manual_seed(5))
    with torch.no_grad():
        field.table.mul_(4e4)
    return field


def rays_at(points: Tensor, targets: Tensor, footprint: float = 0.0) -> Rays:
    """Rays from points to targets."""
    return Rays(
        origins=points,
        directions=torch.nn.functional.normalize(targets - points, dim=-1),
        footprint=torch.full_like(points[:, 0], footprint),
    )


def rays_into_cube(num_rays: int, seed: int = 0, footprint: float = 0.0) -> Rays:
    """Random rays from outside the unit cube to random points in it."""
    generator = torch.Generator().manual_seed(seed)
    outside = torch.nn.functional.normalize(torch.randn((num_rays, 3), generator=generator), dim=-1)
    targets = 0.2 + 0.6 * torch.rand((num_rays, 3), generator=generator)
    return rays_at(0.5 + 1.3 * outside, targets, footprint)
