"""A finished run, ready to render: nothing but its folder is needed (packages: `packages`)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.errors import SettingError
from neural_render.core.lights import Lighting
from neural_render.core.protocols import SceneFrame
from neural_render.evaluation.records import TrainingFigures
from neural_render.export.environment import load_environment
from neural_render.fields import RadianceField
from neural_render.rendering import OccupancyGrid, Renderer
from neural_render.rendering.environment import EnvironmentMap
from neural_render.training.runs.checkpoint import open_checkpoint, restore_occupancy
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.state import Progress, RunRecord


def check_exposure(stops: float, color_space: str, setting: str) -> None:
    """SettingError where ``setting`` exposes light that is exposed already."""
    if stops and color_space == "srgb":
        raise SettingError(
            f"{setting}={stops:g} exposes scene-linear light and this run was made from photos,"
            " which are exposed: leave it out."
        )


@dataclass(frozen=True, kw_only=True)
class TrainedScene:
    """A run's field with its averaged weights, its renderer and its place in the world."""

    field: RadianceField
    renderer: Renderer
    frame: SceneFrame
    background: Float[Tensor, " channels"]
    lighting: Lighting
    environment: tuple[EnvironmentMap, ...]  # none or one
    record: RunRecord
    progress: Progress
    cameras: dict[str, Tensor]  # what was learnt of them, see `CameraAdjustment`

    @property
    def num_conditions(self) -> int:
        """What its field is told beside places and directions."""
        return self.record.field.num_conditions

    def exposed(self, stops: float, setting: str) -> float:
        """What its light is multiplied by where ``setting`` makes it so many stops brighter.

        SettingError for light that is exposed already.
        """
        check_exposure(stops, self.record.color_space, setting)
        return self.lighting.exposure * 2.0**stops

    @property
    def figures(self) -> TrainingFigures:
        """What its training cost, for a record of what it is worth."""
        done = self.progress
        return TrainingFigures(
            train_seconds=done.train_seconds,
            train_cpu_seconds=done.train_cpu_seconds,
            num_steps=done.step,
            num_samples=done.num_samples,
            num_samples_marched=done.num_samples_marched,
            num_rays=done.num_rays,
            backend=self.record.backend,
            precision=self.record.precision,
        )


def load_for_rendering(run: RunFolder, device: torch.device) -> TrainedScene:
    """The scene of the run's last checkpoint; CheckpointError if there is none or it is broken."""
    checkpoint = open_checkpoint(run.last_checkpoint())
    record = checkpoint.record
    occupancy = OccupancyGrid(record.march.cascades, device)
    restore_occupancy(checkpoint, occupancy)
    return rebuilt(
        record,
        checkpoint.progress,
        checkpoint.tensors("average"),
        occupancy,
        environment=(load_environment(run.path),) if run.environment_path.exists() else (),
        cameras=checkpoint.tensors("cameras"),
    )


def rebuilt(
    record: RunRecord,
    progress: Progress,
    weights: Mapping[str, Tensor],
    occupancy: OccupancyGrid,
    *,
    environment: tuple[EnvironmentMap, ...],
    cameras: dict[str, Tensor],
) -> TrainedScene:
    """The scene that a record describes, with these weights (whose shapes were checked)."""
    device = occupancy.bits.device
    field = RadianceField(record.field, torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            parameter.copy_(weights[name])
            parameter.requires_grad_(False)
    level = 1.0 if record.background == "white" else 0.0
    return TrainedScene(
        field=field,
        renderer=Renderer(
            record.march,
            occupancy,
            antialias=record.antialias,
            projection=record.frame.projection,
        ),
        frame=record.frame,
        background=torch.full((field.num_channels,), level, device=device),
        lighting=record.lighting,
        environment=environment,
        record=record,
        progress=progress,
        cameras=cameras,
    )
