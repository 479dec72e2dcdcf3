"""Light groups of a loaded scene, and switching them: emission and sampling weight of each emitter.

Runs in the tracer's process, under Mitsuba's active variant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from neural_render.core.errors import SceneError, SettingError
from neural_render.scenes.records import EMISSIONS, LoadedScene, SceneLight, Triple

# What is dimmed as a whole, its hue staying as it is; the last two are those of skies.
PICTURES = ("radiance.data", "radiance.bitmap.data", "intensity.data", "sky_scale", "sun_scale")
SKY_ROWS = 512  # of the picture of a sky that has none
BLACK: Triple = (0.0, 0.0, 0.0)
PLACES = {"directional": "to_world", "point": "position"}


@dataclass(frozen=True, kw_only=True)
class SceneGroup:
    """Lights of one dial. At the dial's ``color`` they shine as in the file."""

    name: str
    lights: tuple[SceneLight, ...]

    @property
    def is_around(self) -> bool:
        """Whether one of them shines from far around; a scene has at most one that does."""
        return any(light.kind == "environment" for light in self.lights)

    @property
    def color(self) -> Triple:
        """The file's emission: of several lights that of the brightest, grey if hues differ.

        With grey, pictures (whose hue cannot be changed) are only dimmed.
        """
        brightest = max((light.color for light in self.lights), key=sum)
        for light in self.lights:
            share = sum(light.color) / max(sum(brightest), 1e-30)
            if not np.allclose(light.color, np.multiply(share, brightest), rtol=1e-4, atol=0):
                most = max(max(light.color) for light in self.lights)
                return most, most, most
        return brightest

    def neutral(self, light: SceneLight) -> Triple:
        """A light's emission where the group's is 1 (equal channels): 1 for a single light."""
        r, g, b = (
            own / whole if whole > 0 else 1.0
            for own, whole in zip(light.color, self.color, strict=True)
        )
        return r, g, b


def light_groups(scene: LoadedScene, stated: list[str]) -> tuple[SceneGroup, ...]:
    """The groups that ``scene.groups`` asks for; lights that it leaves out are a group each."""
    left = {light.name: light for light in scene.lights}
    groups: list[SceneGroup] = []
    for text in stated:
        name, equals, members = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z]\w*", name):
            raise SettingError(
                f"scene.groups: {text!r} is not of the form name=light1+light2 or name=*."
            )
        chosen = list(left) if members == "*" else members.split("+")
        for place, member in enumerate(chosen):
            if member not in left or member in chosen[:place]:
                known = ", ".join(light.name for light in scene.lights)
                raise SettingError(
                    f"scene.groups: {member!r} is not a light of {scene.path}, or is named twice;"
                    f" it has {known}."
                )
        if chosen:
            groups.append(SceneGroup(name=name, lights=tuple(left.pop(m) for m in chosen)))
    groups += [SceneGroup(name=name, lights=(light,)) for name, light in left.items()]
    names = [group.name for group in groups]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise SettingError(
                f"scene.groups: two groups of lights would be called {name}: rename one."
            )
    return tuple(groups)


class LightSwitch:
    """Sets what each light of a scene emits; those that emit nothing are not sampled either."""

    def __init__(self, scene: LoadedScene) -> None:
        """All lights are as in the file until the first ``set``."""
        import drjit
        import mitsuba

        self._drjit, self._mitsuba = drjit, mitsuba
        self._parameters: Any = mitsuba.traverse(scene.scene)
        self._lights, self._scene = scene.lights, scene.scene
        keys = list(self._parameters.keys())
        self._emissions: dict[str, list[str]] = {}
        self._pictures: dict[str, Any] = {}
        for light in scene.lights:
            own = [f"{light.emitter}.{name}" for name in EMISSIONS]
            self._emissions[light.name] = [key for key in own if key in keys]
            for name in PICTURES:
                if (key := f"{light.emitter}.{name}") in keys:
                    self._emissions[light.name].append(key)
                    picture = self._parameters[key]
                    self._pictures[key] = type(picture), np.array(picture, np.float32)
            if not self._emissions[light.name]:
                raise SceneError(
                    f"{scene.path}: what the light {light.name} emits cannot be dimmed, as a colour"
                    " and a picture can: give it one of these"
                )

    def set(self, emission: Mapping[str, Triple]) -> None:
        """Lights by name; those that are not named are off."""
        dark = not any(any(color) for color in emission.values())
        for light in self._lights:
            color = emission.get(light.name, BLACK)
            # Mitsuba wants to sample one at least.
            self._parameters[f"{light.emitter}.sampling_weight"] = float(dark or any(color))
            for key in self._emissions[light.name]:
                self._parameters[key] = self._value(key, color)
        self._parameters.update()

    def environment(
        self, light: SceneLight
    ) -> tuple[Float[np.ndarray, "height width 3"], list[list[float]]]:
        """An environment's picture, as Mitsuba's ``envmap`` has it, and its rotation."""
        data, turn = f"{light.emitter}.data", f"{light.emitter}.to_world"
        if f"{light.emitter}.sky_scale" in self._parameters:
            return self._seen_sky(light), np.eye(3).tolist()
        if data not in self._parameters:
            return np.ones((2, 4, 3), np.float32), np.eye(3).tolist()
        # Mitsuba repeats the last column before the first one, and the first one behind it.
        picture = np.array(self._parameters[data], np.float32)[:, 1:-1, :3]
        matrix = np.array(self._parameters[turn].matrix, np.float64).reshape(4, 4)
        return np.ascontiguousarray(picture), matrix[:3, :3].tolist()

    def _seen_sky(self, light: SceneLight) -> Float[np.ndarray, "height width 3"]:
        """What an environment without a picture shows in each direction of one."""
        mitsuba = self._mitsuba
        self.set({light.name: (1.0, 1.0, 1.0)})
        v, u = np.mgrid[0.5:SKY_ROWS, 0.5 : 2 * SKY_ROWS].reshape(2, -1) * np.pi / SKY_ROWS
        ahead = np.stack([np.sin(u) * np.sin(v), np.cos(v), -np.cos(u) * np.sin(v)], axis=1)
        sky, looked = self._scene.environment(), self._drjit.zeros(mitsuba.SurfaceInteraction3f)
        seen = np.empty((SKY_ROWS, 2 * SKY_ROWS, 3), np.float32)
        if (mitsuba.variant() or "").startswith("scalar"):
            for pixel, direction in zip(seen.reshape(-1, 3), -ahead, strict=True):
                looked.wi = direction
                pixel[:] = sky.eval(looked)
        else:
            looked.wi = mitsuba.Vector3f(-ahead.T.astype(np.float32))
            seen[:] = np.array(sky.eval(looked), np.float32).T.reshape(seen.shape)
        return seen

    def place(self, light: SceneLight, at: Triple) -> None:
        """Moves a point light, or turns a directional one to shine along ``at``."""
        key = f"{light.emitter}.{PLACES[light.kind]}"
        if light.kind == "point":
            self._parameters[key] = self._mitsuba.Point3f(*at)
        else:
            up = (0, 0, 1) if abs(at[2]) < 0.9 * sum(v * v for v in at) ** 0.5 else (1, 0, 0)
            self._parameters[key] = self._mitsuba.Transform4f().look_at([0, 0, 0], list(at), up)
        self._parameters.update()

    def _value(self, key: str, color: Triple) -> Any:
        """The parameter's value: factors and pictures know no colour."""
        if key in self._pictures:
            kind, picture = self._pictures[key]
            return kind(picture * np.float32(max(color)))
        kind = type(self._parameters[key])
        return kind(*color) if self._drjit.size_v(kind) == 3 else kind(max(color))


def neutral_emission(group: SceneGroup) -> dict[str, Triple]:
    """A group's lights at unit emission."""
    return {light.name: group.neutral(light) for light in group.lights}


def file_emission(scene: LoadedScene) -> dict[str, Triple]:
    """All lights as in the file."""
    return {light.name: light.color for light in scene.lights}
