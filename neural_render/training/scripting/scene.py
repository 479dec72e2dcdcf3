"""A trained scene in a Python program: rendered, asked, looked around in."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Lens
from neural_render.core.errors import CheckpointError, SettingError
from neural_render.core.files import expanded
from neural_render.core.flight.keyframes import keyframe_path
from neural_render.core.flight.paths import (
    orbit_path,
    path_cameras,
    reframed,
    spiral_path,
    up_of,
)
from neural_render.core.lights import check_dials
from neural_render.evaluation.protocol import background_name
from neural_render.export.settings import RenderSettings
from neural_render.kernels import dispatch
from neural_render.kernels.settings import KernelSettings, start_kernels
from neural_render.rendering.lit import set_dials
from neural_render.training.films.shooting import FilmWords, scene_film
from neural_render.training.packages.format import Quality
from neural_render.training.packages.opening import OpenedScene, open_scene
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.scripting.answers import Picture, Samples
from neural_render.training.scripting.camera import Camera, Number, Vector, cameras_of, checked_size
from neural_render.training.scripting.querying import query_world, world_bounds

PATHS = {"orbit": orbit_path, "spiral": spiral_path}


@dataclass(frozen=True, kw_only=True)
class SceneCameras:
    """The cameras of the photos that a scene was made from, or of its bake."""

    train: tuple[Camera, ...]
    test: tuple[Camera, ...]  # of views that training never saw


class Scene:
    """A trained scene: what ``neural_render.load`` gives.

    All places, directions, densities and depths are in the capture's own world.
    """

    def __init__(
        self, opened: OpenedScene, settings_of: Callable[[Path], CaptureSettings], kernels: str
    ) -> None:
        """``settings_of`` reads from a run's ``config.yaml`` where its photos are; ``kernels`` is
        the backend of the device that the scene is on."""
        self._opened, self._settings_of, self._kernels = opened, settings_of, kernels

    def __repr__(self) -> str:
        """What it is, in a line."""
        return f"<Scene {self.name}: {self.trained.progress.step} steps, {self.path}>"

    @property
    def name(self) -> str:
        """What the run was called."""
        return self._opened.name

    @property
    def path(self) -> Path:
        """The run's folder or the package."""
        return self._opened.home.path

    @property
    def trained(self) -> TrainedScene:
        """Field, renderer, frame and lights, as the other modules take them."""
        return self._opened.scene

    @property
    def lights(self) -> tuple[str, ...]:
        """The names of a baked scene's light groups; none of a scene made from photos."""
        return tuple(light.name for light in self.trained.lighting.groups)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The low and the high corner of a box outside of which there is nothing, in the world.

        What was photographed from one side reaches without an end, of which the last 256th part,
        by disparity, is left out: half a cell.
        """
        trained = self.trained
        low, high = world_bounds(trained.frame, trained.renderer.occupancy.bits)
        return low.numpy(), high.numpy()

    @property
    def quality(self) -> Quality | None:
        """What a package cost, as it was measured; None of a run's folder."""
        return self._opened.quality[0] if self._opened.quality else None

    @cached_property
    def cameras(self) -> SceneCameras:
        """The cameras of the capture, as training found them.

        CaptureError where a run's photos are no longer there; packages hold their cameras.
        """
        capture = self._capture
        return SceneCameras(
            train=cameras_of(capture.train.cameras, capture.train.names),
            test=cameras_of(capture.test.cameras, capture.test.names),
        )

    def camera(
        self,
        position: Vector,
        look_at: Vector,
        *,
        fov_deg: Number = 0,
        up: Vector | None = None,
        size: tuple[int, int] | None = None,
    ) -> Camera:
        """A camera at a place that looks at a point.

        What is not stated is as in the photos: the angle of view, what is up, the size; where
        photos are wider than any pinhole, as in films.
        """
        photos, like = self._capture.train.cameras, self.cameras.train[0]
        if bool((photos.lens[:1] != Lens.PERSPECTIVE).any()):
            (like,) = cameras_of(path_cameras(photos.world_from_camera[:1], photos))
        upward = up_of(self._capture.train.cameras).numpy() if up is None else up
        return Camera.looking(
            position, look_at, up=upward, fov_deg=fov_deg or like.fov_deg, size=size or like.size
        )

    def along(
        self, path: str | Path, frames: int = 90, *, size: tuple[int, int] | None = None
    ) -> tuple[Camera, ...]:
        """The cameras of an ``orbit``, a ``spiral`` or a JSON file of keyframes."""
        if frames < 1:
            raise SettingError(f"frames={frames} is no length of a film: give 1 or more.")
        like = self._capture.train.cameras
        if isinstance(path, str) and path in PATHS:
            found = PATHS[path](like, frames)
        elif Path(path).suffix.lower() == ".json":
            found = keyframe_path(expanded(path), like, frames)
        else:
            raise SettingError(f"{path} is no camera path: give orbit, spiral or a JSON file.")
        return cameras_of(found if size is None else reframed(found, *checked_size(size)))

    def render(
        self,
        camera: Camera,
        *,
        size: tuple[int, int] | None = None,
        lights: Mapping[str, Any] | None = None,
        light_at: Sequence[Number] = (),
        exposure: Number = 0,
        background: str = "auto",
    ) -> Picture:
        """What the camera sees.

        Of a baked scene ``lights`` are dials by name: a factor on the light's colour, or a colour
        instead of it; ``light_at`` is where its moving light stands, or the direction in which it
        shines; ``exposure`` in stops. ``background`` is auto, white, black, or environment.
        """
        if size is not None:
            camera = camera.resized(*checked_size(size))
        settings = RenderSettings(
            output="none",
            exposure=float(exposure),
            light_at=_place(light_at),
            backdrop=background,
        )
        if background not in ("auto", "white", "black", "environment"):
            raise SettingError(
                f"background={background} is not known: give auto, white, black or environment."
            )
        film = scene_film(
            self.trained,
            camera.record,
            settings,
            lights=_dials(lights),
            background=self._background,
            also=("Z", "distance"),
            words=FilmWords(light_at="light_at", exposure="exposure", backdrop="background"),
        )
        with dispatch.using(self._kernels):  # another scene may be on another device
            seen = film.expose(0)
        return Picture(
            color=_array(film.development.picture(seen.light, seen.opacity)),
            linear=_array(torch.stack([seen.layers[name] for name in "RGB"], dim=-1)),
            opacity=_array(seen.opacity),
            depth=_array(seen.data["Z"]),
            distance=_array(seen.data["distance"]),
        )

    def query(
        self,
        points: Any,
        directions: Any = (0.0, 0.0, 1.0),
        *,
        lights: Mapping[str, Any] | None = None,
        light_at: Sequence[Number] = (),
    ) -> Samples:
        """What the field is at ``points`` [samples 3] seen along ``directions`` (one, or one each).

        Both are in the capture's world; ``directions`` lead away from the eye and need not have
        unit length. Where the renderer never looks (outside of the scene, or in space that was
        found to be empty) all is 0.
        """
        device = self.trained.background.device
        places, ways = _points(points, "points"), _points(directions, "directions")
        if len(ways) == 1:
            ways = ways.expand_as(places)
        if len(ways) != len(places):
            raise SettingError(
                f"there are {len(places)} points and {len(ways)} directions: give one direction, or"
                " one for each point."
            )
        ways = torch.nn.functional.normalize(ways, dim=1)
        dials = set_dials(self.trained.lighting, _dials(lights), _place(light_at), "light_at")
        conditions = dials.conditions
        if not len(conditions):
            conditions = torch.zeros(self.trained.num_conditions)
        with dispatch.using(self._kernels):
            density, radiance = query_world(
                self.trained, places.to(device), ways.to(device), conditions
            )
        if self.lights:
            radiance = self.trained.lighting.mixed(radiance, dials.emission)
        return Samples(density=_array(density), radiance=_array(radiance))

    @cached_property
    def _capture(self) -> Capture:
        settings = CaptureSettings()
        if not self._opened.packed:
            config = self.path / "config.yaml"
            settings = self._settings_of(config)
        return self._opened.refined_views(settings)

    @property
    def _background(self) -> str:
        """White or black, as the run was made and measured."""
        return background_name("auto", trained=self.trained.record.background, has_opacity=False)


def open_for_python(
    path: str | Path,
    device: str | torch.device | None,
    settings_of: Callable[[Path], CaptureSettings],
) -> Scene:
    """The scene in a run's folder or a package, and the kernels started for it."""
    wanted = None if device is None else checked_device(device)
    kernels = KernelSettings() if wanted is None else KernelSettings(device=wanted.type)
    place = expanded(path)
    if not place.exists():
        raise CheckpointError(
            f"{place} is not there: train a run first (python train.py), or give the folder of one,"
            " or a package."
        )
    backend, _, chosen = start_kernels(kernels)
    chosen = chosen if wanted is None else exact_device(wanted, chosen)
    return Scene(open_scene(place, chosen), settings_of, backend)


def checked_device(device: str | torch.device) -> torch.device:
    """The device that is meant; SettingError for one that nothing here computes on."""
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    num_gpus = torch.cuda.device_count()
    if found.type not in ("cpu", "cuda") or (num_gpus and (found.index or 0) >= num_gpus):
        known = ", ".join(("cpu", "cuda", *(f"cuda:{index}" for index in range(num_gpus))))
        raise SettingError(f"device={device} is none of this machine: give one of {known}.")
    return found


def exact_device(wanted: torch.device, computing: torch.device) -> torch.device:
    """Where the kernels compute; of several GPUs on the one that is wanted."""
    return wanted if wanted.type == computing.type == "cuda" else computing


def _dials(lights: Mapping[str, Any] | None) -> dict[str, Any]:
    """Dials as they are asked for; SettingError for what is none."""
    check_dials(lights or {})
    return {
        name: [float(value) for value in dial] if isinstance(dial, list | tuple) else dial
        for name, dial in (lights or {}).items()
    }


def _place(at: Sequence[Number]) -> list[float]:
    """Three finite numbers or none; SettingError for anything else."""
    place = [float(value) for value in at]
    if len(place) not in (0, 3) or not all(map(math.isfinite, place)):
        raise SettingError(
            f"light_at={at!r} is no place and no direction: give three finite numbers."
        )
    return place


def _array(tensor: torch.Tensor) -> np.ndarray:
    """The values as numpy has them, in main memory."""
    return tensor.detach().float().cpu().contiguous().numpy()


def _points(values: Any, name: str) -> torch.Tensor:
    """Rows of three finite numbers; SettingError for anything else."""
    try:
        given = values.detach().cpu() if isinstance(values, torch.Tensor) else values
        found = torch.as_tensor(np.asarray(given, dtype=np.float32)).reshape(-1, 3)
    except (TypeError, ValueError, RuntimeError):
        found = torch.full((1, 3), torch.nan)
    if not bool(found.isfinite().all()):
        raise SettingError(f"{name} are no places: give finite numbers in rows of three (x, y, z).")
    return found
