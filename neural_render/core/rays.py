"""Rays and what is fitted or rendered along them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Rays:
    """Half-lines in one frame (the field's, unless said otherwise), differentiable in all fields.

    ``footprint`` is the standard deviation of the pixel's cone per unit of distance (0: no
    anti-aliasing); the footprint of a sample is ``footprint * t``.
    """

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]  # unit length
    footprint: Float[Tensor, " rays"]

    def __len__(self) -> int:
        """The number of rays."""
        return self.origins.shape[0]

    def __getitem__(self, index: slice | Tensor) -> "Rays":
        """The rays at ``index`` (a slice, or an integer or boolean tensor)."""
        return Rays(
            origins=self.origins[index],
            directions=self.directions[index],
            footprint=self.footprint[index],
        )

    def to(self, device: torch.device) -> "Rays":
        """The same rays on another device."""
        return Rays(
            origins=self.origins.to(device),
            directions=self.directions.to(device),
            footprint=self.footprint.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class RayBatch:
    """Rays with what a source saw along them.

    ``targets`` is straight (not premultiplied) colour in the run's colour space, ``opacity`` its
    alpha (1 where the source has none); ``weights`` multiply the loss (1 on average; 0: ignored).
    ``view`` is the index of the training view that each ray belongs to.

    The targets are those channels of the field that begin with ``first_channel``. ``distance`` (in
    the rays' units) is where the first surface lies and ``normals`` are its unit normals, both 0
    where that is not known. ``conditions`` are the field's, of no columns where it has none.
    """

    rays: Rays
    targets: Float[Tensor, "rays channels"]
    opacity: Float[Tensor, " rays"]
    weights: Float[Tensor, " rays"]
    view: Int[Tensor, " rays"]
    distance: Float[Tensor, " rays"]
    normals: Float[Tensor, "rays 3"]
    conditions: Float[Tensor, "rays conditions"]
    first_channel: int = 0

    @classmethod
    def of_colors(
        cls,
        rays: Rays,
        targets: Float[Tensor, "rays channels"],
        opacity: Float[Tensor, " rays"],
    ) -> "RayBatch":
        """Rays of one view of which nothing else is known."""
        none = torch.zeros_like(opacity)
        return cls(
            rays=rays,
            targets=targets,
            opacity=opacity,
            weights=torch.ones_like(opacity),
            view=none.long(),
            distance=none,
            normals=torch.zeros_like(rays.origins),
            conditions=targets.new_zeros(len(targets), 0),
        )

    def __getitem__(self, index: slice) -> "RayBatch":
        """The rays at ``index`` with what was seen along them."""
        return RayBatch(
            rays=self.rays[index],
            targets=self.targets[index],
            opacity=self.opacity[index],
            weights=self.weights[index],
            view=self.view[index],
            distance=self.distance[index],
            normals=self.normals[index],
            conditions=self.conditions[index],
            first_channel=self.first_channel,
        )
