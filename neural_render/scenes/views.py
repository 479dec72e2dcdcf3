"""Where cameras stand whose rays are traced: around the file's cameras, on a shell, or inside.

World frame of the scene, NumPy alone: the tracer's process draws from here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from neural_render.core.errors import SceneError, SettingError
from neural_render.scenes.records import LoadedScene, SceneCamera, Triple, triple
from neural_render.scenes.settings import ViewSettings

Vectors = Float[np.ndarray, "rays 3"]
# The distance of the first surface along rays; infinite where there is none.
Distances = Callable[[Vectors, Vectors], Float[np.ndarray, " rays"]]
Radiances = Callable[[Vectors, Vectors], Vectors]

FREE_RAYS = 32  # that look around from a place inside
FREE_SHARE = 0.9  # of them that must meet a surface there
FREE_DISTANCE = 0.03  # of the scene's size that must be free around a camera
FREE_POOL = 512  # places inside that cameras are drawn from
INSIDE_FOV_DEG = 80.0


@dataclass(frozen=True, kw_only=True)
class Poses:
    """Cameras that look along the third column of their rotation (x right, y down, z forward)."""

    world_from_camera: Float[np.ndarray, "rays 3 4"]
    half_width: Float[np.ndarray, " rays"]  # of the picture at distance 1
    half_height: Float[np.ndarray, " rays"]

    def rays(self, rng: np.random.Generator) -> tuple[Vectors, Vectors]:
        """A ray through a random point of each camera's picture: origins, unit directions."""
        return self.through(rng.uniform(-1, 1, (len(self.half_width), 2)))

    def through(self, across: Float[np.ndarray, "rays 2"]) -> tuple[Vectors, Vectors]:
        """The rays through places of the picture, which reaches from -1 to 1; of one camera any
        number."""
        plane = across * np.stack([self.half_width, self.half_height], axis=1)
        local = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
        poses = np.broadcast_to(self.world_from_camera, (len(plane), 3, 4))
        directions = np.einsum("rij,rj->ri", poses[:, :, :3], local)
        return poses[:, :, 3], normalized(directions)


@dataclass(frozen=True, kw_only=True)
class Viewpoints:
    """A distribution of cameras. ``places`` are those of an interior, of no rows elsewhere."""

    settings: ViewSettings
    kind: str  # cameras, shell or interior
    center: Triple
    radius: float
    up: Triple
    cameras: tuple[SceneCamera, ...]
    places: Float[np.ndarray, "places 3"] = field(default_factory=lambda: np.zeros((0, 3)))

    def draw(self, num: int, rng: np.random.Generator) -> Poses:
        """Random cameras."""
        if self.kind == "cameras":
            return self._beside_cameras(num, rng)
        if self.kind == "interior":
            return self._inside(num, rng)
        return self._on_shell(num, rng)

    @property
    def framing_distance(self) -> float:
        """From the middle: the bounding sphere just fills the field of view."""
        return self.radius / math.sin(math.radians(self.settings.fov) / 2)

    def _beside_cameras(self, num: int, rng: np.random.Generator) -> Poses:
        chosen = rng.integers(len(self.cameras), size=num)
        poses = np.array([camera.world_from_camera for camera in self.cameras], dtype=float)
        forward, position = poses[:, :, 2], poses[:, :, 3]
        # What is looked at: the point of the axis that is closest to the scene's middle.
        along = np.einsum("ci,ci->c", np.asarray(self.center) - position, forward)
        along = np.maximum(along, 0.1 * self.radius)
        target = position + along[:, None] * forward
        angle = rng.uniform(0, 2 * math.pi, num)
        offset = self.settings.spread * np.sqrt(rng.uniform(0, 1, num)) * along[chosen]
        right, down = poses[chosen, :, 0], poses[chosen, :, 1]
        moved = position[chosen] + offset[:, None] * (
            np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * down
        )
        half = np.array([math.tan(camera.fov_x_rad / 2) for camera in self.cameras])
        aspect = np.array([camera.height / camera.width for camera in self.cameras])
        return Poses(
            world_from_camera=look_at(moved, target[chosen], -down),
            half_width=half[chosen],
            half_height=(half * aspect)[chosen],
        )

    def _on_shell(self, num: int, rng: np.random.Generator) -> Poses:
        lowest = 0.0 if self.settings.hemisphere else -1.0
        height, turn = rng.uniform(lowest, 1, num), rng.uniform(0, 2 * math.pi, num)
        across = np.sqrt(1 - height**2)
        x, y, z = axes_of(self.up)
        direction = (
            (across * np.cos(turn))[:, None] * x
            + (across * np.sin(turn))[:, None] * y
            + height[:, None] * z
        )
        distance = self.settings.distance * self.framing_distance
        center = np.broadcast_to(np.asarray(self.center), (num, 3))
        ups = np.broadcast_to(z, (num, 3))
        return self._square(look_at(center + distance * direction, center, ups), self.settings.fov)

    def _inside(self, num: int, rng: np.random.Generator) -> Poses:
        position = self.places[rng.integers(len(self.places), size=num)]
        direction = normalized(rng.normal(size=(num, 3)))
        ups = np.broadcast_to(np.asarray(self.up), (num, 3))
        return self._square(look_at(position, position + direction, ups), INSIDE_FOV_DEG)

    def _square(self, poses: Float[np.ndarray, "rays 3 4"], fov_deg: float) -> Poses:
        half = np.full(len(poses), math.tan(math.radians(fov_deg) / 2))
        return Poses(world_from_camera=poses, half_width=half, half_height=half)


def viewpoints(
    settings: ViewSettings, scene: LoadedScene, up: Triple, distances: Distances
) -> Viewpoints:
    """The cameras that ``settings`` ask for; SettingError or SceneError where there are none."""
    kind = settings.kind
    if kind == "auto":
        kind = "cameras" if scene.cameras else "shell"
    if kind == "cameras" and not scene.cameras:
        raise SettingError(
            f"views.kind=cameras, but {scene.path} has no camera: give views.kind=shell, or"
            " interior."
        )
    if kind == "interior" and settings.fov != ViewSettings.fov:
        raise SettingError(
            f"views.fov={settings.fov:g} is of cameras on a shell, and those of views.kind=interior"
            f" see {INSIDE_FOV_DEG:g} degrees: leave it at {ViewSettings.fov:g}."
        )
    low, high = np.asarray(scene.low), np.asarray(scene.high)
    center, radius = _ball(low, high)
    if kind == "shell":
        center, radius = _framed(settings, scene)
    found = Viewpoints(
        settings=settings,
        kind=kind,
        center=center,
        radius=radius,
        up=up,
        cameras=scene.cameras,
    )
    if kind != "interior":
        return found
    places = free_places(low, high, distances, np.random.default_rng(settings.seed))
    if not len(places):
        raise _no_inside(scene)
    return Viewpoints(**{**vars(found), "places": places})


def _framed(settings: ViewSettings, scene: LoadedScene) -> tuple[Triple, float]:
    """Middle and radius of the ball that cameras on a shell frame; SettingError for no place."""
    center, radius = _ball(*(np.asarray(corner) for corner in scene.objects))
    if stated := settings.center:
        if len(stated) != 3 or not all(math.isfinite(value) for value in stated):
            raise SettingError(f"views.center={stated} is no place: give [x,y,z].")
        center = triple(np.asarray(stated))
    return center, settings.radius or radius


def _ball(low: np.ndarray, high: np.ndarray) -> tuple[Triple, float]:
    """The ball around a box: middle and radius."""
    return triple((low + high) / 2), float(np.linalg.norm(high - low)) / 2


def free_places(
    low: np.ndarray, high: np.ndarray, distances: Distances, rng: np.random.Generator
) -> Float[np.ndarray, "places 3"]:
    """Places between the bounds from which surfaces, none of them close, are seen all around."""
    tried = rng.uniform(low, high, (4 * FREE_POOL, 3))
    origins = np.repeat(tried, FREE_RAYS, axis=0)
    seen = distances(origins, normalized(rng.normal(size=origins.shape)))
    seen = seen.reshape(len(tried), FREE_RAYS)
    enough = FREE_DISTANCE * np.linalg.norm(high - low)
    closed = np.isfinite(seen).mean(axis=1) >= FREE_SHARE
    return tried[closed & (seen.min(axis=1) > enough)][:FREE_POOL]


def in_the_light(views: Viewpoints, scene: LoadedScene, radiances: Radiances) -> Viewpoints:
    """Without the places that no light reaches at all: they lie inside of closed objects.

    SceneError where that leaves none.
    """
    rng = np.random.default_rng(views.settings.seed)
    origins = np.repeat(views.places, FREE_RAYS, axis=0)
    seen = radiances(origins, normalized(rng.normal(size=origins.shape)))
    lit = seen.reshape(len(views.places), -1).max(axis=1, initial=0) > 0
    if not lit.any():
        raise _no_inside(scene)
    return replace(views, places=views.places[lit])


def _no_inside(scene: LoadedScene) -> SceneError:
    return SceneError(
        f"{scene.path} has no free space inside: views.kind=interior finds no place from which"
        " walls are seen all around; give views.kind=shell or cameras."
    )


def normalized(vectors: Vectors) -> Vectors:
    """The same directions, of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def look_at(position: Vectors, target: Vectors, up: Vectors) -> Float[np.ndarray, "rays 3 4"]:
    """Poses at ``position`` that face ``target``."""
    forward = normalized(target - position)
    right = np.cross(forward, up)
    spare = np.cross(forward, np.roll(forward, 1, axis=1) + np.array([0, 0, 1e-3]))
    small = np.linalg.norm(right, axis=1, keepdims=True) < 1e-6
    right = normalized(np.where(small, spare, right))
    return np.stack([right, np.cross(forward, right), forward, position], axis=2)


def axes_of(up: Triple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two horizontal unit vectors and the vertical one."""
    z = np.asarray(up, dtype=float) / np.linalg.norm(up)
    x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
    x = x / np.linalg.norm(x)
    return x, np.cross(z, x), z
