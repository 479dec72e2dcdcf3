"""A tiny capture to learn cameras from: a striped ball whose photos and poses can be spoilt."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from neural_render.captures.adjustment.adjustment import CameraAdjustment
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture, Views
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.streaming import photo_source
from neural_render.core.transforms import rotation_from_vector
from neural_render.fields import FieldSettings, RadianceField, field_spec
from neural_render.kernels import dispatch
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.training.loop import RunContext, train
from neural_render.training.runs.folder import RunFolder
from neural_render.training.settings import TrainingSettings
from tests.tiny_capture import write_blender_capture
from tests.training.problems import CPU, GRID

BACKEND = dispatch.resolve("auto")


def open_tiny(folder: Path, num_train: int = 12) -> Capture:
    """The ball as it is."""
    write_blender_capture(folder / "tiny", num_train=num_train)
    return open_capture(CaptureSettings(path=str(folder / "tiny")), progress=False)


def twice(views: Views) -> Views:
    """Each photo a second time, from the same place."""
    index = torch.arange(2 * len(views)) % len(views)
    return replace(
        views,
        cameras=views.cameras[index],
        names=(*views.names, *(f"again/{name}" for name in views.names)),
        pixels=views.pixels.repeat(2, 1),
        offsets=torch.cat([views.offsets, views.offsets + len(views.pixels)]),
    )


def exposed(views: Views, stops: Tensor) -> Views:
    """The photos with so much more scene-linear light each, to first order."""
    pixels = views.pixels.clone().float()
    for view, gain in enumerate(2 ** (stops / 2.2)):
        start = int(views.offsets[view])
        stop = start + int(views.cameras.width[view] * views.cameras.height[view])
        pixels[start:stop, :3] *= gain
    return replace(views, pixels=pixels.clamp(max=255).round().to(torch.uint8))


def turned(views: Views, degrees: float, seed: int) -> Views:
    """The photos with poses that are off by so much, each about another axis."""
    axes = torch.randn(len(views), 3, generator=torch.Generator().manual_seed(seed))
    vectors = torch.nn.functional.normalize(axes, dim=1) * torch.tensor(degrees).deg2rad()
    poses = views.cameras.world_from_camera
    poses = torch.cat([rotation_from_vector(vectors) @ poses[..., :3], poses[..., 3:]], dim=-1)
    return replace(views, cameras=replace(views.cameras, world_from_camera=poses))


def train_photos(
    run: RunFolder,
    capture: Capture,
    settings: TrainingSettings,
    adjust: AdjustmentSettings,
    field: RadianceField | None = None,
) -> tuple[CameraAdjustment, RadianceField]:
    """Trains or resumes a run on the photos of ``capture``."""
    spec = field_spec(
        FieldSettings(grid=GRID, width=32),
        num_channels=3,
        cascades=capture.frame.cascades,
        radiance="sigmoid",
        num_conditions=adjust.appearance,
    )
    field = field or RadianceField(spec, torch.Generator().manual_seed(0))
    cameras = capture.train.cameras.in_frame(capture.frame.world_from_field.inverse())
    adjustment = CameraAdjustment(cameras, adjust)
    context = RunContext(
        seed=3,
        backend=BACKEND,
        precision=dispatch.load(BACKEND).precision(),
        threads=2,
        capture="tiny",
        config="seed: 3\n",
    )
    renderer = build_renderer(RenderingSettings(step=0.01), capture.frame, CPU)
    with dispatch.using(BACKEND):
        train(photo_source(capture, CPU), field, renderer, settings, run, context, adjustment)
    return adjustment, field
