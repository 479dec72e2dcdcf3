"""Pictures of a field with light groups: all groups at once, mixed as the dials say."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.errors import SettingError
from neural_render.core.lights import Color, Lighting
from neural_render.rendering.images import Image

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class Dials:
    """How a field's lights are set: each group's emission, and what it is told of a light that
    moves."""

    lighting: Lighting
    emission: tuple[Color, ...]
    conditions: Float[Tensor, " conditions"]

    def mixed(self, image: Image) -> Image:
        """The scene-linear picture under all lights, of one that has all groups' channels."""
        return replace(image, color=self.lighting.mixed(image.color, self.emission))

    def alone(self, image: Image) -> dict[str, Float[Tensor, "height width 3"]]:
        """What each group's light alone gives at unit emission, by its name."""
        groups = image.color.unflatten(-1, (len(self.lighting.groups), 3)).unbind(-2)
        lights = self.lighting.groups
        return {light.name: seen * light.scale for light, seen in zip(lights, groups, strict=True)}

    def of_environment(self) -> Color:
        """The emission of the light that shines from far around; 1 where there is none."""
        for group, emission in zip(self.lighting.groups, self.emission, strict=True):
            if group.name == self.lighting.environment:
                return emission
        return (1.0, 1.0, 1.0)


def set_dials(
    lighting: Lighting,
    lights: Mapping[str, Any],
    light_at: Sequence[float],
    setting: str = "render.light_at",
) -> Dials:
    """The dials as the user's words ask for (``lights.NAME``, and ``light_at`` by its name).

    SettingError where the run has no such light or none that moves.
    """
    emission = lighting.emission(lights)
    if not lighting.moving:
        if light_at:
            raise SettingError(
                f"{setting}={list(light_at)} moves a light and this run was made with none"
                " that moves: leave it out."
            )
        return Dials(lighting=lighting, emission=emission, conditions=torch.zeros(0))
    (light,) = lighting.moving
    at = torch.tensor([list(light_at) or light.at])
    if light.kind == "direction":
        if not bool(at.any()):
            raise SettingError(
                f"{setting}=[0,0,0] is no direction: give the one in which the light shines,"
                f" such as {setting}=[0,-1,0.5]."
            )
        at = torch.nn.functional.normalize(at, dim=1)
    outside = (at < at.new_tensor(light.low) - 1e-4) | (at > at.new_tensor(light.high) + 1e-4)
    if bool(outside.any()):
        _log.warning(
            "%s=%s%s is outside of what was seen in baking (%s to %s): the picture is a guess",
            setting,
            list(light_at or light.at),
            "" if light_at else ", the light's own place in the scene's file,",
            list(light.low),
            list(light.high),
        )
    return Dials(lighting=lighting, emission=emission, conditions=light.conditions(at)[0])
