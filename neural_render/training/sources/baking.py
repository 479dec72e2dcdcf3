"""What stands before a bake: its lights, its run folder, and the space known to be empty."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from neural_render.core.errors import SceneError
from neural_render.core.lights import Lighting, MovingLight
from neural_render.core.protocols import SceneFrame
from neural_render.core.waiting.patience import told_if_slow
from neural_render.export.environment import save_environment
from neural_render.export.settings import RenderSettings
from neural_render.fields import RadianceField, field_spec
from neural_render.fields.settings import FieldSettings
from neural_render.rendering import Renderer, RenderingSettings, build_renderer
from neural_render.rendering.emptiness.carving import empty_cells
from neural_render.rendering.environment import EnvironmentMap
from neural_render.scenes.contents import scene_contents
from neural_render.scenes.references import References, drawn_cameras, trace_references
from neural_render.scenes.settings import SceneSettings, TracerSettings
from neural_render.scenes.source import TracedSource, scene_frame, scene_lighting, scene_lights
from neural_render.scenes.tracing.process import TracerProcess
from neural_render.training.randomness import generator_for
from neural_render.training.runs.checkpoint import open_checkpoint
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.results import check_film_of_scene
from neural_render.training.schedules import budget_fraction, nominal_seconds
from neural_render.training.settings import TrainingSettings, check_settings
from neural_render.training.sources.views import check_scene, has_views, save_views

FILM_VIEWS = 64  # cameras of training that stay with the run, for films
CARVING_RAYS = 1 << 19
MANY_GROUPS = 16  # of lights
SHARE = "{desc}: {percentage:5.1f}%|{bar}| [{elapsed}<{remaining}]"
# Settings that say nothing of a bake, which is measured as it is, before black, and whose rays come
# from a tracer: none of them has its place in a photo.
NOT_OF_BAKES = tuple(
    f"evaluation.{name}" for name in ("background", "fit", "fit_steps", "fit_blur")
)
NOT_OF_BAKES += ("rendering.clear_near", "training.points_first", "training.transients")
NOT_OF_BAKES += ("training.error_sampling", "training.error_sampling_unbiased")
BAKED_SAMPLES = 1 << 16
BAKED_DISTANCE_WEIGHT = 10.0
BAKED_DISTANCE_FADE = 0.5  # of the budget: what mirrors show is behind their first surface
# Sharp mirrors want exact normals, and those room in the table: only long budgets have it to spare.
NORMAL_WEIGHT_PER_SECOND = 1 / 45
LEAST_NORMAL_WEIGHT, MOST_NORMAL_WEIGHT = 1.0, 20.0

_log = logging.getLogger("neural_render")


def begin_scene(
    process: TracerProcess, run: str, seed: int, film: RenderSettings
) -> tuple[Lighting, SceneFrame]:
    """The scene's light groups and the field's cube; those of an earlier sitting where the run has
    a checkpoint.

    SceneError where the lights are others than they were then; SettingError for a ``film`` that
    the bake could not have in the end.
    """
    scene = process.scene
    for warning in scene["warnings"]:
        _log.warning("%s", warning)
    if run and (checkpoints := RunFolder.open(Path(run)).checkpoints()):
        record = open_checkpoint(checkpoints[-1]).record
        _check_lights(scene, record.lighting, run)
        check_film_of_scene(film, record.lighting)
        return record.lighting, record.frame
    warn_of_many_lights(scene)
    check_film_of_scene(film, scene_lights(scene))
    pilot = process.ask("pilot", command="pilot", seed=seed)
    lighting, frame = scene_lighting(scene, pilot), scene_frame(scene, pilot)
    _log.info(
        "scene: %s, %s, %.3g units wide, cascades: %d; views: %s; lights: %s; tracer: %s",
        scene["path"],
        scene["format"],
        frame.world_from_field.scale,
        frame.cascades,
        scene["views"],
        ", ".join(group.name for group in lighting.groups),
        process.variant,
    )
    return lighting, frame


def warn_of_many_lights(scene: dict[str, Any]) -> None:
    """Says what a bake of more lights than it is made for costs, and what to do about it."""
    if (groups := len(scene["groups"])) > MANY_GROUPS:
        _log.warning(
            "%s has %d light groups, each traced, kept and learnt on its own, which takes memory"
            " and time: 'scene.groups=[all=*]' makes them one, and"
            " 'scene.groups=[room=lamp1+lamp2,rest=*]' a few.",
            scene["path"],
            groups,
        )


def _check_lights(scene: dict[str, Any], begun: Lighting, run: str) -> None:
    """SceneError where the field's channels are of other lights than the scene's."""
    now, before = _channels(scene_lights(scene)), _channels(begun)
    if now != before:
        fresh = ", ".join(light for light in now if light not in before) or "none"
        gone = ", ".join(light for light in before if light not in now) or "none"
        raise SceneError(
            f"{scene['path']} has other lights than when {run} was begun (now {fresh}; then"
            f" {gone}): change them back, or bake anew without run=."
        )


def _channels(lighting: Lighting) -> list[str]:
    """What the channels of a field are of, a light group after the other, in words."""
    kinds = {light.group: f" (moving, {_reach(light)})" for light in lighting.moving}
    return [
        f"{group.name}=[{','.join(f'{value:g}' for value in group.color)}]"
        + kinds.get(group.name, "")
        for group in lighting.groups
    ]


def _reach(light: MovingLight) -> str:
    """How a light moves, in words."""
    if light.kind == "direction":
        return light.kind
    low, high = (",".join(f"{value:.4g}" for value in end) for end in (light.low, light.high))
    return f"{light.kind} from [{low}] to [{high}]"


@contextmanager
def begun_bake(
    process: TracerProcess, scene: SceneSettings, run: str, outputs: str, name: str
) -> Iterator[RunFolder]:
    """The run's folder, with what only the tracer can tell: cameras, and what lies far around.

    A new one that has not begun when the block ends is removed. CheckpointError where a run is to
    go on with a scene whose files changed.
    """
    with RunFolder.begun(run, outputs, name) as folder:
        path = process.scene["path"]
        if folder.checkpoints() and has_views(folder.path):
            check_scene(folder.path, path, scene)
        else:
            folder.environment_path.unlink(missing_ok=True)
            save_surroundings(process, folder.path)
            views, settings = process.scene["views"], process.views
            test = drawn_cameras(process, settings.test, settings.seed, settings.test_size)
            train = drawn_cameras(process, FILM_VIEWS, settings.seed + 1, settings.test_size)
            split = f"{settings.test} random cameras ({views}), seed {settings.seed}"
            contents = scene_contents(Path(path), scene, Path(outputs))
            save_views(folder.path, train, test, split, contents)
        yield folder


def save_surroundings(process: TracerProcess, folder: Path) -> None:
    """Writes the picture of what lies far around the scene, if anything does."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "environment.npy"
        found = process.ask("environment", command="environment", path=str(path))
        turn = torch.tensor(found["world_from_environment"], dtype=torch.float32)
        if len(turn):
            picture = torch.from_numpy(np.load(path))
            save_environment(folder, EnvironmentMap(picture=picture, world_from_environment=turn))


def bake_training(settings: TrainingSettings) -> TrainingSettings:
    """The settings with what suits traced rays where they say nothing.

    Large batches average the noise: where rare paths are bright, Adam's normalised steps would
    clip it and darken the field.
    """
    weight, fade = settings.distance_weight, settings.distance_fade
    normal_weight = settings.normal_weight
    if normal_weight < 0:
        rising = NORMAL_WEIGHT_PER_SECOND * nominal_seconds(settings)
        normal_weight = min(MOST_NORMAL_WEIGHT, max(LEAST_NORMAL_WEIGHT, rising))
    return replace(
        settings,
        samples_per_step=settings.samples_per_step or BAKED_SAMPLES,
        distance_weight=BAKED_DISTANCE_WEIGHT if weight < 0 else weight,
        distance_fade=BAKED_DISTANCE_FADE if fade < 0 else fade,
        normal_weight=normal_weight,
    )


def lit_field(settings: FieldSettings, source: TracedSource, seed: int) -> RadianceField:
    """A fresh field of scene-linear radiance under each light group."""
    spec = field_spec(
        settings,
        num_channels=source.num_channels,
        cascades=source.frame.cascades,
        radiance="exp",
        num_conditions=source.lighting.num_conditions,
    )
    return RadianceField(spec, generator_for(seed, 0, "initialise", source.device))


def is_spent(run: RunFolder, settings: TrainingSettings) -> bool:
    """Whether a run has its budget already, so that no ray need be traced."""
    check_settings(settings)
    if not run.checkpoints():
        return False
    done = open_checkpoint(run.last_checkpoint()).progress
    seconds = done.train_cpu_seconds if settings.clock == "cpu" else done.train_seconds
    return budget_fraction(settings, done.step, seconds) >= 1


def lit_renderer(
    settings: RenderingSettings,
    tracer: TracerSettings,
    source: TracedSource,
    run: RunFolder,
    training: TrainingSettings,
    seed: int,
) -> Renderer:
    """The renderer that begins with the space which traced rays do not pass through.

    The first rays of each light are there then. A run that goes on knows that space from its
    checkpoint; for one whose budget is spent, the tracer does not begin.
    """
    renderer = build_renderer(settings, source.frame, source.device)
    if is_spent(run, training):
        return renderer
    carved = tracer.carve and not run.checkpoints()
    with told_if_slow("tracing the first rays"):
        # Of each light, so that the clock of the training does not run meanwhile.
        source.wait_for(CARVING_RAYS if carved else 0)
        if carved:
            carve(source, renderer, seed)
    return renderer


def carve(source: TracedSource, renderer: Renderer, seed: int) -> None:
    """Empties the cells that traced rays pass through."""
    generator = generator_for(seed, 0, "rays", source.device)
    batch = source.sample(CARVING_RAYS, generator, picks=False)
    occupancy = renderer.occupancy
    sides = [occupancy.side(cascade) for cascade in range(occupancy.cascades)]
    occupancy.mark_empty(empty_cells(batch.rays, batch.distance, sides, generator))


def held_out_views(
    process: TracerProcess, scene: SceneSettings, outputs: str, *, progress: bool
) -> References:
    """The references of the held-out views, with a progress bar (see ``trace_references``)."""
    cache = Path(outputs) / "references"
    bar = tqdm(total=1.0, desc="references", bar_format=SHARE, disable=not progress)
    with bar, told_if_slow("tracing the references"):

        def advance(share: float) -> None:
            bar.update(share - bar.n)

        return trace_references(process, scene, process.views, cache=cache, progress=advance)
