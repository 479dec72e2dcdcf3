"""Which film is shot from a run: the user's words about path, size and format, made cameras."""

import logging
import math
from pathlib import Path

import torch

from neural_render.captures.records import Capture
from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import SettingError
from neural_render.core.flight.keyframes import keyframe_path, stated_rate
from neural_render.core.flight.paths import (
    fit_orbit,
    is_forward_facing,
    orbit_path,
    reframed,
    spiral_path,
    up_of,
)
from neural_render.core.optics.eyes import (
    Eye,
    eye_pair,
    fisheyes,
    panoramas,
    pinholes,
    widest_angle_rad,
)
from neural_render.export.settings import RenderSettings, size_of

USUAL_RATE = 30.0  # frames a second
NAMED = ("auto", "orbit", "spiral", "train", "test")  # paths that no file holds
WIDEST_GAP_RAD = math.radians(100.0)  # between neighbours of cameras that go all around
_log = logging.getLogger("neural_render")


def film_cameras(
    settings: RenderSettings, capture: Capture, *, max_side: int
) -> tuple[str, Cameras]:
    """The film's name and its cameras in the capture's world, all of one size and format.

    ``max_side`` bounds their width and height where no size is stated; 0: the photos' size.
    SettingError where the path is unknown, UserError where its file is broken.
    """
    name, cameras = _path(settings, capture)
    cameras = reframed(cameras, *(size_of(settings) or _usual_size(settings, cameras, max_side)))
    if settings.camera == "own":
        return name, cameras
    if settings.camera == "panorama":
        return f"{name}_panorama", panoramas(cameras, up_of(capture.train.cameras))
    fov_rad = math.radians(settings.fov)
    if settings.camera == "pinhole":
        return name, pinholes(cameras, fov_rad)
    cameras = fisheyes(cameras, fov_rad)
    if widest_angle_rad(cameras) > math.pi:
        width, height = int(cameras.width[0]), int(cameras.height[0])
        raise SettingError(
            f"render.fov={settings.fov or 180:g} does not fill pictures of {width}x{height}: a"
            " fisheye's corners would lie behind what is behind it; give a smaller one, or a square"
            " render.size."
        )
    return f"{name}_fisheye", cameras


def frames_per_second(settings: RenderSettings) -> float:
    """What is asked for, else what the path's file states, else the usual rate.

    UserError where the path's file is broken.
    """
    return settings.fps or check_path(settings) or USUAL_RATE


def film_eyes(settings: RenderSettings, cameras: Cameras) -> tuple[Eye, ...]:
    """Who sees the film: the cameras themselves, or a left and a right eye in their places.

    SettingError for a lens or a convergence that these cameras cannot have.
    """
    ahead = bool((cameras.lens == Lens.PERSPECTIVE).all())
    for name, value in (
        ("lens.aperture", settings.lens.aperture),
        ("stereo.convergence", settings.stereo.convergence),
    ):
        if value and not ahead:
            raise SettingError(
                f"render.{name}={value:g} needs pinholes and the photos of {settings.path} have"
                " other lenses: add render.camera=pinhole, or leave it out."
            )
    if settings.stereo.layout == "none":
        return (Eye(cameras=cameras),)
    return eye_pair(cameras, settings.stereo.eyes, settings.stereo.convergence)


def _usual_size(settings: RenderSettings, cameras: Cameras, max_side: int) -> tuple[int, int]:
    """Width and height where none are stated."""
    size = int(cameras.width.mode().values), int(cameras.height.mode().values)
    if settings.camera == "panorama":
        size = 2 * max(size), max(size)
    if settings.camera == "fisheye":
        size = min(size), min(size)
    if 0 < max_side < max(size):  # even, as videos want it
        half = 0.5 * max_side / max(size)
        size = 2 * max(1, round(size[0] * half)), 2 * max(1, round(size[1] * half))
    return size


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
    rate, file = check_path(settings), Path(name)
    cameras = keyframe_path(file, like, settings.frames)
    if settings.fps and rate not in (0, settings.fps):
        _log.info(
            "video: %g frames a second, as render.fps says, here or in the run's settings; %s"
            " states %g: render.fps=0 takes that",
            *(settings.fps, file, rate),
        )
    return file.stem, cameras


def is_file(path: str) -> bool:
    """Whether ``render.path`` names a file."""
    return path not in NAMED and (Path(path).suffix.lower() == ".json" or Path(path).is_file())


def check_path(settings: RenderSettings) -> float:
    """The frames a second that the path's file states, 0 where it states none or is no file.

    SettingError where no such path is known, UserError where its file is broken.
    """
    if settings.path in NAMED:
        return 0.0
    if not is_file(settings.path):
        raise SettingError(
            f"render.path={settings.path} is not known: give orbit, spiral, test, train, auto or a"
            " JSON file with keyframes."
        )
    return stated_rate(Path(settings.path))


def surround(cameras: Cameras) -> bool:
    """Whether cameras stand all around what they look at: an orbit sees nothing unphotographed."""
    orbit = fit_orbit(cameras)
    offsets = cameras.world_from_camera[..., 3].double().cpu() - orbit.center
    side = torch.linalg.cross(orbit.up, orbit.start)
    angles = torch.atan2(offsets @ side, offsets @ orbit.start).sort().values
    around = torch.cat([angles, angles[:1] + 2 * math.pi])
    return not is_forward_facing(cameras) and around.diff().amax().item() < WIDEST_GAP_RAD
