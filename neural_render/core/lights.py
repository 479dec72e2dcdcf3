"""Lights as dials: light groups, what mixes them, and a light that moves.

Light transport is linear: radiance under all lights is the sum of the radiance under each one,
times that one's emission (colour channel by colour channel). A field with light groups has three
radiance channels for each, in their order, found at neutral unit emission.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.errors import SettingError

Color = tuple[float, float, float]
NUM_LIGHT_CONDITIONS = 15  # of a light that moves


def check_dials(dials: Mapping[str, Any]) -> None:
    """SettingError for the first that is no brightness (a number) and no colour (three numbers)."""
    for name, dial in dials.items():
        values = list(dial) if isinstance(dial, list | tuple) else [dial]
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        shown = f"lights.{name}={dial}".replace(" ", "")
        if not numbers or (isinstance(dial, list | tuple) and len(values) != 3):
            raise SettingError(
                f"{shown} is not a brightness or a colour: give a number, such as lights.{name}=2,"
                f" or a list of three, such as lights.{name}=[1,0.9,0.8]."
            )
        if not all(0 <= value < math.inf for value in values):
            raise SettingError(f"{shown} must be finite and nowhere below 0: light cannot be less.")


def check_light_at(at: Sequence[float], setting: str) -> None:
    """SettingError where ``setting`` is neither empty nor three finite numbers."""
    if len(at) not in (0, 3) or not all(map(math.isfinite, at)):
        raise SettingError(
            f"{setting}={list(at)} is not a place or a direction: give three finite numbers, such"
            f" as {setting}=[0,-1,0.5]."
        )


@dataclass(frozen=True, kw_only=True)
class LightGroup:
    """Lights that are dialled together.

    ``color`` is the scene file's emission: what multiplies the radiance at unit emission. ``scale``
    is that radiance per unit of the field's: it brings what is fitted near 1.
    """

    name: str
    color: Color
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class MovingLight:
    """A light whose direction (that its light travels in) or position is a condition of the field.

    ``low`` and ``high`` bound what was seen in baking, in the scene's world; ``at`` is the file's.
    """

    group: str
    kind: Literal["direction", "position"]
    low: Color
    high: Color
    at: Color

    def conditions(self, at: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays conditions"]:
        """What the field is told of the light: place in [-1, 1], its products and its waves."""
        if self.kind == "direction":
            place = torch.nn.functional.normalize(at, dim=1)
        else:
            low, high = at.new_tensor(self.low), at.new_tensor(self.high)
            place = 2 * (at - low) / (high - low).clamp(min=1e-9) - 1
        x, y, z = place.unbind(1)
        products = torch.stack([x * x, y * y, z * z, x * y, y * z, z * x], dim=1)
        turned = torch.pi * place
        return torch.cat([place, products, turned.sin(), turned.cos()], dim=1)


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """The light groups of a field, in the order of its channels; none for photographs.

    ``exposure`` multiplies scene-linear radiance before it is shown. ``environment`` is the group
    of the light that shines from far around; empty: none does.
    """

    groups: tuple[LightGroup, ...] = ()
    moving: tuple[MovingLight, ...] = ()  # none or one
    exposure: float = 1.0
    environment: str = ""

    @property
    def num_conditions(self) -> int:
        """The number of conditions of the field."""
        return NUM_LIGHT_CONDITIONS * len(self.moving)

    def dialled(self, dials: Mapping[str, Color]) -> tuple[Color, ...]:
        """Each group's emission: the file's, or what ``dials`` say; SettingError for others."""
        names = [group.name for group in self.groups]
        for name in dials:
            if name not in names:
                known = f"it has {', '.join(names)}" if names else "it was made from photos"
                raise SettingError(f"lights.{name} is not a light of this run: {known}.")
        return tuple(dials.get(group.name, group.color) for group in self.groups)

    def emission(self, dials: Mapping[str, Any]) -> tuple[Color, ...]:
        """Each group's emission where a dial is a number (times the file's colour) or a colour.

        SettingError for a light that this run has not.
        """
        own = {group.name: group.color for group in self.groups}
        colors = {}
        for name, dial in dials.items():
            red, green, blue = own.get(name, (1.0, 1.0, 1.0))
            is_number = isinstance(dial, int | float)
            colors[name] = (red * dial, green * dial, blue * dial) if is_number else tuple(dial)
        return self.dialled(colors)

    def mixed(
        self, values: Float[Tensor, "*pixels channels"], emission: tuple[Color, ...]
    ) -> Float[Tensor, "*pixels 3"]:
        """Scene-linear colour under all lights of the field's radiance; differentiable."""
        groups = values.unflatten(-1, (len(self.groups), 3))
        return (groups * self.factors(values, emission)).sum(-2)

    def factors(self, like: Tensor, emission: tuple[Color, ...]) -> Float[Tensor, "groups 3"]:
        """What multiplies each channel of the field."""
        scales = like.new_tensor([group.scale for group in self.groups])
        return like.new_tensor(emission) * scales[:, None]
