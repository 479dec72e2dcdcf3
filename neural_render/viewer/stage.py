"""What a viewer is handed: a scene to be looked at, what stands around it, how training goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.lights import Color, Lighting
from neural_render.core.protocols import Field, SceneFrame
from neural_render.rendering.images import Image
from neural_render.rendering.renderer import Renderer

Photo = UInt8[np.ndarray, "height width 3"]


@runtime_checkable
class Stage(Protocol):
    """A scene to be looked at. Everything is asked by one thread."""

    @property
    def field(self) -> Field:
        """The field as it is now."""
        ...

    @property
    def renderer(self) -> Renderer:
        """What integrates it."""
        ...

    @property
    def frame(self) -> SceneFrame:
        """Where it lies in the world."""
        ...

    @property
    def lighting(self) -> Lighting:
        """Its light groups; none of photographs."""
        ...

    @property
    def is_linear(self) -> bool:
        """Whether its radiance is scene-linear, so that it can be exposed."""
        ...

    @property
    def background(self) -> Float[Tensor, " channels"]:
        """What renders are made over."""
        ...

    def conditions(self, light_at: Sequence[float]) -> Float[Tensor, " conditions"]:
        """What the field is told where the moving light, if there is one, is there."""
        ...

    def developed(
        self, image: Image, cameras: Cameras, emission: tuple[Color, ...], stops: float
    ) -> Float[Tensor, "height width 3"]:
        """Display-referred sRGB of a render of the one camera (in the world)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is known beside the field: whose page it is, the photos' cameras, where paths belong.

    ``run`` is the folder or the package that is shown, as commands are told of it.

    ``photos`` gives small pictures of some of the cameras, in order; it may take seconds, and is
    asked in a thread of its own.
    """

    title: str
    cameras: Cameras  # in the world; at least one
    names: tuple[str, ...]
    photos: Callable[[Sequence[int], int], Sequence[Photo]]  # which, and their longest side
    has_photos: bool
    run: Path
    folder: Path  # that paths are saved in


@dataclass(frozen=True, kw_only=True)
class Report:
    """How training goes. ``psnr`` is NaN where noise hides it, ``seconds_left`` where unknown."""

    step: int
    fraction: float  # of the budget
    seconds: float  # of training, earlier sittings included
    loss: float
    psnr: float
    seconds_left: float
