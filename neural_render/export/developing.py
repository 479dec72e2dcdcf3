"""From renders to what files hold: pictures for a screen, and scene-linear layers by name.

A picture may be the mean of many renders. What is averaged is light: photographs, which are fitted
as they are displayed, are made linear before; backdrops are put behind each render by itself. What
comes last, for the mean alone, is the way to the screen.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.color import film_from_linear, linear_from_srgb, srgb_from_linear
from neural_render.core.lights import Color
from neural_render.export.images import MIN_OPACITY, associated_linear, display_color
from neural_render.rendering.environment import EnvironmentMap
from neural_render.rendering.images import Image
from neural_render.rendering.lit import Dials

NO_LIGHT = 1e-6  # is left behind what is opaque: the rounding of sums of weights


@dataclass(frozen=True, kw_only=True)
class Render:
    """A render, and the directions (in the world) that its pixels looked in.

    ``pixel`` is the share of a pixel that it stands for: 1, less where a picture is the mean of
    many, 0 where these differ from pixel to pixel at random.
    """

    image: Image
    directions: Float[Tensor, "height width 3"]
    pixel: float = 1.0


@runtime_checkable
class Development(Protocol):
    """What becomes of the renders of a film."""

    def light(self, render: Render) -> Float[Tensor, "height width 3"]:
        """What reaches the film: linear light, which may be averaged."""
        ...

    def picture(
        self, light: Float[Tensor, "height width 3"], opacity: Float[Tensor, "height width"]
    ) -> Float[Tensor, "height width channels"]:
        """Display-referred sRGB of it; four channels where the opacity, not associated, is kept."""
        ...

    def layers(self, image: Image) -> dict[str, Float[Tensor, "height width"]]:
        """Scene-linear colours without any background, times opacity; R, G, B and others."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlainDevelopment:
    """Of renders over ``background``; both are in the run's colour space (srgb or linear).

    ``transparent``: pictures keep their opacity instead of the background.
    """

    background: Color
    colour_space: str
    exposure: float = 1.0
    transparent: bool = False

    def light(self, render: Render) -> Float[Tensor, "height width 3"]:
        """The render's; without its background where that is not wanted."""
        if self.transparent:
            return self._associated(render.image)
        color = render.image.color
        return linear_from_srgb(color) if self.colour_space == "srgb" else color

    def picture(
        self, light: Float[Tensor, "height width 3"], opacity: Float[Tensor, "height width"]
    ) -> Float[Tensor, "height width channels"]:
        """The render as it is shown."""
        if self.transparent:
            return _with_opacity(self._shown(_straight(light, opacity)), opacity)
        return self._shown(light)

    def layers(self, image: Image) -> dict[str, Float[Tensor, "height width"]]:
        """R, G, B."""
        return dict(zip("RGB", self._associated(image).unbind(-1), strict=True))

    def _associated(self, image: Image) -> Float[Tensor, "height width 3"]:
        return associated_linear(
            image.color, image.opacity, background=self.background, colour_space=self.colour_space
        )

    def _shown(self, light: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width 3"]:
        if self.colour_space == "srgb":
            return srgb_from_linear(light)
        return display_color(light, self.colour_space, self.exposure)


@runtime_checkable
class Backdrop(Protocol):
    """What lies behind a scene-linear render over black."""

    def light(self, render: Render) -> Float[Tensor, "height width 3"]:
        """The render's light, and what of the backdrop's is seen beside it."""
        ...

    def picture(
        self,
        light: Float[Tensor, "height width 3"],
        opacity: Float[Tensor, "height width"],
        exposure: float,
    ) -> Float[Tensor, "height width channels"]:
        """Display-referred sRGB of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlainBackdrop:
    """Black or white; white is that of the screen, whatever the exposure."""

    level: float

    def light(self, render: Render) -> Float[Tensor, "height width 3"]:
        """The render's."""
        return render.image.color

    def picture(
        self,
        light: Float[Tensor, "height width 3"],
        opacity: Float[Tensor, "height width"],
        exposure: float,
    ) -> Float[Tensor, "height width channels"]:
        """Composited in what is displayed; before black, where the light is."""
        if not self.level:
            return film_from_linear(light * exposure)
        covered = opacity[..., None]
        shown = film_from_linear(_straight(light, opacity) * exposure)
        return shown * covered + self.level * (1 - covered)


@dataclass(frozen=True, kw_only=True)
class NoBackdrop:
    """Pictures keep their opacity instead."""

    def light(self, render: Render) -> Float[Tensor, "height width 3"]:
        """The render's."""
        return render.image.color

    def picture(
        self,
        light: Float[Tensor, "height width 3"],
        opacity: Float[Tensor, "height width"],
        exposure: float,
    ) -> Float[Tensor, "height width channels"]:
        """What covers the pixel, as if it covered all of it, and how much of it that is."""
        return _with_opacity(film_from_linear(_straight(light, opacity) * exposure), opacity)


@dataclass(frozen=True, kw_only=True)
class EnvironmentBackdrop:
    """The environment at an emission, in the directions that the film looks in."""

    environment: EnvironmentMap
    emission: Color

    def light(self, render: Render) -> Float[Tensor, "height width 3"]:
        """The render with it where the scene lets light through."""
        color, through = render.image.color, 1 - render.image.opacity
        behind = self.environment.behind(render.directions, through > NO_LIGHT, render.pixel)
        behind = behind.to(color) * color.new_tensor(self.emission)
        return color + through[..., None] * behind

    def picture(
        self,
        light: Float[Tensor, "height width 3"],
        opacity: Float[Tensor, "height width"],
        exposure: float,
    ) -> Float[Tensor, "height width channels"]:
        """All of it is light."""
        return film_from_linear(light * exposure)


@dataclass(frozen=True, kw_only=True)
class LitDevelopment:
    """Of renders over black that have the channels of all light groups."""

    dials: Dials
    exposure: float
    backdrop: Backdrop

    def light(self, render: Render) -> Float[Tensor, "height width 3"]:
        """The mixed render before its backdrop."""
        mixed = self.dials.mixed(render.image)
        return self.backdrop.light(
            Render(image=mixed, directions=render.directions, pixel=render.pixel)
        )

    def picture(
        self, light: Float[Tensor, "height width 3"], opacity: Float[Tensor, "height width"]
    ) -> Float[Tensor, "height width channels"]:
        """Through the display transform."""
        return self.backdrop.picture(light, opacity, self.exposure)

    def layers(self, image: Image) -> dict[str, Float[Tensor, "height width"]]:
        """R, G, B under all lights, and GROUP.R, GROUP.G, GROUP.B of each one at unit emission."""
        layers = dict(zip("RGB", self.dials.mixed(image).color.unbind(-1), strict=True))
        for name, color in self.dials.alone(image).items():
            layers |= {f"{name}.{c}": part for c, part in zip("RGB", color.unbind(-1), strict=True)}
        return layers


def _straight(
    light: Float[Tensor, "height width 3"], opacity: Float[Tensor, "height width"]
) -> Float[Tensor, "height width 3"]:
    """The colour of what covers the pixel, freed of how much of it is covered."""
    return light / opacity[..., None].clamp(min=MIN_OPACITY)


def _with_opacity(
    color: Float[Tensor, "height width 3"], opacity: Float[Tensor, "height width"]
) -> Float[Tensor, "height width 4"]:
    return torch.cat([color, opacity[..., None]], dim=-1)
