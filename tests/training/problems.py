"""A tiny thing to train on: rays at a striped ball, which need no photos."""

import os
import signal
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from neural_render.core.protocols import RaySource, SceneFrame
from neural_render.core.rays import RayBatch, Rays
from neural_render.core.transforms import Similarity
from neural_render.fields import FieldSettings, GridSettings, RadianceField, field_spec
from neural_render.kernels import dispatch
from neural_render.rendering import Renderer, RenderingSettings, build_renderer
from neural_render.training.loop import RunContext, train
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.state import Progress
from neural_render.training.settings import TrainingSettings

CPU = torch.device("cpu")
RADIUS = 0.3
GRID = GridSettings(levels=8, log2_rows=13, finest=128)


class StripedBall:
    """Rays at a ball of radius 0.3 in the middle of the unit cube; its opacity is 1, else 0.

    After ``stop_after`` batches it sends this process a signal, as a user or a machine would.
    """

    num_channels = 3
    has_opacity = True
    frame = SceneFrame(
        world_from_field=Similarity(scale=2.0, translation=(-1.0, -1.0, -1.0)),
        cascades=1,
        near=0.05,
    )

    def __init__(self, stop_after: int = 0, stop_signal: int = signal.SIGINT) -> None:
        self.num_batches = 0
        self._stop_after, self._signal = stop_after, stop_signal

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        """Rays from all around at points in and near the ball."""
        origins = normalized(torch.randn(num_rays, 3, generator=generator))
        return self.look(origins, 0.7 * (torch.rand(num_rays, 3, generator=generator) - 0.5))

    def look(self, origins: Tensor, aims: Tensor) -> RayBatch:
        """A batch of the rays from points at distance 1 from the ball's middle at other points."""
        num_rays = len(origins)
        self.num_batches += 1
        if self.num_batches == self._stop_after:
            os.kill(os.getpid(), self._signal)
        directions = normalized(aims - origins)
        along = -(origins * directions).sum(dim=1)
        inside = along**2 - 1 + RADIUS**2
        normals = (origins + (along - inside.clamp(min=0).sqrt())[:, None] * directions) / RADIUS
        opacity = (inside > 0).float()
        return RayBatch(
            rays=Rays(
                origins=origins + 0.5, directions=directions, footprint=torch.zeros(num_rays)
            ),
            targets=(0.5 + 0.4 * torch.sin(4 * normals)) * opacity[:, None],
            opacity=opacity,
            weights=torch.ones(num_rays),
            view=torch.zeros(num_rays, dtype=torch.int64),
            distance=torch.zeros(num_rays),
            normals=torch.zeros(num_rays, 3),
            conditions=torch.zeros(num_rays, 0),
        )


class DividedBall(StripedBall):
    """The same, divided into slices by the height of the point that is looked at."""

    region_sizes = torch.full((10,), 50)

    def sample_regions(
        self, num_rays: int, regions: Tensor, generator: torch.Generator
    ) -> tuple[RayBatch, Tensor]:
        """Rays at points in these slices, then at points in any, and the slices of all."""
        origins = normalized(torch.randn(num_rays, 3, generator=generator))
        places = torch.rand(num_rays, 3, generator=generator)
        slices = (10 * places[:, 2]).long().clamp(max=9)
        slices[: len(regions)] = regions
        places[:, 2] = (slices + 0.5) / 10
        return self.look(origins, 0.7 * (places - 0.5)), slices


def normalized(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def tiny_field(
    seed: int = 0, grid: GridSettings = GRID, radiance: Literal["sigmoid", "exp"] = "sigmoid"
) -> RadianceField:
    """A small field with fresh weights."""
    settings = FieldSettings(grid=grid, width=32)
    spec = field_spec(settings, num_channels=3, cascades=1, radiance=radiance)
    return RadianceField(spec, torch.Generator().manual_seed(seed))


def tiny_renderer() -> Renderer:
    """A renderer with long steps."""
    return build_renderer(RenderingSettings(step=0.02), StripedBall.frame, CPU)


def settings_for(num_steps: int, **changes: object) -> TrainingSettings:
    """A budget of a few small steps, no checkpoint but the last."""
    given = {"num_steps": num_steps, "samples_per_step": 2048, "tensorboard": False}
    return TrainingSettings(**(given | changes))


def train_ball(
    run: RunFolder,
    settings: TrainingSettings,
    *,
    source: RaySource | None = None,
    field: RadianceField | None = None,
    kernels: tuple[str, int] = ("auto", 2),
    renderer: Renderer | None = None,
    **context: Any,
) -> tuple[Progress, RadianceField]:
    """Trains or resumes a run on the ball; ``kernels``: backend (auto: the fastest) and threads.

    ``context``: its lighting and its audience, if it has any.
    """
    backend, threads = kernels
    name = dispatch.resolve(backend)
    field = field or tiny_field()
    known = RunContext(
        seed=5,
        backend=name,
        precision=dispatch.load(name).precision(),
        threads=threads,
        capture="ball",
        config="seed: 5\n",
        color_space="linear" if field.spec.radiance == "exp" else "srgb",
        **context,
    )
    source = source or StripedBall()
    with dispatch.using(name) as active:
        active.set_threads(threads)
        return train(source, field, renderer or tiny_renderer(), settings, run, known), field


def new_run(folder: Path) -> RunFolder:
    """A run folder below ``folder``."""
    return RunFolder.create(folder, "ball")
