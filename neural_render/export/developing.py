"""From renders to what files hold: pictures for a screen, and scene-linear layers by name."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.color import film_from_linear
from neural_render.core.lights import Color
from neural_render.export.images import MIN_OPACITY, associated_linear, display_color
from neural_render.rendering.environment import EnvironmentMap
from neural_render.rendering.images import Image
from neural_render.rendering.lit import Dials

NO_LIGHT = 1e-6  # is left behind what is opaque: the rounding of sums of weights
ENVIRONMENT = "environment"  # the light group whose picture can be seen behind the scene


@runtime_checkable
class Development(Protocol):
    """What becomes of the renders of a film."""

    def picture(self, image: Image, index: int) -> Float[Tensor, "height width 3"]:
        """Display-referred sRGB of what camera ``index`` of the film sees."""
        ...

    def layers(self, image: Image) -> dict[str, Float[Tensor, "height width"]]:
        """Scene-linear colours without any background, times opacity; R, G, B and others."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlainDevelopment:
    """Of renders over ``background``; both are in the run's colour space (srgb or linear)."""

    background: Color
    colour_space: str
    exposure: float = 1.0

    def picture(self, image: Image, index: int) -> Float[Tensor, "height width 3"]:
        """The render as it is shown."""
        return display_color(image.color, self.colour_space, self.exposure)

    def layers(self, image: Image) -> dict[str, Float[Tensor, "height width"]]:
        """R, G, B."""
        color = associated_linear(
            image.color, image.opacity, background=self.background, colour_space=self.colour_space
        )
        return dict(zip("RGB", color.unbind(-1), strict=True))


@runtime_checkable
class Backdrop(Protocol):
    """What lies behind a scene-linear render over black."""

    def picture(self, image: Image, index: int, exposure: float) -> Float[Tensor, "height width 3"]:
        """Display-referred sRGB of a render of camera ``index`` before it."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlainBackdrop:
    """Black or white; white is that of the screen, whatever the exposure."""

    level: float

    def picture(self, image: Image, index: int, exposure: float) -> Float[Tensor, "height width 3"]:
        """Composited in what is displayed; before black, where the light is."""
        covered = image.opacity[..., None]
        if not self.level:
            return film_from_linear(image.color * exposure)
        surface = image.color / covered.clamp(min=MIN_OPACITY)
        return film_from_linear(surface * exposure) * covered + self.level * (1 - covered)


@dataclass(frozen=True, kw_only=True)
class EnvironmentBackdrop:
    """The environment at an emission, seen by the film's cameras (in the world)."""

    environment: EnvironmentMap
    emission: Color
    cameras: Cameras

    def before(self, image: Image, index: int) -> Image:
        """The scene-linear render with it where the scene lets light through."""
        through = 1 - image.opacity
        behind = self.environment.behind(self.cameras, index, through > NO_LIGHT).to(image.color)
        behind = behind * image.color.new_tensor(self.emission)
        color = image.color + through[..., None] * behind
        return Image(
            color=color,
            opacity=torch.ones_like(image.opacity),
            distance=image.distance,
        )

    def picture(self, image: Image, index: int, exposure: float) -> Float[Tensor, "height width 3"]:
        """Composited where the light is."""
        return film_from_linear(self.before(image, index).color * exposure)


@dataclass(frozen=True, kw_only=True)
class LitDevelopment:
    """Of renders over black that have the channels of all light groups."""

    dials: Dials
    exposure: float
    backdrop: Backdrop

    def picture(self, image: Image, index: int) -> Float[Tensor, "height width 3"]:
        """The mixed render before its backdrop, through the display transform."""
        return self.backdrop.picture(self.dials.mixed(image), index, self.exposure)

    def layers(self, image: Image) -> dict[str, Float[Tensor, "height width"]]:
        """R, G, B under all lights, and GROUP.R, GROUP.G, GROUP.B of each one at unit emission."""
        layers = dict(zip("RGB", self.dials.mixed(image).color.unbind(-1), strict=True))
        for name, color in self.dials.alone(image).items():
            layers |= {f"{name}.{c}": part for c, part in zip("RGB", color.unbind(-1), strict=True)}
        return layers
