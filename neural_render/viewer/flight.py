"""A camera path being made: keyframes in order, one of them chosen, and the file they are kept in.

The file is what ``render.py path=FILE`` takes (see ``core.flight.keyframes``).
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.errors import UserError
from neural_render.core.files import read_json, whole_file
from neural_render.core.flight.keyframes import (
    MAX_FRAMES,
    OPENCV_FROM_BLENDER,
    Keyframes,
    frame_times,
    interpolate,
    load_keyframes,
)
from neural_render.viewer.requests import LEAST_FOV, MOST_FOV, View, clamped, pose_view

MOST_KEYFRAMES = 1000
MOST_SECONDS, MOST_FPS = 3600.0, 240.0


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A keyframe, and how long the way to the next one takes beside that of the others."""

    view: View
    lasts: float = 1.0


class Flight:
    """Keyframes and how they are flown along; every change keeps it valid."""

    def __init__(self) -> None:
        self.stops: list[Stop] = []
        self.chosen = 0  # meaningless without stops
        self.seconds, self.fps, self.loop = 6.0, 30.0, False

    def __len__(self) -> int:
        """The number of keyframes."""
        return len(self.stops)

    @property
    def can_fly(self) -> bool:
        """Whether there is a way to fly: two keyframes or more."""
        return len(self.stops) >= 2

    def add(self, view: View) -> None:
        """Puts a keyframe behind the chosen one and chooses it; UserError where there are many."""
        if len(self.stops) >= MOST_KEYFRAMES:
            raise UserError(f"a path has at most {MOST_KEYFRAMES} keyframes: delete some.")
        self.chosen = self.chosen + 1 if self.stops else 0
        self.stops.insert(self.chosen, Stop(view=view))

    def choose(self, index: int) -> None:
        """Chooses a keyframe; the nearest one where there is none of that number."""
        self.chosen = min(max(index, 0), max(0, len(self.stops) - 1))

    def update(self, view: View) -> None:
        """Moves the chosen keyframe to a view."""
        if self.stops:
            self.stops[self.chosen] = replace(self.stops[self.chosen], view=view)

    def delete(self) -> None:
        """Removes the chosen keyframe and chooses the one that follows, or else the last."""
        if self.stops:
            del self.stops[self.chosen]
            self.choose(self.chosen)

    def shift(self, by: int) -> None:
        """Moves the chosen keyframe up (-1) or down (1) in the order, if it is not at that end."""
        there = self.chosen + by
        if 0 <= there < len(self.stops):
            stops = self.stops
            stops[self.chosen], stops[there] = stops[there], stops[self.chosen]
            self.chosen = there

    def set_fov(self, degrees: Any) -> None:
        """Gives the chosen keyframe a field of view, from top to bottom."""
        if self.stops:
            low, high = math.degrees(LEAST_FOV), math.degrees(MOST_FOV)
            fov = math.radians(clamped(degrees, low, high))
            self.update(replace(self.stops[self.chosen].view, fov_rad=fov))

    def set_length(self, seconds: Any, fps: Any) -> None:
        """Sets how long a flight takes and how many frames a second of it has."""
        self.seconds = clamped(seconds, 0.1, MOST_SECONDS)
        self.fps = clamped(fps, 1.0, MOST_FPS)

    def set_loop(self, loop: Any) -> None:
        """Sets whether a flight goes on from the last keyframe to the first."""
        self.loop = bool(loop)

    def keyframes(self) -> Keyframes:
        """What is interpolated. Two stops or more."""
        lasting = torch.tensor([stop.lasts for stop in self.stops], dtype=torch.float64)
        times = torch.cat([lasting.new_zeros(1), lasting[:-1].cumsum(0)])
        fov = torch.tensor([stop.view.fov_rad for stop in self.stops], dtype=torch.float64)
        length = times[-1].item()
        return Keyframes(
            poses=torch.stack([stop.view.pose for stop in self.stops]),
            log_focal=(0.5 / (fov / 2).tan()).log(),
            times=times,
            period=length * len(times) / (len(times) - 1) if self.loop else 0.0,
        )

    def way(self, num_points: int) -> Float[Tensor, "points 3"]:
        """Positions along the path, ends included. Two stops or more."""
        keyframes = self.keyframes()
        times = frame_times(keyframes, num_points - self.loop)
        poses, _ = interpolate(keyframes, times)
        return torch.cat([poses[:, :, 3], poses[:1, :, 3]] if self.loop else [poses[:, :, 3]])

    def view_at(self, seconds: float) -> View:
        """Where the camera is after so long, at the end from then on. Two stops or more."""
        keyframes = self.keyframes()
        whole = keyframes.period or (keyframes.times[-1] - keyframes.times[0]).item()
        part = seconds / self.seconds
        part = part % 1.0 if self.loop else min(part, 1.0)
        poses, log_focal = interpolate(keyframes, keyframes.times[:1] + part * whole)
        return pose_view(poses[0], 2 * math.atan(0.5 / math.exp(log_focal.item())))

    def record(self) -> dict[str, Any]:
        """The file's content."""
        even = all(stop.lasts == self.stops[0].lasts for stop in self.stops)
        times = self.keyframes().times.tolist() if self.can_fly else [0.0]
        keyframes = []
        for stop, time in zip(self.stops, times, strict=True):
            entry: dict[str, Any] = {
                "transform_matrix": _blender_matrix(stop.view.pose),
                "fov_deg": math.degrees(stop.view.fov_rad),
            }
            keyframes.append(entry if even else entry | {"time": time})
        timing = {"seconds": self.seconds, "fps": self.fps, "loop": self.loop}
        return {"keyframes": keyframes, **timing}

    def save(self, path: Path) -> None:
        """Writes the file, whole; UserError for a path that cannot be flown, OutputError."""
        if not self.can_fly:
            raise UserError(
                f"a path has two keyframes or more, and this one has {len(self)}: add some first."
            )
        frames = self.seconds * self.fps
        if not 0.5 < frames <= MAX_FRAMES:
            wrong = f"more than {MAX_FRAMES}" if frames > 1 else "no frame"
            raise UserError(
                f"{self.seconds:g} seconds of {self.fps:g} frames are {wrong}: make one of them"
                f" {'less' if frames > 1 else 'more'}."
            )
        with whole_file(path) as draft:
            draft.write_text(json.dumps(self.record(), indent=1) + "\n", encoding="utf-8")


def load_flight(path: Path, like: Cameras) -> Flight:
    """The path in a file; UserError where there is none. What it leaves open is as in ``like``."""
    keyframes, num_frames = load_keyframes(path, like)
    if len(keyframes.poses) > MOST_KEYFRAMES:
        raise UserError(
            f"{path} has more than {MOST_KEYFRAMES} keyframes, the most that are shown."
        )
    stated = read_json(path)
    flight = Flight()
    lasting = keyframes.times.diff().tolist()
    fov = 2 * (0.5 / keyframes.log_focal.exp()).atan()
    flight.stops = [
        Stop(view=pose_view(pose, clamped(angle, LEAST_FOV, MOST_FOV)), lasts=lasts)
        for pose, angle, lasts in zip(
            keyframes.poses, fov.tolist(), [*lasting, sum(lasting) / len(lasting)], strict=True
        )
    ]
    fps = stated.get("fps", flight.fps)
    flight.set_length(num_frames / clamped(fps, 1.0, MOST_FPS) or flight.seconds, fps)
    flight.loop = keyframes.period > 0
    return flight


def _blender_matrix(pose: Float[Tensor, "3 4"]) -> list[list[float]]:
    """A pose as a 4x4 matrix with Blender's axes."""
    axes = pose[:, :3] * pose.new_tensor(OPENCV_FROM_BLENDER)
    return [*torch.cat([axes, pose[:, 3:]], dim=1).tolist(), [0.0, 0.0, 0.0, 1.0]]
