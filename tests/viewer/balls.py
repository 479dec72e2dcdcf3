"""A ball as a scene for the viewer, of known colour, in one light or two, and cameras around it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.color import srgb_from_linear
from neural_render.core.lights import Color, LightGroup, Lighting
from neural_render.core.protocols import Field, SceneFrame
from neural_render.core.transforms import Similarity, look_at
from neural_render.rendering import Image, Renderer, RenderingSettings, build_renderer
from neural_render.viewer.stage import Surroundings
from tests.rendering.analytic import CPU, SphereField

RED = (0.9, 0.1, 0.3)
LIGHTS = Lighting(
    groups=(
        LightGroup(name="key", color=(2.0, 2.0, 1.0)),
        LightGroup(name="sky", color=(0.0, 0.0, 1.0)),
    )
)
FRAME = SceneFrame(
    world_from_field=Similarity(scale=2.0, translation=(-1.0, -1.0, -1.0)), cascades=1, near=0.0
)


@dataclass(kw_only=True)
class BallStage:
    """A ball of radius 0.4 at the world's origin; lit, it is white under each of the lights."""

    lighting: Lighting = field(default_factory=Lighting)
    frame: SceneFrame = FRAME
    renderer: Renderer = field(
        default_factory=lambda: build_renderer(RenderingSettings(step=0.02), FRAME, CPU)
    )

    @property
    def field(self) -> Field:
        colors = (0.5,) * (3 * len(self.lighting.groups)) or RED
        return SphereField(0.2, 5e3, colors)

    @property
    def is_linear(self) -> bool:
        return bool(self.lighting.groups)

    @property
    def background(self) -> Float[Tensor, " channels"]:
        return torch.zeros(self.field.num_channels)

    def conditions(self, light_at: Sequence[float]) -> Float[Tensor, " conditions"]:
        return torch.zeros(0)

    def developed(
        self, image: Image, cameras: Cameras, emission: tuple[Color, ...], stops: float
    ) -> Float[Tensor, "height width 3"]:
        if not self.lighting.groups:
            return image.color
        return srgb_from_linear(self.lighting.mixed(image.color, emission) * 2.0**stops)


def cameras_around(count: int = 8, distance: float = 2.5) -> Cameras:
    """Level cameras that look at the origin from all around; z is up."""
    angles = torch.arange(count) * (2 * torch.pi / count)
    places = distance * torch.stack([angles.cos(), angles.sin(), 0.3 + 0 * angles], dim=1)
    poses = look_at(places, torch.zeros(3).expand(count, 3), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras(
        world_from_camera=poses,
        focal_px=torch.full((count, 2), 60.0),
        center_px=torch.tensor([[24.0, 16.0]]).expand(count, 2),
        distortion=torch.zeros(count, 6),
        lens=torch.full((count,), int(Lens.PERSPECTIVE)),
        width=torch.full((count,), 48),
        height=torch.full((count,), 32),
    )


def grey_photos(chosen: Sequence[int], side: int) -> list[np.ndarray]:
    """A grey photo of each camera, the first one darkest."""
    return [np.full((side // 2, side, 3), 10 * index, dtype=np.uint8) for index in chosen]


def surroundings(folder: Path, count: int = 8) -> Surroundings:
    """Cameras around the ball, with grey photos."""
    return Surroundings(
        title="ball",
        cameras=cameras_around(count),
        names=tuple(f"photo_{index}" for index in range(count)),
        photos=grey_photos,
        has_photos=True,
        run=folder / "my ball.nrpack",
        folder=folder,
    )
