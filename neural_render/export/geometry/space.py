"""The lattice that surfaces are found on: even steps where photos tell even steps apart.

Legend: g a place in the lattice's cube [0,1]^3, x one in the cube of the field's parameters, C the
number of cascades, h half the side of the innermost, y = (x - 1/2) / h, |y| the largest coordinate.

A bounded scene has x = g. Nested cubes are drawn together, so that cells grow with distance and
never change their neighbours (a contraction of the largest coordinate, after Barron et al. 2022,
equation 10):

    c(y) = y where |y| <= 1, else (2 - 1/|y|) y/|y|;     g = 1/2 + c / (2 (2 - 2^(1 - C)))

A scene seen from one side has x = g too, its cube being even in disparity already. All three maps
are continuous and one to one: what is closed on the lattice is closed in the world.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.protocols import SceneFrame

# Of a projection's cube: what is deeper is as good as infinitely far.
FARTHEST = 1 - 1 / 128


@dataclass(frozen=True, kw_only=True)
class Space:
    """The maps between lattice, field and world; ``inner``: of nested cubes the innermost alone."""

    frame: SceneFrame
    inner: bool

    @property
    def limits(self) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
        """The corners of what may be looked at, in the lattice's cube."""
        high = torch.ones(3)
        if not self.frame.projection.is_identity:
            high[2] = FARTHEST
        return torch.zeros(3), high

    @property
    def _half(self) -> float:
        """h"""
        return 2.0**-self.frame.cascades

    @property
    def _reach(self) -> float:
        """The largest |c|."""
        return 2 - 2.0 ** (1 - self.frame.cascades)

    def cube(self, places: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """x of g."""
        if self.frame.cascades == 1:
            return places
        if self.inner:
            return 0.5 + 2 * self._half * (places - 0.5)
        drawn = (2 * places - 1) * self._reach
        largest = drawn.abs().amax(-1, keepdim=True)
        far = drawn / (largest * (2 - largest).clamp(min=2.0**-self.frame.cascades)).clamp(min=1e-9)
        return 0.5 + self._half * torch.where(largest > 1, far, drawn)

    def places(self, cube: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """g of x."""
        if self.frame.cascades == 1:
            return cube
        y = (cube - 0.5) / self._half
        if self.inner:
            return 0.5 + 0.5 * y
        largest = y.abs().amax(-1, keepdim=True).clamp(min=1e-9)
        drawn = torch.where(largest > 1, (2 - 1 / largest) * y / largest, y)
        return 0.5 + drawn / (2 * self._reach)

    def field(self, places: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """The points of the field's frame."""
        cube = self.cube(places)
        if self.frame.projection.is_identity:
            return cube
        return self.frame.projection.inverse().apply(cube.double()).to(places)

    def of_field(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """The inverse of ``field``."""
        return self.places(self.frame.projection.apply(points))

    def world(self, places: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """The points in the capture's coordinates."""
        return self.frame.world_from_field.apply(self.field(places))

    def reach(self, points: Float[Tensor, "points 3"], step: float) -> Float[Tensor, " points"]:
        """How far (in field units) the lattice's next point is at most, at points of the field."""
        places = self.of_field(points)
        low, high = self.limits
        places = torch.minimum(torch.maximum(places, low), high - step)
        here = self.field(places)
        ways = [self.field(places + step * axis) - here for axis in torch.eye(3)]
        return torch.stack([way.norm(dim=-1) for way in ways]).amax(0)
