"""Trains a radiance field on photographs, measures it on test views, films a turn around it."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from functools import partial
from pathlib import Path

from neural_render import config
from neural_render.captures.adjustment.adjustment import CameraAdjustment
from neural_render.captures.streaming import photo_source
from neural_render.core.processes import group
from neural_render.kernels import dispatch
from neural_render.kernels.settings import start_kernels
from neural_render.training.loop import RunContext, train
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.runs.results import Results, check_film_of_photos, summary
from neural_render.training.schedules import auto_log2_rows
from neural_render.training.sources.photographed import (
    photographed,
    photographed_field,
    photographed_renderer,
)
from neural_render.training.sources.remembered import photos_record
from neural_render.training.sources.views import check_made_from, photos_of
from neural_render.training.watching.audience import audience_of, check_audience
from neural_render.training.watching.surroundings import photographed_surroundings

TURNTABLE_SIDE = 400  # pixels: the film after training is a look, render.py makes the large ones

COMMAND = config.Command(
    program="train.py",
    summary=str(__doc__),
    examples=(
        "python train.py                            # the capture that comes with the program",
        "python train.py capture.path=photos/fox name=fox training.max_seconds=300",
        "python train.py capture.path=photos/fox capture.max_side=960 preset=quality",
        "python train.py run=outputs/latest training.max_seconds=600   # resume or continue a run",
        "python train.py viewer=on                  # watched in a browser",
        "python train.py -m seed=0,1,2              # one run after the other",
    ),
    sections=config.sections_of_training("scene", "views", "tracer", "lights"),
    short={"viewer": "viewer.show"},
    configs=Path(__file__).resolve().parent / "configs",
    needs_run=False,
    shares=True,
)


def main(settings: config.Settings) -> None:
    """Opens the photos, builds field and renderer, trains, measures, films."""
    progress = group.shows_progress()
    check_made_from("photos", settings.run)
    check_audience(settings.viewer, group.size())
    backend, threads, device = start_kernels(config.own_kernels(settings.kernels))
    capture = photos_of(settings.run, settings.capture, progress=progress)
    check_film_of_photos(settings.render, capture)
    rows = auto_log2_rows(settings.training, device)
    settings = config.completed(settings, name=capture.name, log2_rows=rows)
    source, training = photographed(photo_source(capture, device), capture, settings.training)
    conditions = settings.capture.adjust.appearance
    field = photographed_field(settings.field, capture, conditions, settings.seed, device)
    points_first = settings.training.points_first > 0
    renderer = photographed_renderer(settings.rendering, capture, device, points_first=points_first)
    cameras = capture.train.cameras.in_frame(capture.frame.world_from_field.inverse())
    adjustment = CameraAdjustment(cameras.to(device), settings.capture.adjust)
    begun = RunFolder.begun(settings.run, settings.outputs, settings.name)
    around = partial(photographed_surroundings, capture)
    with begun as run, audience_of(settings.viewer, partial(around, run), run) as audience:
        context = RunContext(
            seed=settings.seed,
            backend=backend,
            precision=dispatch.precision(),
            threads=threads,
            capture=str(capture.path),
            config=config.yaml_of(settings),
            photos=photos_record(capture, settings.capture),
            program=COMMAND.program,
            audience=audience,
        )
        train(source, field, renderer, training, run, context, adjustment)
    del source  # and the photos that it holds: large pictures need the memory
    results = Results(
        run=run,
        scene=load_for_rendering(run, device),
        capture=capture,
        background=settings.evaluation.background,
    )
    record = results.measure(settings.evaluation, progress=progress)
    results.report(record, config.changed_settings(settings))
    films = results.film(settings.render, max_side=TURNTABLE_SIDE, progress=progress)
    print(summary(record, run.report_path, films))
    print(run.path)


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
