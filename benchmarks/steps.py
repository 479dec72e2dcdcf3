"""Whole training steps on a capture, in a process of its own: their rate, or how they scale.

python -m benchmarks.steps '{"capture": "DIR", "seconds": 30}'
python -m benchmarks.steps '{"capture": "DIR", "scaling": 5}'
"""

import inspect
import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import torch

from benchmarks.processes import answer, given
from benchmarks.records import start
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.streaming import photo_source
from neural_render.core.errors import UserError
from neural_render.core.protocols import Field
from neural_render.fields import FieldSettings, GridSettings, RadianceField, field_spec
from neural_render.kernels import dispatch
from neural_render.kernels.cpu.modules import native
from neural_render.rendering import Renderer, RenderingSettings, build_renderer
from neural_render.training.loop import RunContext, train
from neural_render.training.randomness import generator_for
from neural_render.training.runs.folder import RunFolder
from neural_render.training.settings import TrainingSettings
from neural_render.training.step import Problem

OPTIONS = {
    "capture": "",
    "max_side": 0,
    "backend": "auto",
    "precision": "auto",
    "threads": 0,
    "batch": 1 << 14,
    "log2_rows": 17,
    "seconds": 30.0,  # of CPU time per thread
    "steps": 0,  # the budget instead of seconds
    "exact": False,  # every sample goes back through the networks, none is left out at random
    "scaling": 0,  # repeats of fixed work on 1 and on all threads, instead of a rate
    "warm_steps": 400,  # so many that the march step is no longer coarse in the fixed steps
    "fixed_steps": 100,
}
CPU = torch.device("cpu")


class StepsOnly(Renderer):
    """A renderer that leaves out what is done once a run, which would drown a few steps' time."""

    @classmethod
    def of(cls, renderer: Renderer) -> "StepsOnly":
        """The same as a renderer of training."""
        return cls(
            renderer.march,
            renderer.occupancy,
            antialias=renderer.antialias,
            projection=renderer.projection,
        )

    def settle_occupancy(self, field: Field, *, generator: torch.Generator) -> None:
        """Nothing."""


@contextmanager
def seconds_of_ops(backend: ModuleType) -> Iterator[dict[str, float]]:
    """Process CPU seconds inside each op of the backend, growing while the block runs.

    An op that others of these call (in the reference they do) counts in theirs too.
    """
    spent: dict[str, float] = {}
    originals = {
        name: member
        for name, member in vars(backend).items()
        if inspect.isfunction(member) and name not in ("set_threads", "unavailable_reason")
    }

    def watched(name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return originals[name](*arguments, **named)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - began

        return call

    vars(backend).update({name: watched(name) for name in originals})
    try:
        yield spent
    finally:
        vars(backend).update(originals)


def problem_of(
    options: dict[str, Any], settings: TrainingSettings, device: torch.device = CPU
) -> Problem:
    """A fresh field before the capture's photos."""
    place = CaptureSettings(path=options["capture"], max_side=options["max_side"])
    capture = open_capture(place, progress=False)
    source = photo_source(capture, device)
    grid = GridSettings(log2_rows=options["log2_rows"])
    spec = field_spec(
        FieldSettings(grid=grid),
        num_channels=3,
        cascades=source.frame.cascades,
        radiance="sigmoid",
    )
    return Problem(
        source=source,
        field=RadianceField(spec, generator_for(0, 0, "initialise", device)),
        renderer=build_renderer(RenderingSettings(), source.frame, device),
        settings=settings,
        seed=0,
        device=device,
        color_space="srgb",
    )


def context_of(backend: str, threads: int) -> RunContext:
    """What training is told of a run that nobody keeps."""
    return RunContext(
        seed=0,
        backend=backend,
        precision=dispatch.precision(),
        threads=threads,
        capture="",
        config="",
    )


def rate(problem: Problem, backend: str, threads: int) -> dict[str, Any]:
    """One training run's figures; million surviving samples per CPU second per thread."""
    context = context_of(backend, threads)
    parts = (problem.source, problem.field, problem.renderer, problem.settings)
    with (
        tempfile.TemporaryDirectory() as folder,
        seconds_of_ops(dispatch.active()) as spent,
        seconds_of_phases(backend) as phases,
    ):
        done = train(*parts, RunFolder.create(Path(folder), "benchmark"), context)
    shares = {name: seconds / threads / done.train_cpu_seconds for name, seconds in spent.items()}
    fused = {name: seconds / threads / done.train_seconds for name, seconds in phases.items()}
    return {
        "million_samples_per_second": done.num_samples / done.train_cpu_seconds / 1e6,
        "seconds": done.train_cpu_seconds,
        "wall_seconds": done.train_seconds,
        "steps": done.step,
        "samples": done.num_samples,
        "samples_marched": done.num_samples_marched,
        "rays": done.num_rays,
        "shares": shares,
        "phases": fused,
    }


@contextmanager
def seconds_of_phases(backend: str) -> Iterator[dict[str, float]]:
    """Filled at the end with the seconds of all threads in each phase of the fused CPU ops."""
    found: dict[str, float] = {}
    if backend != "cpu":
        yield found
        return
    native().count_phases(True)
    native().take_phases()
    try:
        yield found
        found |= {name: seconds for name, seconds in native().take_phases() if seconds}
    finally:
        native().count_phases(False)


def scaling(
    problem: Problem, options: dict[str, Any], backend: str, threads: int
) -> dict[str, Any]:
    """Wall seconds of the same steps from one checkpoint on 1 and on all threads, in turn."""
    parts = (problem.source, problem.field, problem.renderer)
    warm, more = options["warm_steps"], options["fixed_steps"]
    context = context_of(backend, threads)
    walls: dict[int, list[float]] = {1: [], threads: []}
    samples: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        trained = RunFolder.create(Path(folder), "trained")
        settings = replace(problem.settings, num_steps=warm)
        before = train(*parts, settings, trained, context)
        settings = replace(settings, num_steps=warm + more)
        for repeat, used in itertools.product(range(options["scaling"]), walls):
            start(backend, used, options["precision"])
            context = replace(context, threads=used)
            again = Path(shutil.copytree(trained.path, Path(folder) / f"{repeat}_{used}"))
            done = train(*parts, settings, RunFolder.open(again), context)
            walls[used].append(done.train_seconds - before.train_seconds)
            samples[used] = done.num_samples - before.num_samples
            shutil.rmtree(again)
    medians = {used: median(taken) for used, taken in walls.items()}
    return {
        "walls": walls,
        "medians": medians,
        "samples": samples,
        "speedup": medians[1] / medians[threads],
        "threads": threads,
        "steps": more,
    }


def main(options: dict[str, Any]) -> dict[str, Any]:
    """The figures that the options ask for."""
    wanted = (options["backend"], options["threads"], options["precision"])
    backend, threads = start(*wanted)
    settings = TrainingSettings(
        max_seconds=options["seconds"],
        num_steps=options["steps"],
        clock="cpu",
        samples_per_step=options["batch"],
        checkpoint_every=1e9,
        tensorboard=False,
    )
    if options["exact"]:
        settings.roulette = 0.0
    problem = problem_of(options, settings)
    problem = replace(problem, renderer=StepsOnly.of(problem.renderer))
    if options["scaling"]:
        return {"backend": backend, **scaling(problem, options, backend, threads)}
    return {"backend": backend, **rate(problem, backend, threads)}


if __name__ == "__main__":
    try:
        answer(main(given(OPTIONS)))
    except UserError as error:
        raise SystemExit(str(error)) from None
