"""Where a camera of a path is between its frames: what motion blur is made of."""

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.flight.keyframes import Keyframes, interpolate

_NEIGHBOURS = 2  # frames on either side that the spline between two frames depends on


def around(cameras: Cameras, index: int, offsets: Float[Tensor, " moments"]) -> Cameras:
    """The camera of a path at some moments; ``offsets`` are frames, from -1 to 1, after ``index``.

    It goes through all frames as keyframes are gone through. Before the first and after the last
    one it moves on as it did. A path of one frame stands still.
    """
    here = torch.full((len(offsets),), index, device=cameras.lens.device)
    still = cameras[here]
    if len(cameras) < 2 or not bool(offsets.any()):
        return still
    poses, log_focal, first = _window(cameras, index)
    knots = Keyframes(
        poses=poses,
        log_focal=log_focal,
        times=torch.arange(len(poses), dtype=torch.float64) + first,
        period=0.0,
    )
    moved, focal = interpolate(knots, index + offsets.double().cpu())
    zoom = torch.exp(focal - log_focal[index - first]).to(still.focal_px)
    return Cameras(
        world_from_camera=moved.to(still.world_from_camera),
        focal_px=still.focal_px * zoom[:, None],
        center_px=still.center_px,
        distortion=still.distortion,
        lens=still.lens,
        width=still.width,
        height=still.height,
    )


def _window(
    cameras: Cameras, index: int
) -> tuple[Float[Tensor, "frames 3 4"], Float[Tensor, " frames"], int]:
    """The frames around one with their log focal lengths, and the first one's index: one frame
    beyond each end of the path is what its speed there leads to."""
    start, end = max(index - _NEIGHBOURS, 0), min(index + _NEIGHBOURS + 1, len(cameras))
    near = cameras[start:end]
    poses = near.world_from_camera.detach().double().cpu()
    focal = near.focal_px[:, 1].detach().double().cpu().log()
    if index < _NEIGHBOURS:
        poses = torch.cat([_continued(poses[1], poses[0])[None], poses])
        focal = torch.cat([2 * focal[:1] - focal[1:2], focal])
        start -= 1
    if index + _NEIGHBOURS >= len(cameras):
        poses = torch.cat([poses, _continued(poses[-2], poses[-1])[None]])
        focal = torch.cat([focal, 2 * focal[-1:] - focal[-2:-1]])
    return poses, focal, start


def _continued(before: Float[Tensor, "3 4"], last: Float[Tensor, "3 4"]) -> Float[Tensor, "3 4"]:
    """The pose after ``last`` of what moves and turns on as it did since ``before``."""
    turn = before[:, :3].T @ last[:, :3]
    position = 2 * last[:, 3] - before[:, 3]
    return torch.cat([last[:, :3] @ turn, position[:, None]], dim=1)
