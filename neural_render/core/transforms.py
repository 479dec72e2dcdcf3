"""Rigid and similarity transforms between named frames.

Frames compose by adjacency: ``points_world = world_from_camera @ points_camera``.

Legend: R rotation [3 3], t translation [3], s scale, w rotation vector (axis times angle).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """``x -> scale * x + translation``: how the field's unit cube lies in the capture's world.

    The field's axes are the world's: only scale and place differ.
    """

    scale: float
    translation: tuple[float, float, float]

    def apply(self, points: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points 3"]:
        """The points in the outer frame; differentiable."""
        return points * self.scale + points.new_tensor(self.translation)

    def inverse(self) -> "Similarity":
        """The transform back."""
        x, y, z = (-value / self.scale for value in self.translation)
        return Similarity(scale=1.0 / self.scale, translation=(x, y, z))

    def apply_to_poses(self, poses: Float[Tensor, "*poses 3 4"]) -> Float[Tensor, "*poses 3 4"]:
        """Camera-to-frame poses in the outer frame: rotations stay, positions move."""
        return torch.cat([poses[..., :3], self.apply(poses[..., 3])[..., None]], dim=-1)


def look_at(
    position: Float[Tensor, "*poses 3"],
    target: Float[Tensor, "*poses 3"],
    up: Float[Tensor, "*#poses 3"],
) -> Float[Tensor, "*poses 3 4"]:
    """Poses ``world_from_camera`` (x right, y down, z forward) at ``position``, facing a target."""
    forward = torch.nn.functional.normalize(target - position, dim=-1)
    right = torch.linalg.cross(forward, up.expand_as(forward))
    # Looking along `up`: any perpendicular direction will do.
    spare = torch.linalg.cross(forward, forward.roll(1, dims=-1) + forward.new_tensor([0, 0, 1e-3]))
    small = right.norm(dim=-1, keepdim=True) < 1e-6
    right = torch.nn.functional.normalize(torch.where(small, spare, right), dim=-1)
    down = torch.linalg.cross(forward, right)
    return torch.stack([right, down, forward, position], dim=-1)


def rotation_from_vector(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of rotation vectors in radians; differentiable also at zero (Rodrigues)."""
    angle_squared = (vectors * vectors).sum(-1)[..., None, None]
    small = angle_squared < 1e-8
    safe = torch.where(small, torch.ones_like(angle_squared), angle_squared)
    angle = safe.sqrt()
    first = torch.where(small, 1 - angle_squared / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - angle_squared / 24, (1 - angle.cos()) / safe)
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    cross = cross.unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return identity + first * cross + second * (cross @ cross)


def vector_from_rotation(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vectors (radians, angles in [0, pi]) of rotations; not differentiable at pi."""
    quat_wxyz = quat_wxyz_from_rotation(rotations)
    sine = quat_wxyz[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quat_wxyz[..., :1])
    angle = torch.where(angle > math.pi, angle - 2 * math.pi, angle)
    factor = torch.where(sine > 1e-7, angle / sine.clamp(min=1e-7), torch.full_like(sine, 2.0))
    return quat_wxyz[..., 1:] * factor


def quat_wxyz_from_rotation(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternions of rotation matrices: the best conditioned of the four classic formulas."""
    m = rotations
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    squares = torch.stack(
        [1 + trace] + [1 - trace + 2 * m[..., axis, axis] for axis in range(3)], dim=-1
    )
    a = m[..., 2, 1] - m[..., 1, 2]
    b = m[..., 0, 2] - m[..., 2, 0]
    c = m[..., 1, 0] - m[..., 0, 1]
    d = m[..., 1, 0] + m[..., 0, 1]
    e = m[..., 0, 2] + m[..., 2, 0]
    f = m[..., 2, 1] + m[..., 1, 2]
    rows = torch.stack(
        [
            torch.stack([squares[..., 0], a, b, c], dim=-1),
            torch.stack([a, squares[..., 1], d, e], dim=-1),
            torch.stack([b, d, squares[..., 2], f], dim=-1),
            torch.stack([c, e, f, squares[..., 3]], dim=-1),
        ],
        dim=-2,
    )
    best = squares.argmax(dim=-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    return torch.nn.functional.normalize(rows.gather(-2, best).squeeze(-2), dim=-1)


def interpolate_poses(
    start: Float[Tensor, "3 4"], end: Float[Tensor, "3 4"], fraction: float
) -> Float[Tensor, "3 4"]:
    """The pose at ``fraction`` on the way from ``start`` to ``end``: geodesic rotation, straight
    translation (the product SO(3) x R3, so that a camera path does not corkscrew)."""
    turn = vector_from_rotation(start[:, :3].T @ end[:, :3])
    rotation = start[:, :3] @ rotation_from_vector(turn * fraction)
    position = torch.lerp(start[:, 3], end[:, 3], fraction)
    return torch.cat([rotation, position[:, None]], dim=1)
