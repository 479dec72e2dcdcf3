"""What the floors ask of each other: a field to query, a source of rays, a frame to place both."""

from dataclasses import dataclass
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.core.projection import IDENTITY_PROJECTION, Projection
from neural_render.core.rays import RayBatch
from neural_render.core.transforms import Similarity

ROUNDING = 1e-5  # of a cube's side, by which places of one scene may differ


@dataclass(frozen=True, kw_only=True)
class SceneFrame:
    """Where the field's unit cube lies in the world and how space is divided in it.

    ``cascades`` nested cubes around the centre (0.5, 0.5, 0.5): cascade c has side
    ``2 ** (c - cascades + 1)``, so the last one is the unit cube and cascade 0 the region of
    interest. ``near`` (field units) is the distance before which nothing is sampled.

    ``projection`` maps the field's frame to the cube in which the field's parameters and its cells
    lie: the identity, but for scenes seen from one side. Rays, cameras and distances are in the
    field's frame; only the renderer, and who asks the field itself, need know of it.
    """

    world_from_field: Similarity
    cascades: int
    near: float
    projection: Projection = IDENTITY_PROJECTION

    def is_near(self, other: "SceneFrame") -> bool:
        """Whether both are the same but for rounding, which processors and libraries differ in."""
        own, their = self.world_from_field, other.world_from_field
        limits = [(own.scale, their.scale, their.scale), (self.near, other.near, 1.0)]
        limits += [
            (here, there, their.scale)
            for here, there in zip(own.translation, their.translation, strict=True)
        ]
        largest = max(map(abs, other.projection.matrix))
        limits += [
            (here, there, largest)
            for here, there in zip(self.projection.matrix, other.projection.matrix, strict=True)
        ]
        close = all(abs(here - there) <= ROUNDING * size for here, there, size in limits)
        return close and self.cascades == other.cascades


@runtime_checkable
class RaySource(Protocol):
    """Where training rays come from: photos, a path-traced scene, another field."""

    @property
    def num_channels(self) -> int:
        """The number of radiance channels of the targets."""
        ...

    @property
    def frame(self) -> SceneFrame:
        """The placement of the field in the source's world."""
        ...

    @property
    def has_opacity(self) -> bool:
        """Whether the targets' opacity was measured (else it is 1 everywhere)."""
        ...

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        """``num_rays`` random rays with targets, in field units; depends on its arguments alone."""
        ...


@runtime_checkable
class RegionSource(RaySource, Protocol):
    """A source whose rays lie in regions, each of which can be asked for on its own."""

    @property
    def region_sizes(self) -> Int[Tensor, " regions"]:
        """The number of different rays of each region; where it is 0, none may be asked for."""
        ...

    def sample_regions(
        self, num_rays: int, regions: Int[Tensor, " chosen"], generator: torch.Generator
    ) -> tuple[RayBatch, Int[Tensor, " rays"]]:
        """As ``sample``, but the first rays lie in ``regions``, one each; and all their regions."""
        ...


@runtime_checkable
class SteppedSource(RaySource, Protocol):
    """A source whose rays come from another part of it as the steps go on."""

    def turn_to(self, step: int) -> None:
        """To be called before the rays of ``step`` are drawn; may wait for a disk."""
        ...


@runtime_checkable
class Field(Protocol):
    """A function of position, direction and condition that gives density and radiance."""

    @property
    def num_channels(self) -> int:
        """The number of radiance channels."""
        ...

    def query(
        self,
        points: Float[Tensor, "samples 3"],
        directions: Float[Tensor, "samples 3"],
        conditions: Float[Tensor, "rays conditions"] | None = None,
        ray_index: Int[Tensor, " samples"] | None = None,
        footprint: Float[Tensor, " samples"] | None = None,
    ) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
        """Density and radiance; differentiable in everything that is a float."""
        ...

    def density(
        self, points: Float[Tensor, "samples 3"], footprint: Float[Tensor, " samples"] | None = None
    ) -> Float[Tensor, " samples"]:
        """Density per field unit."""
        ...

    def fused_view(self) -> "tuple[object, object] | None":
        """``(FieldSpec, FieldParameters)`` for the fused ops of ``kernels``, or None."""
        ...


@runtime_checkable
class FarField(Field, Protocol):
    """A field that may also know what is farther than all of its samples."""

    @property
    def has_far(self) -> bool:
        """Whether it does."""
        ...

    def far_parameters(self) -> dict[str, Tensor]:
        """The parameters that this depends on, by the names that they have in the field."""
        ...

    def far_radiance(self, directions: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays channels"]:
        """What is seen there; differentiable in its parameters and in directions."""
        ...


# What steps ask of their source and field: one look at a method, where `isinstance` would ask for
# every property of the protocol, and compute it.


def has_regions(source: RaySource) -> TypeGuard[RegionSource]:
    """Whether a source's rays lie in regions."""
    return hasattr(source, "sample_regions")


def is_stepped(source: RaySource) -> TypeGuard[SteppedSource]:
    """Whether a source is to be told of each step."""
    return hasattr(source, "turn_to")


def knows_far(field: Field) -> TypeGuard[FarField]:
    """Whether a field knows what is farther than all of its samples."""
    return hasattr(field, "far_radiance") and bool(getattr(field, "has_far", False))
