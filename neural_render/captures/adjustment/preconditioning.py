"""In which units cameras are refined: in those of the pixels that they move.

Park et al. 2023, "CamP: Camera Preconditioning for Neural Radiance Fields": a step of one unit in
any direction of a camera's parameters moves the points that it sees by about as many pixels, and
parameters that move them alike are taken apart.

Legend: J the Jacobian of a camera's points, in pixels, to its parameters; P the preconditioner.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, directions_in_camera

POINTS_ALONG = 8  # each way, in a picture
NEAREST, FARTHEST = 0.5, 4.0  # of the points, times the distance of the scene
DAMPING = 0.1  # CamP's lambda, of the diagonal
FLOOR = 1e-6  # CamP's mu, of the mean of the diagonal
DIFFERENCE = 1e-4  # central differences in double precision: no lens needs a derivative of its own
GOLDEN = 0.6180339887498949


def sample_points(
    cameras: Cameras, distance: Float[Tensor, " cameras"]
) -> Float[Tensor, "cameras points 3"]:
    """Points that cameras see, at distances around the given ones, in the cameras' frame."""
    steps = (torch.arange(POINTS_ALONG, device=distance.device) + 0.5) / POINTS_ALONG
    place = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).view(1, -1, 2)
    size = torch.stack([cameras.width, cameras.height], dim=-1)
    pixels = (place.to(distance) * size[:, None]).view(-1, 2)
    num_points = place.shape[1]
    index = torch.arange(len(cameras), device=distance.device).repeat_interleave(num_points)
    local, _, _ = directions_in_camera(cameras, index, pixels)
    poses = cameras.world_from_camera.index_select(0, index)
    directions = (poses[..., :3] * local[:, None, :]).sum(-1)
    # Log-uniform, neighbours in the picture at distances far apart.
    share = (torch.arange(len(index), device=distance.device) * GOLDEN) % 1.0
    factor = NEAREST * (FARTHEST / NEAREST) ** share.to(distance)
    points = poses[..., 3] + directions * (factor * distance.index_select(0, index))[:, None]
    return points.view(len(cameras), num_points, 3)


def preconditioners(
    pixels_of: Callable[[Float[Tensor, "cameras parameters"]], Float[Tensor, "cameras points 2"]],
    parameters: Float[Tensor, "cameras parameters"],
) -> Float[Tensor, "cameras parameters parameters"]:
    """P = (J^T J / points + damping)^(-1/2) of each camera.

    ``pixels_of`` tells where cameras see their points.
    """
    columns = []
    for column in range(parameters.shape[1]):
        step = torch.zeros_like(parameters)
        step[:, column] = DIFFERENCE
        moved = pixels_of(parameters + step) - pixels_of(parameters - step)
        columns.append(moved.flatten(1) / (2 * DIFFERENCE))
    jacobian = torch.stack(columns, dim=-1)
    normal = jacobian.mT @ jacobian / (jacobian.shape[1] / 2)
    return inverse_root(normal)


def inverse_root(
    normal: Float[Tensor, "cameras parameters parameters"],
) -> Float[Tensor, "cameras parameters parameters"]:
    """(A + lambda diag A + mu)^(-1/2) of symmetric matrices."""
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    floor = FLOOR * diagonal.mean(dim=-1, keepdim=True).clamp(min=1e-30)
    values, vectors = torch.linalg.eigh(normal + (DAMPING * diagonal + floor).diag_embed())
    return (vectors * values.rsqrt()[..., None, :]) @ vectors.mT
