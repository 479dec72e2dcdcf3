"""Trains a field from a Python program, as ``train.py`` does from the command line."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from neural_render.captures.adjustment.adjustment import CameraAdjustment, fixed_cameras
from neural_render.captures.doctor.examination import open_checked
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.streaming import photo_source
from neural_render.core.errors import SettingError
from neural_render.core.files import expanded
from neural_render.core.protocols import RaySource
from neural_render.fields import FieldSettings, RadianceField, field_spec
from neural_render.kernels import dispatch
from neural_render.kernels.settings import KernelSettings, start_kernels
from neural_render.rendering import Renderer, RenderingSettings, build_renderer
from neural_render.training.loop import RunContext, train
from neural_render.training.randomness import generator_for
from neural_render.training.runs.folder import RunFolder
from neural_render.training.schedules import auto_log2_rows
from neural_render.training.settings import TrainingSettings
from neural_render.training.sources.photographed import (
    photographed,
    photographed_field,
    photographed_renderer,
)
from neural_render.training.sources.remembered import photos_record

SEED = 0
STEPS = 2000

ConfigOf = Callable[[CaptureSettings, FieldSettings, TrainingSettings], str]


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """What is fitted to what."""

    source: RaySource
    training: TrainingSettings
    field: RadianceField
    renderer: Renderer
    adjustment: CameraAdjustment
    capture: str  # where the rays come from
    photos: Mapping[str, Any]  # what is remembered of them
    program: str  # that goes on with the run, see `RunContext`


def fit_from_python(
    source: RaySource | CaptureSettings,
    outputs: Path,
    *,
    steps: int | None,
    name: str,
    field: FieldSettings,
    training: TrainingSettings,
    config_of: ConfigOf,
) -> RunFolder:
    """A new run below ``outputs`` of a field that was fitted to the rays of ``source``.

    ``steps`` is the budget; None: that of ``training``, or ``STEPS`` where it states none.
    ``config_of`` makes the text of its ``config.yaml`` of the settings that it is made with.
    """
    training = _with_budget(training, steps)
    backend, threads, device = start_kernels(KernelSettings())
    rows = field.grid.log2_rows or auto_log2_rows(training, device)
    field = replace(field, grid=replace(field.grid, log2_rows=rows))
    photos = CaptureSettings()
    if isinstance(source, CaptureSettings):
        path = os.path.abspath(expanded(source.path)) if source.path else ""
        photos = replace(source, path=path)
        problem = _of_photos(photos, field, training, device)
    else:
        problem = _of_rays(source, field, training, device)
    context = RunContext(
        seed=SEED,
        backend=backend,
        precision=dispatch.precision(),
        threads=threads,
        capture=problem.capture,
        config=config_of(photos, field, training),
        photos=problem.photos,
        program=problem.program,
    )
    parts = problem.source, problem.field, problem.renderer, problem.training
    with RunFolder.begun("", str(outputs), name) as run:
        train(*parts, run, context, problem.adjustment)
    return run


def _with_budget(training: TrainingSettings, steps: int | None) -> TrainingSettings:
    """The settings with one budget; SettingError where two are given."""
    plain = TrainingSettings()
    stated = training.num_steps > 0 or training.max_seconds != plain.max_seconds
    if steps is None:
        return training if stated else replace(training, num_steps=STEPS)
    if steps < 1:
        raise SettingError(f"steps={steps} is no training: give 1 or more.")
    if stated:
        raise SettingError(
            f"steps={steps} is a budget beside that of training (num_steps={training.num_steps},"
            f" max_seconds={training.max_seconds:g}): give one of them."
        )
    return replace(training, num_steps=steps)


def _of_photos(
    settings: CaptureSettings,
    field: FieldSettings,
    training: TrainingSettings,
    device: torch.device,
) -> _Problem:
    """What ``train.py`` makes of photos."""
    capture = open_checked(settings, progress=False, check=True)
    source, suited = photographed(photo_source(capture, device), capture, training)
    cameras = capture.train.cameras.in_frame(capture.frame.world_from_field.inverse())
    return _Problem(
        source=source,
        training=suited,
        field=photographed_field(field, capture, settings.adjust.appearance, SEED, device),
        renderer=photographed_renderer(
            RenderingSettings(), capture, device, points_first=training.points_first > 0
        ),
        adjustment=CameraAdjustment(cameras.to(device), settings.adjust),
        capture=str(capture.path),
        photos=photos_record(capture, settings),
        program="train.py",
    )


def _of_rays(
    source: RaySource, field: FieldSettings, training: TrainingSettings, device: torch.device
) -> _Problem:
    """A field of display-referred colours, where all space may hold something."""
    spec = field_spec(
        field, num_channels=source.num_channels, cascades=source.frame.cascades, radiance="sigmoid"
    )
    return _Problem(
        source=source,
        training=training,
        field=RadianceField(spec, generator_for(SEED, 0, "initialise", device)),
        renderer=build_renderer(RenderingSettings(), source.frame, device),
        adjustment=fixed_cameras(),
        capture="",
        photos={},
        program="",
    )
