"""Trains a field from a Python program, as ``train.py`` does from the command line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.streaming import photo_source
from neural_render.core.errors import SettingError
from neural_render.core.files import expanded
from neural_render.core.protocols import RaySource
from neural_render.fields import FieldSettings, RadianceField, field_spec
from neural_render.kernels import dispatch
from neural_render.kernels.settings import KernelSettings, start_kernels
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.training.loop import RunContext, train
from neural_render.training.randomness import generator_for
from neural_render.training.runs.folder import RunFolder
from neural_render.training.schedules import auto_log2_rows
from neural_render.training.settings import TrainingSettings
from neural_render.training.sources.photographed import photographed

SEED = 0


def fit_from_python(
    source: RaySource | CaptureSettings,
    outputs: str | Path,
    *,
    steps: int,
    name: str,
    field: FieldSettings,
    training: TrainingSettings,
    config_of: Callable[[str, CaptureSettings], str],
) -> RunFolder:
    """A new run below ``outputs`` of a field that was fitted to the rays of ``source``.

    ``config_of`` makes the text of its ``config.yaml`` of its name and its photos.
    """
    if steps < 1:
        raise SettingError(f"steps={steps} is no training: give 1 or more.")
    backend, threads, device = start_kernels(KernelSettings())
    rendering = RenderingSettings()
    training = replace(training, num_steps=steps)
    photos = source if isinstance(source, CaptureSettings) else CaptureSettings()
    unseen = []
    if isinstance(source, CaptureSettings):
        capture = open_capture(source, progress=False)
        photos = replace(source, path=str(capture.path))
        source, training = photographed(photo_source(capture, device), capture, training)
        unseen = [capture.train.cameras.in_frame(capture.frame.world_from_field.inverse())]
    rows = field.grid.log2_rows or auto_log2_rows(training, device)
    spec = field_spec(
        replace(field, grid=replace(field.grid, log2_rows=rows)),
        num_channels=source.num_channels,
        cascades=source.frame.cascades,
        radiance="sigmoid",
    )
    fitted = RadianceField(spec, generator_for(SEED, 0, "initialise", device))
    renderer = build_renderer(rendering, source.frame, device)
    for cameras in unseen:
        renderer.mark_unseen(cameras, source.frame.near)
    run = RunFolder.create(expanded(outputs), name)
    context = RunContext(
        seed=SEED,
        backend=backend,
        precision=dispatch.precision(),
        threads=threads,
        capture=photos.path,
        config=config_of(name, photos),
    )
    train(source, fitted, renderer, training, run, context)
    return run
