"""Which film is shot from a run: the user's words about path, size and outputs, made cameras."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from neural_render.captures.records import Capture
from neural_render.core.cameras import Cameras
from neural_render.core.errors import SettingError
from neural_render.core.flight.keyframes import keyframe_path
from neural_render.core.flight.paths import (
    fit_orbit,
    is_forward_facing,
    orbit_path,
    reframed,
    spiral_path,
)
from neural_render.export.frames import OUTPUTS

MAX_SIDE = 16384
WIDEST_GAP_RAD = math.radians(100.0)  # between neighbours of cameras that go all around


@dataclass(kw_only=True)
class RenderSettings:
    """Which views are rendered from a run, how large, and into what."""

    path: str = field(
        default="auto",
        metadata={
            "help": "orbit, spiral, test or train (views), a JSON file with keyframes, or auto"
            " (an orbit where the photos were taken from all around, else a spiral)"
        },
    )
    output: str = field(
        default="video",
        metadata={
            "help": "video (H.264), frames (PNG of colour, depth and opacity), exr (linear colour,"
            " opacity and depth) or several of them with commas; none"
        },
    )
    size: str = field(
        default="", metadata={"help": "WIDTHxHEIGHT in pixels; empty: the size of the photos"}
    )
    frames: int = field(
        default=90,
        metadata={"help": "the length of an orbit or a spiral", "minimum": 1, "maximum": 100000},
    )
    fps: float = field(
        default=30.0,
        metadata={"help": "frames per second of a video", "minimum": 1.0, "maximum": 1000.0},
    )
    exposure: float = field(
        default=0.0,
        metadata={
            "help": "stops that the pictures and the video of a scene-linear run are brighter",
            "minimum": -64.0,
            "maximum": 64.0,
        },
    )
    exr: str = field(
        default="half",
        metadata={
            "help": "bits of the colours and the opacity of an EXR: half (16) or float (32); depth"
            " and distance always have 32",
            "choices": ("half", "float"),
        },
    )
    backdrop: str = field(
        default="auto",
        metadata={
            "help": "what lies behind the scene in pictures and videos: environment, black, white"
            " or auto (the environment if the run has one)",
            "choices": ("auto", "environment", "black", "white"),
        },
    )
    light_at: list[float] = field(
        default_factory=list,
        metadata={
            "help": "[x,y,z] in the scene's world: where the moving light stands, or the direction"
            " in which it shines; empty: as in the scene's file"
        },
    )


def film_cameras(
    settings: RenderSettings, capture: Capture, *, max_side: int
) -> tuple[str, Cameras]:
    """The film's name and its cameras in the capture's world, all of one size.

    ``max_side`` bounds their width and height where no size is stated; 0: the photos' size.
    SettingError where the path is unknown, UserError where its file is broken.
    """
    name, cameras = _path(settings, capture)
    size = size_of(settings)
    if size is None:
        width, height = int(cameras.width.mode().values), int(cameras.height.mode().values)
        size = width, height
        if 0 < max_side < max(size):  # even, as videos want it
            half = 0.5 * max_side / max(size)
            size = 2 * max(1, round(width * half)), 2 * max(1, round(height * half))
    return name, reframed(cameras, *size)


def _path(settings: RenderSettings, capture: Capture) -> tuple[str, Cameras]:
    """The name and the cameras of the path, as large as the photos."""
    name, like = settings.path, capture.train.cameras
    if name == "auto":
        name = "orbit" if surround(like) else "spiral"
    if name == "orbit":
        return name, orbit_path(like, settings.frames)
    if name == "spiral":
        return name, spiral_path(like, settings.frames)
    if name == "train":
        return name, like
    if name == "test":
        if len(capture.test) == 0:
            raise SettingError(
                f"render.path=test asks for test views and {capture.path} has none: give orbit,"
                " spiral or a JSON file."
            )
        return name, capture.test.cameras
    file = Path(name)
    if file.suffix.lower() != ".json" and not file.is_file():
        raise SettingError(
            f"render.path={name} is not known: give orbit, spiral, test, train, auto or a JSON"
            " file with keyframes."
        )
    return file.stem, keyframe_path(file, like, settings.frames)


def surround(cameras: Cameras) -> bool:
    """Whether cameras stand all around what they look at: an orbit sees nothing unphotographed."""
    orbit = fit_orbit(cameras)
    offsets = cameras.world_from_camera[..., 3].double().cpu() - orbit.center
    side = torch.linalg.cross(orbit.up, orbit.start)
    angles = torch.atan2(offsets @ side, offsets @ orbit.start).sort().values
    around = torch.cat([angles, angles[:1] + 2 * math.pi])
    return not is_forward_facing(cameras) and around.diff().amax().item() < WIDEST_GAP_RAD


def outputs_of(settings: RenderSettings) -> tuple[str, ...]:
    """The wanted outputs, each once; none for ``none``; SettingError for unknown ones."""
    words = [word.strip() for word in settings.output.split(",")]
    if words == ["none"]:
        return ()
    unknown = [word for word in words if word not in OUTPUTS]
    if unknown:
        raise SettingError(
            f"render.output={settings.output} is not known: give one or more of"
            f" {', '.join(OUTPUTS)} with commas between them, or none."
        )
    return tuple(dict.fromkeys(words))


def size_of(settings: RenderSettings) -> tuple[int, int] | None:
    """Width and height in pixels as stated, None where they are not; SettingError if not sizes."""
    if not settings.size:
        return None
    stated = re.fullmatch(r"(\d+)[xX*](\d+)", settings.size)
    width, height = (int(stated[1]), int(stated[2])) if stated else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise SettingError(
            f"render.size={settings.size} is not a size: give WIDTHxHEIGHT in pixels, such as"
            f" render.size=800x600, each from 1 to {MAX_SIDE}."
        )
    return width, height


def check_film(settings: RenderSettings) -> None:
    """SettingError for what can be seen to be wrong without a capture."""
    outputs_of(settings)
    size_of(settings)
    _check_light_at(settings.light_at)


def _check_light_at(at: Sequence[float]) -> None:
    if len(at) not in (0, 3) or not all(map(math.isfinite, at)):
        raise SettingError(
            f"render.light_at={list(at)} is not a place or a direction: give three finite numbers,"
            " such as render.light_at=[0,-1,0.5]."
        )
