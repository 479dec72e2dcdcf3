"""Projective maps of space: straight rays stay straight, and depth is divided evenly in disparity.

Legend: H the map [4 4], o and d a ray's origin and direction, P = H (o, 1), Q = H (d, 0), so that
the point at distance t maps to (P + t Q) divided by its last value; w that value at the ray's
start; L the length of the ray's image, from its start to what lies at infinity.

Source: Mildenhall et al. 2020, appendix C (normalised device coordinates), for cameras in any pose.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.rays import Rays

IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
# Where a ray begins that does not go forward, and where to.
OUTSIDE, AWAY = (0.5, 0.5, -1.0), (0.0, 0.0, -1.0)
# Of a ray's image: what is farther is as good as infinitely far.
FARTHEST_SHARE = 1 - 1e-4


@dataclass(frozen=True, kw_only=True)
class Projection:
    """``x -> H x`` in homogeneous coordinates, its image the unit cube; by default the identity.

    The first two rows belong to directions across, the third to depth: it is 0 on the plane before
    which nothing is, and the last one grows with depth.
    """

    matrix: tuple[float, ...] = IDENTITY  # H, row by row

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return self.matrix == IDENTITY

    def apply(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """The images of points in front of the camera plane; differentiable."""
        matrix = self._tensor(points)
        image = points @ matrix[:, :3].T + matrix[:, 3]
        return image[:, :3] / image[:, 3:]

    def inverse(self) -> "Projection":
        """The map back."""
        matrix = torch.tensor(self.matrix, dtype=torch.float64).view(4, 4)
        return Projection(matrix=tuple(torch.linalg.inv(matrix).flatten().tolist()))

    def apply_to_rays(self, rays: Rays) -> "ProjectedRays":
        """The images of rays, from the first plane on; differentiable, footprints are 0.

        A ray that does not go forward has an image outside of the unit cube.
        """
        assert not self.is_identity, "the identity leaves rays as they are"
        matrix = self._tensor(rays.origins)
        origins = rays.origins @ matrix[:, :3].T + matrix[:, 3]
        directions = rays.directions @ matrix[:, :3].T
        forward = (directions[:, 3] > 0) & (directions[:, 2] > 0)
        growth = directions[:, 3].where(forward, 1.0)
        start = (-origins[:, 2] / directions[:, 2].where(forward, 1.0)).clamp(min=0.0)
        first = origins + start[:, None] * directions
        depth = first[:, 3].where(forward, 1.0)
        begin = first[:, :3] / depth[:, None]
        way = directions[:, :3] / growth[:, None] - begin
        length = way.norm(dim=-1).clamp(min=1e-6)
        outside, away = _constant(OUTSIDE, begin), _constant(AWAY, begin)
        return ProjectedRays(
            rays=replace(
                rays,
                origins=begin.where(forward[:, None], outside),
                directions=(way / length[:, None]).where(forward[:, None], away),
                footprint=torch.zeros_like(rays.footprint),
            ),
            forward=forward,
            start=start,
            slowness=depth / growth,
            length=length,
        )

    def _tensor(self, like: Tensor) -> Float[Tensor, "4 4"]:
        return _constant(self.matrix, like).view(4, 4)


def _constant(values: tuple[float, ...], like: Tensor) -> Float[Tensor, " values"]:
    return _kept(values, like.dtype, like.device)


@lru_cache(maxsize=32)
def _kept(
    values: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Float[Tensor, " values"]:
    """These values, never to be written to: a host waits for its device when they go there."""
    with torch.inference_mode(False):  # whoever asks first: gradients are asked for later
        return torch.tensor(values, dtype=dtype, device=device)


IDENTITY_PROJECTION = Projection()


@dataclass(frozen=True, kw_only=True)
class ProjectedRays:
    """The images of rays, and what tells distances along the ones from those along the others."""

    rays: Rays
    forward: Bool[Tensor, " rays"]
    start: Float[Tensor, " rays"]  # distance along the ray at which its image begins
    slowness: Float[Tensor, " rays"]  # w over Q's last value: half the image lies beyond it
    length: Float[Tensor, " rays"]  # L

    def image_distance(self, distance: Float[Tensor, " rays"]) -> Float[Tensor, " rays"]:
        """Where what is at a distance along each ray lies along its image; 0 stays 0."""
        beyond = (distance - self.start).clamp(min=0.0)
        # Infinity means that nothing is known, as 0 does.
        share = beyond / (self.slowness + beyond)
        return (share * self.length).where((distance > 0) & distance.isfinite(), 0.0)

    def ray_distance(self, distance: Float[Tensor, " rays"]) -> Float[Tensor, " rays"]:
        """The inverse of ``image_distance``."""
        share = (distance / self.length).clamp(max=FARTHEST_SHARE)
        beyond = self.start + self.slowness * share / (1 - share)
        return beyond.where((distance > 0) & self.forward, 0.0)


def forward_projection(
    *,
    rotation: Float[Tensor, "3 3"],
    position: Float[Tensor, "3"],
    slopes: tuple[tuple[float, float], tuple[float, float]],
    near: float,
) -> Projection:
    """Maps what a camera at ``position`` sees beyond the depth ``near`` to the unit cube.

    The columns of ``rotation`` are the camera's axes: right, down, forward. ``slopes`` are the
    lowest and the highest of x/z and of y/z. The third coordinate of the image is 1 - near / z.
    """
    local = torch.eye(4, dtype=torch.float64)
    local[:3, :3] = rotation.double().T
    local[:3, 3] = -rotation.double().T @ position.double()
    image = torch.zeros(4, 4, dtype=torch.float64)
    for axis, (low, high) in enumerate(slopes):
        image[axis, axis] = 1 / (high - low)
        image[axis, 2] = -low / (high - low)
    image[2, 2], image[2, 3] = 1.0, -near
    image[3, 2] = 1.0
    return Projection(matrix=tuple((image @ local).flatten().tolist()))
