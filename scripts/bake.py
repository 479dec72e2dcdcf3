"""Bakes an artist's scene into a neural field, whose lights stay dials."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from contextlib import closing
from functools import partial
from pathlib import Path

from neural_render import config
from neural_render.kernels import dispatch
from neural_render.kernels.settings import start_kernels
from neural_render.scenes.source import TracedSource
from neural_render.scenes.tracing.process import TracerProcess
from neural_render.training.loop import RunContext, train
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.runs.results import Results, summary
from neural_render.training.schedules import auto_log2_rows
from neural_render.training.sources.bakes import bake_measures, counted_tracing
from neural_render.training.sources.baking import (
    NOT_OF_BAKES,
    bake_training,
    begin_scene,
    begun_bake,
    held_out_views,
    lit_field,
    lit_renderer,
)
from neural_render.training.sources.views import check_made_from, load_views
from neural_render.training.watching.audience import audience_of, check_audience
from neural_render.training.watching.surroundings import baked_surroundings

PREVIEW_SIDE = 400  # pixels: the film after a bake is a look, render.py makes the large ones

COMMAND = config.Command(
    program="scripts/bake.py",
    summary=str(__doc__),
    examples=(
        "python scripts/bake.py                                  # the program's own scene",
        "python scripts/bake.py scene.path=cbox.xml training.max_seconds=600",
        "python scripts/bake.py run=outputs/latest training.max_seconds=1200   # continue",
        "python render.py lights.key_light=2 'lights.environment=[0.2,0.3,0.6]'   # then relight",
    ),
    sections=config.sections_of_training("capture", "lights"),
    short={"viewer": "viewer.show"},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=False,
    without=NOT_OF_BAKES,
)


def main(settings: config.Settings) -> None:
    """Loads the scene in the tracer's process, bakes it, measures and films it."""
    progress = sys.stderr.isatty()
    check_made_from("a scene", settings.run)
    check_audience(settings.viewer, 1)
    backend, threads, device = start_kernels(settings.kernels)
    with closing(TracerProcess(settings.scene, settings.views, settings.tracer)) as process:
        rows = auto_log2_rows(settings.training, device)
        settings = config.completed(settings, name=process.name, log2_rows=rows)
        stage = begin_scene(process, settings.run, settings.seed, settings.render)
        training = bake_training(settings.training)
        begun = begun_bake(process, settings.scene, settings.run, settings.outputs, settings.name)
        around = partial(baked_surroundings, frame=stage[1])
        with begun as run, audience_of(settings.viewer, partial(around, run), run) as audience:
            fresh = {"seed": settings.seed, "begun": run.last_step}
            tracer = TracedSource(process, *stage, settings.tracer, **fresh, device=device)
            with closing(tracer) as source, counted_tracing(run, lambda: source.figures):
                field = lit_field(settings.field, source, settings.seed)
                known = settings.tracer, source, run, training
                renderer = lit_renderer(settings.rendering, *known, settings.seed)
                context = RunContext(
                    seed=settings.seed,
                    backend=backend,
                    precision=dispatch.precision(),
                    threads=threads,
                    capture=process.scene["path"],
                    config=config.yaml_of(settings),
                    color_space="linear",
                    lighting=source.lighting,
                    program=COMMAND.program,
                    audience=audience,
                )
                train(source, field, renderer, training, run, context)
        references = held_out_views(process, settings.scene, settings.outputs, progress=progress)
    scene = load_for_rendering(run, device)
    capture = load_views(run.path, scene.frame)
    measures = bake_measures(run, scene, references, settings.views)
    record = measures.measure(settings.evaluation, split=capture.split, progress=progress)
    results = Results(run=run, scene=scene, capture=capture, background="black")
    results.report(record, config.changed_settings(settings))
    films = results.film(settings.render, max_side=PREVIEW_SIDE, progress=progress)
    print(summary(record, run.report_path, films))
    print(run.path)


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
