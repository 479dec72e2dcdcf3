"""What stands before a bake: its lights, its run folder, and the space known to be empty."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tqdm import tqdm

from neural_render.core.lights import Lighting
from neural_render.export.environment import save_environment
from neural_render.rendering import Renderer
from neural_render.rendering.carving import empty_cells
from neural_render.rendering.environment import EnvironmentMap
from neural_render.scenes.references import drawn_cameras
from neural_render.scenes.settings import TracerSettings
from neural_render.scenes.source import TracedSource, scene_lighting
from neural_render.scenes.tracing.process import TracerProcess
from neural_render.training.films.views import has_views, save_views
from neural_render.training.runs.checkpoint import open_checkpoint
from neural_render.training.runs.folder import RunFolder

FILM_VIEWS = 64  # cameras of training that stay with the run, for films
CARVING_RAYS = 1 << 17

_log = logging.getLogger("neural_render")


def baked_lighting(process: TracerProcess, run: str, seed: int) -> Lighting:
    """The scene's light groups; those of an earlier sitting where the run has a checkpoint."""
    scene = process.scene
    for warning in scene["warnings"]:
        _log.warning("%s", warning)
    if run and (checkpoints := RunFolder.open(Path(run)).checkpoints()):
        return open_checkpoint(checkpoints[-1]).record.lighting
    lighting = scene_lighting(scene, process.ask("pilot", command="pilot", seed=seed))
    _log.info(
        "scene: %s, %s; views: %s; lights: %s; tracer: %s",
        scene["path"],
        scene["format"],
        scene["views"],
        ", ".join(group.name for group in lighting.groups),
        process.variant,
    )
    return lighting


def begin_bake(process: TracerProcess, run: str, outputs: Path, name: str) -> RunFolder:
    """The run's folder, with what only the tracer can tell: cameras, and what lies far around."""
    folder = RunFolder.open(Path(run)) if run else RunFolder.create(outputs, name)
    if not has_views(folder.path):
        save_surroundings(process, folder.path)
        views, settings = process.scene["views"], process.views
        test = drawn_cameras(process, settings.test, settings.seed, settings.test_size)
        train = drawn_cameras(process, FILM_VIEWS, settings.seed + 1, settings.test_size)
        split = f"{settings.test} random cameras ({views}), seed {settings.seed}"
        save_views(folder.path, train, test, split)
    return folder


def save_surroundings(process: TracerProcess, folder: Path) -> None:
    """Writes the picture of what lies far around the scene, if anything does."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "environment.npy"
        found = process.ask("environment", command="environment", path=str(path))
        turn = torch.tensor(found["world_from_environment"], dtype=torch.float32)
        if len(turn):
            picture = torch.from_numpy(np.load(path))
            save_environment(folder, EnvironmentMap(picture=picture, world_from_environment=turn))


def carve(
    settings: TracerSettings,
    source: TracedSource,
    renderer: Renderer,
    generator: torch.Generator,
) -> None:
    """Empties the cells that traced rays pass through, if ``tracer.carve`` says so."""
    if not settings.carve:
        return
    source.wait_for(CARVING_RAYS)
    batch = source.sample(CARVING_RAYS, generator)
    renderer.occupancy.mark_empty(empty_cells(batch.rays, batch.distance, generator))


@contextmanager
def reference_bar(progress: bool) -> Iterator[Callable[[float], None]]:
    """A progress bar of the references: what it gives is told the share that is done."""
    with tqdm(total=100, desc="reference", unit="%", disable=not progress) as bar:

        def advance(share: float) -> None:
            bar.update(round(100 * share - bar.n, 1))

        yield advance
