"""Camera paths around what a capture looked at: a turntable orbit and a spiral.

All in the frame of the given cameras, usually the capture's world. Paths are pinhole cameras with
the photos' usual size and field of view. Files with keyframes: see ``keyframes``.

Legend: A sum over cameras of the projectors I - d d^T across their optical axes d; the point of
least squared distance to all axes solves A x = sum (I - d d^T) o, o being the camera's position.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens, half_angles_rad
from neural_render.core.transforms import look_at

# Below this mean angle (as an eigenvalue of A per camera) axes count as parallel.
MIN_CONVERGENCE = 2e-3
FORWARD_FACING = 0.95  # mean length of the sum of viewing directions: 1 = all look the same way
WIDEST_PINHOLE_RAD = math.radians(100.0)
CENTRAL = 0.7  # the same, above which one photo looks the middle way
WIDEST_GAP_RAD = math.radians(120.0)  # between neighbouring photos that still surround the focus
LEAST_SWEEP_RAD = math.radians(20.0)
SPIRAL_TURNS = 2
SPIRAL_REACH = 0.2  # of the focus distance, at most


@dataclass(frozen=True, kw_only=True)
class Orbit:
    """A circle of cameras: ``start`` is the horizontal unit direction from its axis to frame 0.

    ``sweep_rad`` is the part of the circle that was photographed: 2 pi, or less, then from
    ``start`` on. ``facing`` is 1 where cameras look at the centre and -1 where they look away from
    it (captures taken from inside).
    """

    center: Float[Tensor, "3"]
    up: Float[Tensor, "3"]
    start: Float[Tensor, "3"]
    radius: float
    elevation_rad: float
    sweep_rad: float
    facing: float


def orbit_path(cameras: Cameras, num_frames: int) -> Cameras:
    """A turn around what ``cameras`` look at, from their usual distance and height.

    Where they do not surround it: forth and back along the arc that they cover.
    """
    return cameras_on_orbit(fit_orbit(cameras), cameras, num_frames)


def cameras_on_orbit(orbit: Orbit, like: Cameras, num_frames: int) -> Cameras:
    """A closed path on ``orbit``: the last frame is one step before the first."""
    angle = torch.arange(num_frames, dtype=torch.float64)[:, None] * (2 * math.pi / num_frames)
    if orbit.sweep_rad < 2 * math.pi:
        angle = orbit.sweep_rad * (1 - angle.cos()) / 2
    side = torch.linalg.cross(orbit.up, orbit.start)
    ring = angle.cos() * orbit.start + angle.sin() * side
    rise = math.cos(orbit.elevation_rad) * ring + math.sin(orbit.elevation_rad) * orbit.up
    positions = orbit.center + orbit.radius * rise
    targets = positions - orbit.facing * rise
    up = orbit.up.expand_as(positions)
    return path_cameras(look_at(positions, targets, up), like)


def fit_orbit(cameras: Cameras) -> Orbit:
    """The orbit of median distance and height around the focus of ``cameras``."""
    poses = cameras.world_from_camera.detach().double().cpu()
    center, up = focus_of(cameras), up_of(cameras)
    offsets = poses[..., 3] - center
    distances = offsets.norm(dim=-1)
    radius = distances.median().item()
    sines = (offsets @ up) / distances.clamp(min=1e-12)
    elevation = sines.clamp(-1, 1).asin().median().item()
    toward = -(offsets * poses[..., 2]).sum(-1)
    start, sweep = _covered_arc(offsets, up)
    return Orbit(
        center=center,
        up=up,
        start=start,
        radius=radius if radius > 0 else 1.0,
        # Straight from above or below there is no turn to see.
        elevation_rad=min(max(elevation, -1.4), 1.4),
        sweep_rad=sweep,
        facing=1.0 if toward.median().item() >= 0 else -1.0,
    )


def _covered_arc(
    offsets: Float[Tensor, "cameras 3"], up: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "3"], float]:
    """Where the arc of positions around ``up`` starts, as a unit vector, and its angle.

    Positions that surround the axis: the direction of the first one, and a whole turn.
    """
    level = offsets - (offsets @ up)[:, None] * up
    first = level[0]
    if first.norm() < 1e-6 * max(offsets[0].norm().item(), 1e-12):  # right above: start anywhere
        first = torch.linalg.cross(up, up.roll(1) + up.new_tensor([0.0, 0.0, 1e-3]))
    first = torch.nn.functional.normalize(first, dim=0)
    side = torch.linalg.cross(up, first)
    angles = torch.atan2(level @ side, level @ first).sort().values
    gaps = torch.cat([angles.diff(), angles[:1] + 2 * math.pi - angles[-1:]])
    if gaps.amax().item() <= WIDEST_GAP_RAD:
        return first, 2 * math.pi
    widest = int(gaps.argmax())
    sweep = max(2 * math.pi - gaps[widest].item(), LEAST_SWEEP_RAD)
    middle = angles[(widest + 1) % len(angles)] + (2 * math.pi - gaps[widest]) / 2
    begin = middle - sweep / 2
    return begin.cos() * first + begin.sin() * side, sweep


def spiral_path(cameras: Cameras, num_frames: int, focus_distance: float = 0.0) -> Cameras:
    """Two turns of a spiral around the mean camera, or around one photo if they look many ways.

    The cameras look at one point, ``focus_distance`` ahead of the middle; 0: where the optical
    axes meet. Made for forward-facing captures (after Mildenhall et al. 2019).
    """
    poses = cameras.world_from_camera.detach().double().cpu()
    up = up_of(cameras)
    position, forward = poses[..., 3].mean(dim=0), poses[..., 2].mean(dim=0)
    if not is_forward_facing(cameras):
        central = int((poses[..., 2] @ forward).argmax()) if forward.norm() > CENTRAL else 0
        position, forward = poses[central, :, 3], poses[central, :, 2]
    forward = torch.nn.functional.normalize(forward, dim=0)
    if focus_distance <= 0:
        ahead = ((focus_of(cameras) - position) @ forward).item()
        focus_distance = ahead if ahead > 0 else distance_scale(poses)
    base = look_at(position, position + forward, up)
    local = (poses[..., 3] - position) @ base[:, :3]
    most = SPIRAL_REACH * focus_distance
    reach = local.abs().quantile(0.9, dim=0).clamp(min=most / 4, max=most)
    turn = torch.arange(num_frames, dtype=torch.float64) * (2 * math.pi / num_frames)
    angle = SPIRAL_TURNS * turn
    steps = torch.stack([angle.cos(), angle.sin(), turn.sin() / 2], dim=-1) * reach
    positions = position + steps @ base[:, :3].T
    target = (position + focus_distance * forward).expand_as(positions)
    return path_cameras(look_at(positions, target, up.expand_as(positions)), cameras)


def is_forward_facing(cameras: Cameras) -> bool:
    """Whether all cameras look about the same way, so that a spiral suits them, not an orbit."""
    forward = cameras.world_from_camera[..., 2].detach().double()
    return forward.mean(dim=0).norm().item() > FORWARD_FACING


def up_of(cameras: Cameras) -> Float[Tensor, "3"]:
    """The direction up: across the cameras' horizontal axes if these agree, else the mean.

    Level cameras that look around have their x axes in one plane; its normal does not depend on
    how often which side was photographed, as the mean of the cameras' own up vectors does.
    """
    poses = cameras.world_from_camera.detach().double().cpu()
    mean = -poses[..., 1].mean(dim=0)
    if mean.norm() < 1e-6:
        return poses.new_tensor([0.0, 0.0, 1.0])
    mean = torch.nn.functional.normalize(mean, dim=0)
    right = poses[..., 0]
    spread, axes = torch.linalg.eigh(right.T @ right / len(right))
    normal = axes[:, 0] * torch.sign(axes[:, 0] @ mean)
    level = spread[0] < 0.05 * spread[1]
    return normal if bool(level) and (normal @ mean).item() > 0.85 else mean


def focus_of(cameras: Cameras) -> Float[Tensor, "3"]:
    """The point that the cameras look at: the nearest to all optical axes (see the legend).

    Where the axes are as good as parallel: a point well ahead of the cameras' mean position.
    """
    poses = cameras.world_from_camera.detach().double().cpu()
    forward, positions = poses[..., 2], poses[..., 3]
    across = torch.eye(3, dtype=torch.float64) - forward[:, :, None] * forward[:, None, :]
    matrix = across.mean(dim=0)
    if torch.linalg.eigvalsh(matrix)[0] > MIN_CONVERGENCE:
        return torch.linalg.solve(matrix, (across @ positions[..., None]).mean(dim=0)[:, 0])
    ahead = torch.nn.functional.normalize(forward.mean(dim=0), dim=0)
    return positions.mean(dim=0) + distance_scale(poses) * ahead


def distance_scale(poses: Float[Tensor, "cameras 3 4"]) -> float:
    """A guess at the scene's distance where axes do not meet: four times the cameras' spread."""
    positions = poses[..., 3]
    spread = (positions - positions.mean(dim=0)).norm(dim=-1).amax().item()
    return 4 * spread if spread > 0 else 1.0


def path_cameras(poses: Float[Tensor, "cameras 3 4"], like: Cameras) -> Cameras:
    """Pinhole cameras at ``poses`` with the usual size and field of view of ``like``."""
    usual = _usual_size(like)
    width, height = int(like.width[usual][0]), int(like.height[usual][0])
    focal = like.focal_px[usual].detach().double().cpu()
    half = torch.tensor([width, height], dtype=torch.float64) / 2
    wide = (like.lens[usual].cpu() != Lens.PERSPECTIVE)[:, None]
    half_angle = half_angles_rad(like[usual]).detach().double().cpu()
    half_angle = half_angle.clamp(max=WIDEST_PINHOLE_RAD / 2)
    focal = torch.where(wide, half / half_angle.tan(), focal).quantile(0.5, dim=0)
    if bool(wide.any()):  # square pixels, the wider side at its whole angle
        focal = focal[half.argmax()].expand(2)
    return _pinholes(poses, focal[None].expand(len(poses), 2), (width, height), like)


def pinholes_with_fov(
    poses: Float[Tensor, "cameras 3 4"],
    vertical_fov_rad: Float[Tensor, " cameras"],
    size: tuple[int, int],
    like: Cameras,
) -> Cameras:
    """Pinhole cameras of ``size`` (width, height) with square pixels and these fields of view."""
    focal = size[1] / 2 / (vertical_fov_rad.double() / 2).tan()
    return _pinholes(poses, focal[:, None].expand(-1, 2), size, like)


def reframed(cameras: Cameras, width: int, height: int) -> Cameras:
    """The same views in another format: the vertical field of view stays, pixels stay square."""
    ratio = (height / cameras.height)[:, None].to(cameras.focal_px.dtype)
    half = cameras.center_px.new_tensor([width / 2, height / 2])
    offset = cameras.center_px - torch.stack([cameras.width, cameras.height], dim=-1) / 2
    return replace(
        cameras,
        focal_px=cameras.focal_px * ratio,
        center_px=half + offset * ratio,
        width=torch.full_like(cameras.width, width),
        height=torch.full_like(cameras.height, height),
    )


def _usual_size(cameras: Cameras) -> Bool[Tensor, " cameras"]:
    """Which cameras have the most frequent picture size."""
    sizes = list(zip(cameras.width.tolist(), cameras.height.tolist(), strict=True))
    usual = Counter(sizes).most_common(1)[0][0]
    return torch.tensor([size == usual for size in sizes], device=cameras.width.device)


def _pinholes(
    poses: Float[Tensor, "cameras 3 4"],
    focal_px: Float[Tensor, "cameras 2"],
    size: tuple[int, int],
    like: Cameras,
) -> Cameras:
    """Undistorted cameras with centred axes, in dtype and device of ``like``."""
    number = len(poses)
    floats = {"dtype": like.focal_px.dtype, "device": like.focal_px.device}
    half = torch.tensor([[size[0] / 2, size[1] / 2]], **floats)
    return Cameras(
        world_from_camera=poses.to(**floats),
        focal_px=focal_px.to(**floats),
        center_px=half.repeat(number, 1),
        distortion=torch.zeros((number, 6), **floats),
        lens=torch.full((number,), int(Lens.PERSPECTIVE), device=like.lens.device),
        width=torch.full((number,), size[0], device=like.width.device),
        height=torch.full((number,), size[1], device=like.height.device),
    )
