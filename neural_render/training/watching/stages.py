"""What the viewer shows: a trained run, or the averaged weights of one that still trains."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.lights import Color, Lighting
from neural_render.core.protocols import SceneFrame
from neural_render.evaluation.protocol import background_color, background_name
from neural_render.export.developing import (
    Backdrop,
    Development,
    EnvironmentBackdrop,
    LitDevelopment,
    PlainBackdrop,
    PlainDevelopment,
    Render,
)
from neural_render.export.environment import load_environment
from neural_render.fields import RadianceField
from neural_render.rendering import Image, Renderer
from neural_render.rendering.environment import EnvironmentMap
from neural_render.rendering.lit import Dials, set_dials
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.runs.state import RunRecord, TrainingState


@dataclass(frozen=True, kw_only=True)
class FieldStage:
    """A field as the viewer's `Stage`."""

    field: RadianceField
    renderer: Renderer
    frame: SceneFrame
    lighting: Lighting
    color_space: str  # srgb or linear
    behind: str  # black or white, behind photographs
    environment: tuple[EnvironmentMap, ...]  # none or one

    @property
    def is_linear(self) -> bool:
        """Whether it can be exposed."""
        return self.color_space == "linear"

    @property
    def background(self) -> Float[Tensor, " channels"]:
        """Black behind light groups, which are mixed before anything is put behind them."""
        like = self.field.table
        if self.lighting.groups:
            return like.new_zeros(self.field.num_channels)
        return like.new_tensor(background_color(self.behind))

    def conditions(self, light_at: Sequence[float]) -> Float[Tensor, " conditions"]:
        """Those of the moving light; of photos that differ in appearance the mean, 0."""
        if self.lighting.moving:
            told = set_dials(self.lighting, {}, self._shining(light_at)).conditions
            return told.to(self.field.table)
        return self.field.table.new_zeros(self.field.spec.num_conditions)

    def developed(
        self, image: Image, cameras: Cameras, emission: tuple[Color, ...], stops: float
    ) -> Float[Tensor, "height width 3"]:
        """As films are developed: see ``export.developing``."""
        exposure = self.lighting.exposure * 2.0**stops
        development: Development = PlainDevelopment(
            background=background_color(self.behind),
            colour_space=self.color_space,
            exposure=exposure,
        )
        directions = image.color.new_zeros(*image.opacity.shape, 3)
        if self.lighting.groups:
            dials = Dials(lighting=self.lighting, emission=emission, conditions=torch.zeros(0))
            development = LitDevelopment(
                dials=dials, exposure=exposure, backdrop=self._backdrop(dials)
            )
            if self.environment:
                directions = image_rays(cameras, 0).directions.view_as(directions)
        seen = Render(image=image, directions=directions)
        return development.picture(development.light(seen), image.opacity)

    def _backdrop(self, dials: Dials) -> Backdrop:
        if not self.environment:
            return PlainBackdrop(level=0.0)
        return EnvironmentBackdrop(environment=self.environment[0], emission=dials.of_environment())

    def _shining(self, light_at: Sequence[float]) -> Sequence[float]:
        """Where the light is; as in the scene's file for what is no direction."""
        (light,) = self.lighting.moving
        return light_at if any(light_at) or light.kind == "position" else ()


def trained_stage(scene: TrainedScene, background: str, *, has_opacity: bool) -> FieldStage:
    """A run as it was trained; ``background``: white, black or auto; ``has_opacity``: its photos
    do not cover everything."""
    return FieldStage(
        field=scene.field,
        renderer=scene.renderer,
        frame=scene.frame,
        lighting=scene.lighting,
        color_space=scene.record.color_space,
        behind=background_name(
            background, trained=scene.record.background, has_opacity=has_opacity
        ),
        environment=scene.environment,
    )


def training_stage(
    state: TrainingState, renderer: Renderer, record: RunRecord, run: RunFolder
) -> FieldStage:
    """A run while it trains: its averaged weights and its occupancy, as they are at any time."""
    generator = torch.Generator(state.field.table.device).manual_seed(0)
    field = RadianceField(record.field, generator)
    for name, average in state.average.average.items():
        # The same memory and version: what training averages is what is seen, and seen to change.
        setattr(field, name, nn.Parameter(average, requires_grad=False))
    return FieldStage(
        field=field,
        renderer=renderer,
        frame=record.frame,
        lighting=record.lighting,
        color_space=record.color_space,
        behind=record.background,
        environment=(load_environment(run.path),) if run.environment_path.exists() else (),
    )
