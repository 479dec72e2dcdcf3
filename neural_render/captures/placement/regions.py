"""What cameras look at, by themselves: the cube around their axes' focus, or a guess in words.

Legend: o, d position and axis of a camera; p the focus; A the sum of w (I - d d^T), whose smallest
eigenvalue (per weight) is the mean square of the sine between the axes and their common direction.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens, half_angles_rad

# Axes that spread less than about 6 degrees meet nowhere in particular.
MIN_AXIS_SPREAD = 0.01
ROBUST_STEPS = 20
# Parallel views: how far in front of the cameras the scene is guessed, in spreads of their places.
FORWARD_FOCUS = 4.0
LARGEST_WIDE_ANGLE = math.pi / 3


@dataclass(frozen=True, kw_only=True)
class Region:
    """The cube of interest in the world, and what to tell the user about how it was found."""

    center: Float64[Tensor, "3"]
    half_extent: float
    outward: bool  # cameras surround nothing: all they see lies around or behind the cube
    warnings: tuple[str, ...]


def region_of_interest(cameras: Cameras) -> Region:
    """The cube that all cameras look at: around their axes' focus, as large as they see there.

    An object that cameras on a sphere see whole fits into it: its radius is below distance times
    sine, the cube's half extent is distance times tangent, of half the narrower angle of view.
    """
    poses = cameras.world_from_camera.double()
    positions, axes = poses[:, :, 3], poses[:, :, 2]
    focus, spread = focus_of_axes(positions, axes)
    along = ((focus - positions) * axes).sum(-1)
    if spread < MIN_AXIS_SPREAD:
        return _forward_region(cameras, positions, axes)
    if float((along > 0).double().mean()) < 0.5:
        return _outward_region(positions)
    distance = (focus - positions).norm(dim=-1)
    half_extent = float((distance * narrower_tangent(cameras)).median())
    return Region(center=focus, half_extent=half_extent, outward=False, warnings=())


def focus_of_axes(
    positions: Float64[Tensor, "cameras 3"], axes: Float64[Tensor, "cameras 3"]
) -> tuple[Float64[Tensor, "3"], float]:
    """The point nearest to all optical axes, and how much the axes spread (mean squared sine).

    It minimises the sum of distances, not of their squares (iteratively reweighted), so that a few
    cameras that look elsewhere do not move it.
    """
    identity = torch.eye(3, dtype=positions.dtype)
    across = identity - axes[:, :, None] * axes[:, None, :]
    spread = float(torch.linalg.eigvalsh(across.mean(0))[0])
    weights = torch.ones_like(positions[:, 0])
    focus = positions.mean(0)
    for _ in range(ROBUST_STEPS):
        weighted = weights[:, None, None] * across
        # The tiny multiple of the identity pulls to the cameras' middle where axes are parallel.
        system = weighted.sum(0) + 1e-9 * weights.sum() * identity
        right = (weighted @ positions[:, :, None]).sum(0)[:, 0]
        right = right + 1e-9 * weights.sum() * positions.mean(0)
        focus = torch.linalg.solve(system, right)
        distance = (across @ (focus - positions)[:, :, None])[:, :, 0].norm(dim=-1)
        floor = 1e-3 * (focus - positions).norm(dim=-1).mean().clamp(min=1e-30)
        weights = 1 / distance.clamp(min=floor)
    return focus, spread


def narrower_tangent(cameras: Cameras) -> Float64[Tensor, " cameras"]:
    """The tangent of half the narrower angle of view, distortion not counted."""
    size = torch.stack([cameras.width, cameras.height], dim=-1).double()
    tangent = (0.5 * size / cameras.focal_px.double()).amin(-1)
    # Beyond 60 degrees a wide lens's angle would say nothing of the object's size.
    angle = half_angles_rad(cameras).double().amin(-1).clamp(max=LARGEST_WIDE_ANGLE)
    return torch.where(cameras.lens == Lens.PERSPECTIVE, tangent, angle.tan())


def _forward_region(
    cameras: Cameras, positions: Float64[Tensor, "cameras 3"], axes: Float64[Tensor, "cameras 3"]
) -> Region:
    """A guess for cameras side by side that look the same way."""
    middle = positions.mean(0)
    forward = torch.nn.functional.normalize(axes.mean(0), dim=0)
    distance = FORWARD_FOCUS * float((positions - middle).norm(dim=-1).max())
    return Region(
        center=middle + distance * forward,
        half_extent=distance * float(narrower_tangent(cameras).median()),
        outward=True,
        warnings=(
            "the cameras look the same way, so that they do not tell how far the scene is: its"
            f" centre is guessed {distance:.3g} world units in front of them (set capture.scale to"
            " 1 / the width of what is to be sharp if the result is coarse)",
        ),
    )


def _outward_region(positions: Float64[Tensor, "cameras 3"]) -> Region:
    """A guess for cameras that look away from each other."""
    middle = positions.mean(0)
    half_extent = 2 * float((positions - middle).abs().max())
    return Region(
        center=middle,
        half_extent=half_extent,
        outward=True,
        warnings=(
            "the cameras look away from each other, so that they do not tell how large the scene"
            f" is: a cube of {2 * half_extent:.3g} world units around them is taken as its middle"
            " (set capture.scale to 1 / its side and capture.aabb_scale if the result is coarse)",
        ),
    )
