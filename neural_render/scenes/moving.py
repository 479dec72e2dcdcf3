"""The light that moves: which one, and where it may be."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from neural_render.core.errors import SettingError
from neural_render.scenes.lights import SceneGroup
from neural_render.scenes.records import LoadedScene, SceneLight, Triple, triple
from neural_render.scenes.settings import SceneSettings
from neural_render.scenes.views import axes_of

LOWEST = 0.1  # sine of the height over the horizon from which a directional light shines at least
REACH = 1.5  # of the scene's half extent: how far from the middle a point light may be
FLATTEST = 0.2  # of the longest of these, the shortest
BESIDE = 0.1  # of the longest of these: how far around its own place it may be at least


@dataclass(frozen=True, kw_only=True)
class MovingPlaces:
    """Places of a light: directions that it shines in from above, or positions around the scene."""

    light: SceneLight
    group: str
    kind: Literal["direction", "position"]
    low: Triple
    high: Triple
    at: Triple
    up: Triple

    @property
    def description(self) -> dict[str, Any]:
        """The fields of ``core.lights.MovingLight``."""
        names = ("group", "kind", "low", "high", "at")
        return {name: getattr(self, name) for name in names}

    def draw(self, num: int, rng: np.random.Generator) -> Float[np.ndarray, "rays 3"]:
        """Random places, spread evenly."""
        if self.kind == "position":
            return rng.uniform(self.low, self.high, (num, 3))
        height, turn = rng.uniform(LOWEST, 1, num), rng.uniform(0, 2 * math.pi, num)
        across = np.sqrt(1 - height**2)
        x, y, z = axes_of(self.up)
        from_light = (across * np.cos(turn))[:, None] * x + (across * np.sin(turn))[:, None] * y
        return -(from_light + height[:, None] * z)


def moving_places(
    scene: LoadedScene, groups: tuple[SceneGroup, ...], settings: SceneSettings
) -> tuple[MovingPlaces, ...]:
    """That of ``scene.moving``, none if it is empty; SettingError if that light cannot move."""
    if not settings.moving:
        return ()
    found = [
        (group, light)
        for group in groups
        for light in group.lights
        if settings.moving in (light.name, group.name)
    ]
    movable = [light.name for light in scene.lights if light.kind in ("point", "directional")]
    if len(found) != 1 or found[0][1].name not in movable or len(found[0][0].lights) != 1:
        known = f"it has {', '.join(movable)}" if movable else "it has none"
        raise SettingError(
            f"scene.moving={settings.moving} must be a point or directional light of"
            f" {scene.path} that is a group of its own: {known}."
        )
    group, light = found[0]
    low, high = np.asarray(scene.low), np.asarray(scene.high)
    middle, half = (low + high) / 2, REACH * (high - low) / 2
    kind = "direction" if light.kind == "directional" else "position"
    if kind == "direction":
        low, high = -np.ones(3), np.ones(3)
    else:
        half = np.maximum(half, FLATTEST * half.max())
        own, margin = np.asarray(light.at), BESIDE * half.max()
        low = np.minimum(middle - half, own - margin)
        high = np.maximum(middle + half, own + margin)
    return (
        MovingPlaces(
            light=light,
            group=group.name,
            kind=kind,
            low=triple(low),
            high=triple(high),
            at=light.at,
            up=scene.up,
        ),
    )
