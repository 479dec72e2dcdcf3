"""Camera paths from files: keyframes, interpolated smoothly on SE(3).

Our own format, JSON::

    {"keyframes": [{"transform_matrix": [[...] * 4] * 4, "fov_deg": 40, "time": 0.0}, ...],
     "frames": 120,               or  "seconds": 4, "fps": 30
     "loop": false}

``transform_matrix`` is camera-to-world with Blender's axes (x right, y up, z backward), as in
``transforms.json``. Optional: ``fov_deg`` (vertical, in degrees; else the photos'), ``time`` (any
growing numbers; else even; all or none), the length, ``fps`` (of a video of it), ``loop`` (after
the last keyframe back to the first). nerfstudio's ``camera_path.json`` holds finished frames, which
are taken as they are, in the coordinates of the capture.

Legend: R rotation, w rotation vector, D its derivative by time, h the time between two keyframes,
s in [0, 1] the place between them, b1, b2, b3 the cumulative cubic Bernstein polynomials.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.errors import UserError, reason_of
from neural_render.core.files import read_json
from neural_render.core.flight.paths import path_cameras, pinholes_with_fov
from neural_render.core.transforms import rotation_from_vector, vector_from_rotation

NERFSTUDIO_PINHOLES = ("perspective", "PERSPECTIVE")
MAX_FRAMES = 100_000
MAX_RATE = 1000
RIGID_TOLERANCE = 1e-3
OPENCV_FROM_BLENDER = (1.0, -1.0, -1.0)


@dataclass(frozen=True, kw_only=True)
class Keyframes:
    """What is interpolated: poses (x right, y down, z forward), log focal lengths, times.

    ``log_focal`` is the logarithm of the focal length as a fraction of the picture's height.
    ``period`` is the time of a whole loop, 0 for a path that ends.
    """

    poses: Float[Tensor, "keyframes 3 4"]
    log_focal: Float[Tensor, " keyframes"]
    times: Float[Tensor, " keyframes"]
    period: float


def keyframe_path(path: Path, like: Cameras, num_frames: int) -> Cameras:
    """The cameras of the path in a file, sized like the pictures of ``like``.

    ``num_frames`` is their number where the file states none. UserError where the file is no path.
    """
    content = _load(path)
    if "camera_path" in content:
        return _nerfstudio_path(path, content, like)
    keyframes = _read_keyframes(path, content, like)
    times = frame_times(keyframes, _stated_length(path, content) or num_frames)
    poses, log_focal = interpolate(keyframes, times)
    fov = 2 * (0.5 * torch.exp(-log_focal)).atan()
    return pinholes_with_fov(poses, fov, _size(like), like)


def stated_rate(path: Path) -> float:
    """The frames a second that a path's file states, ours or nerfstudio's.

    0 where it states none, or one that no video has. UserError where the file is no path.
    """
    rate = _load(path).get("fps")
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        return 0.0
    return float(rate) if 1 <= rate <= MAX_RATE else 0.0


def load_keyframes(path: Path, like: Cameras) -> tuple[Keyframes, int]:
    """The keyframes in a file of our own format, and the number of frames it states, 0 if none.

    Where it states no field of view it is that of ``like``. UserError where the file is no path.
    """
    content = _load(path)
    if "keyframes" not in content:
        raise UserError(
            f"the camera path {path} holds finished frames: give an object with keyframes."
        )
    return _read_keyframes(path, content, like), _stated_length(path, content)


def frame_times(keyframes: Keyframes, num_frames: int) -> Float[Tensor, " frames"]:
    """Evenly spaced times from first to last keyframe, or around the loop, its end left out."""
    start = keyframes.times[0].item()
    steps = torch.arange(num_frames, dtype=torch.float64)
    if keyframes.period > 0:
        return start + steps * (keyframes.period / num_frames)
    return start + steps * ((keyframes.times[-1].item() - start) / max(1, num_frames - 1))


def interpolate(
    keyframes: Keyframes, times: Float[Tensor, " frames"]
) -> tuple[Float[Tensor, "frames 3 4"], Float[Tensor, " frames"]]:
    """Poses and log focal lengths at ``times``: through every keyframe, with continuous velocity.

    Positions and focal lengths follow the cubic Hermite spline, rotations its analogue on SO(3)
    (Kim, Kim, Shin 1995, eq. 4), both with Catmull-Rom velocities. SO(3) x R3 and not the screw
    motions of SE(3), on which a camera would swing around faraway axes.
    """
    knots = _unrolled(keyframes)
    segment = torch.searchsorted(knots.times, times, right=True) - 1
    segment = segment.clamp(0, len(knots.times) - 2)
    h = knots.times.diff()[segment]
    s = ((times - knots.times[segment]) / h).clamp(0, 1)
    values = torch.cat([knots.poses[..., 3], knots.log_focal[:, None]], dim=-1)
    velocities = _velocities(values.diff(dim=0), knots)
    spline = _hermite(values, velocities, segment, s, h)
    rotations = knots.poses[..., :3]
    turns = vector_from_rotation(rotations[:-1].mT @ rotations[1:])
    rotation = _hermite_rotation(rotations, _velocities(turns, knots), segment, s, h)
    return torch.cat([rotation, spline[:, :3, None]], dim=-1), spline[:, 3]


def _unrolled(keyframes: Keyframes) -> Keyframes:
    """The keyframes, for a loop with the first one again at the end."""
    if keyframes.period == 0:
        return keyframes
    end = keyframes.times[:1] + keyframes.period
    return Keyframes(
        poses=torch.cat([keyframes.poses, keyframes.poses[:1]]),
        log_focal=torch.cat([keyframes.log_focal, keyframes.log_focal[:1]]),
        times=torch.cat([keyframes.times, end]),
        period=keyframes.period,
    )


def _velocities(
    steps: Float[Tensor, "segments values"], knots: Keyframes
) -> Float[Tensor, "keyframes values"]:
    """D at each keyframe: the mean of the velocities around it, the shorter step counting more."""
    h = knots.times.diff()[:, None]
    speed = steps / h
    if knots.period > 0:
        before, after = speed.roll(1, 0), speed
        h_before, h_after = h.roll(1, 0), h
        inner = (before * h_after + after * h_before) / (h_before + h_after)
        return torch.cat([inner, inner[:1]])
    inner = (speed[:-1] * h[1:] + speed[1:] * h[:-1]) / (h[:-1] + h[1:])
    return torch.cat([speed[:1], inner, speed[-1:]])


def _hermite(
    values: Tensor, velocities: Tensor, segment: Tensor, s: Tensor, h: Tensor
) -> Float[Tensor, "frames values"]:
    """The cubic with given values and derivatives at both ends of each segment."""
    s, h = s[:, None], h[:, None]
    start, end = values[segment], values[segment + 1]
    out, into = velocities[segment] * h, velocities[segment + 1] * h
    rise = s * s * (3 - 2 * s)
    return start + (end - start) * rise + s * (1 - s) * ((1 - s) * out - s * into)


def _hermite_rotation(
    rotations: Tensor, velocities: Tensor, segment: Tensor, s: Tensor, h: Tensor
) -> Float[Tensor, "frames 3 3"]:
    """R(s) = R0 exp(w1 b1) exp(w2 b2) exp(w3 b3): ends and end velocities as given."""
    s, h = s[:, None], h[:, None]
    first = velocities[segment] * h / 3
    third = velocities[segment + 1] * h / 3
    start, end = rotations[segment], rotations[segment + 1]
    undo_first, undo_third = rotation_from_vector(-first), rotation_from_vector(-third)
    second = vector_from_rotation(undo_first @ start.mT @ end @ undo_third)
    b1, b2, b3 = 1 - (1 - s) ** 3, s * s * (3 - 2 * s), s**3
    return (
        start
        @ rotation_from_vector(first * b1)
        @ rotation_from_vector(second * b2)
        @ rotation_from_vector(third * b3)
    )


def _load(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise UserError(
            f"the camera path {path} does not exist: give a JSON file with keyframes."
        ) from None
    except OSError as error:
        raise UserError(
            f"the camera path {path} cannot be read ({reason_of(error)}): give a JSON file with"
            " keyframes."
        ) from None
    except ValueError as error:
        raise UserError(
            f"the camera path {path} is not JSON ({reason_of(error)}): write it as an object with"
            " keyframes."
        ) from None
    if not isinstance(content, dict) or not ("keyframes" in content or "camera_path" in content):
        raise UserError(
            f"the camera path {path} has no keyframes: give an object with a list of that name,"
            " each with a transform_matrix."
        )
    return content


def _entries(path: Path, content: dict[str, Any], name: str, least: int) -> list[dict[str, Any]]:
    """The list of objects called ``name``."""
    entries = content[name]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"the camera path {path}: {name} is not a list of objects; make it one.")
    if len(entries) < least:
        raise UserError(f"the camera path {path} has {len(entries)} {name}: give at least {least}.")
    return entries


def _read_keyframes(path: Path, content: dict[str, Any], like: Cameras) -> Keyframes:
    """The keyframes of our own format."""
    entries = _entries(path, content, "keyframes", 2)
    usual = path_cameras(like.world_from_camera[:1], like)
    usual_focal = (usual.focal_px[0, 1] / usual.height[0]).item()
    poses, log_focal, times = [], [], []
    for index, entry in enumerate(entries):
        where = f"the camera path {path}, keyframe {index}"
        poses.append(_pose(where, "transform_matrix", entry.get("transform_matrix")))
        focal = usual_focal
        if "fov_deg" in entry:
            focal = _focal(where, "fov_deg", entry["fov_deg"])
        log_focal.append(math.log(focal))
        if ("time" in entry) != ("time" in entries[0]):
            raise UserError(f"{where}: some keyframes have a time and some none; give all or none.")
        times.append(_number(where, "time", entry.get("time", index)))
        if index and times[-1] <= times[-2]:
            raise UserError(
                f"{where}: its time {times[-1]:g} does not come after {times[-2]:g}, that of the"
                " keyframe before; let times grow."
            )
    loop = content.get("loop", False)
    if not isinstance(loop, bool):
        raise UserError(f"the camera path {path}: loop={loop!r} is not true or false.")
    length = times[-1] - times[0]
    return Keyframes(
        poses=torch.stack(poses),
        log_focal=torch.tensor(log_focal, dtype=torch.float64),
        times=torch.tensor(times, dtype=torch.float64),
        period=length * len(times) / (len(times) - 1) if loop else 0.0,
    )


def _stated_length(path: Path, content: dict[str, Any]) -> int:
    """The number of frames that the file states, 0 if none."""
    where = f"the camera path {path}"
    if "frames" in content:
        frames, stated = _number(where, "frames", content["frames"]), "frames"
    elif "seconds" in content:
        fps = _number(where, "fps", content.get("fps"))
        frames, stated = _number(where, "seconds", content["seconds"]) * fps, "seconds times fps"
    else:
        return 0
    if not 0.5 < frames <= MAX_FRAMES:  # 0.5 is rounded to none
        raise UserError(f"{where}: {stated} gives {frames:g} frames; give 1 to {MAX_FRAMES}.")
    return round(frames)


def _nerfstudio_path(path: Path, content: dict[str, Any], like: Cameras) -> Cameras:
    """The finished frames of nerfstudio's camera_path.json."""
    entries = _entries(path, content, "camera_path", 1)
    shared = content.get("camera_type", NERFSTUDIO_PINHOLES[0])
    poses, focals = [], []
    for index, entry in enumerate(entries):
        where = f"the camera path {path}, frame {index}"
        if (kind := entry.get("camera_type", shared)) not in NERFSTUDIO_PINHOLES:
            raise UserError(
                f"{where}: camera_type={str(kind)[:40]!r} is no pinhole: make the path of"
                " perspective cameras and render it with render.camera=panorama or fisheye."
            )
        poses.append(_pose(where, "camera_to_world", entry.get("camera_to_world")))
        focals.append(_focal(where, "fov", entry.get("fov")))
    size = [content.get("render_width"), content.get("render_height")]
    width, height = _size(like)
    if all(isinstance(side, int) and 0 < side <= 1 << 14 for side in size):
        width, height = int(size[0] or 0), int(size[1] or 0)
    fov = 2 * (0.5 / torch.tensor(focals, dtype=torch.float64)).atan()
    return pinholes_with_fov(torch.stack(poses), fov, (width, height), like)


def _size(like: Cameras) -> tuple[int, int]:
    """The usual width and height."""
    usual = path_cameras(like.world_from_camera[:1], like)
    return int(usual.width[0]), int(usual.height[0])


def _number(where: str, name: str, value: Any) -> float:
    """A finite number."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}: {name}={repr(value)[:40]} is not a number; give a finite one.")
    return number


def _focal(where: str, name: str, value: Any) -> float:
    """The focal length in picture heights of a vertical field of view in degrees."""
    degrees = _number(where, name, value)
    if not 0.1 <= degrees <= 170:
        raise UserError(f"{where}: {name}={degrees:g} is out of range; give 0.1 to 170 degrees.")
    return 0.5 / math.tan(math.radians(degrees) / 2)


def _pose(where: str, name: str, value: Any) -> Float[Tensor, "3 4"]:
    """A rigid pose with our axes, given a 4x4 or 3x4 matrix with Blender's, nested or flat."""
    try:
        matrix = torch.tensor(value, dtype=torch.float64).view(-1, 4)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        matrix = torch.zeros(0, 4)
    if matrix.shape not in ((3, 4), (4, 4)):
        raise UserError(f"{where}: {name} is not a 4x4 matrix of numbers; give one.")
    if not bool(matrix.isfinite().all()):
        raise UserError(f"{where}: {name} has a number that is not finite; mend it.")
    rotation = matrix[:3, :3]
    left, singular, right = torch.linalg.svd(rotation)
    bottom = matrix[3] if len(matrix) == 4 else matrix.new_tensor([0, 0, 0, 1])
    straight = (bottom - bottom.new_tensor([0, 0, 0, 1])).abs().amax() <= RIGID_TOLERANCE
    rigid = (singular - 1).abs().amax() <= RIGID_TOLERANCE and rotation.det() > 0
    if not (straight and rigid):
        raise UserError(
            f"{where}: {name} is not a rotation and a translation; take out scale, shear and"
            " mirroring."
        )
    axes = (left @ right) * matrix.new_tensor(OPENCV_FROM_BLENDER)
    return torch.cat([axes, matrix[:3, 3:]], dim=1)
