"""Frames of baked runs: the same cameras, run by run in turn, with and without shortcuts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.processes import LeftOut
from benchmarks.records import Cost, timed_in_turn
from neural_render.core.cameras import Cameras, rays_from_pose
from neural_render.core.rays import Rays
from neural_render.rendering import OccupancyGrid, Renderer, render_image
from neural_render.rendering.images import TILE, lens_numbers, tiled_lens
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene, load_for_rendering
from neural_render.training.sources.views import load_views

SIDE = 256  # pixels of a frame
CAMERAS = 2
FIXED_STEP = 1 / 128  # field units: about as many samples along each ray through the cube


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """Of one frame: its cost, and how many samples a ray was asked for density and colour."""

    cost: Cost
    marched: float
    colored: float


def frame_times(
    runs: Mapping[str, Path], repeats: int, threads: int
) -> dict[str, dict[str, FrameTimes]]:
    """``fixed`` and ``usual``, each by the name of a run: the mean of frames of a few cameras.

    All runs are seen by the first one's cameras. LeftOut where their fields' cubes differ: then
    rays through them would not be equally long.
    """
    scenes = {
        name: load_for_rendering(RunFolder.open(path), torch.device("cpu"))
        for name, path in runs.items()
    }
    first = next(iter(runs))
    cameras = load_views(runs[first], scenes[first].frame).test.cameras
    for name, scene in scenes.items():
        if scene.frame != scenes[first].frame:
            raise LeftOut(f"{first} and {name} were baked into different cubes")
    placed = cameras.resized(SIDE, SIDE).in_frame(scenes[first].frame.world_from_field.inverse())
    indices = range(min(CAMERAS, len(placed)))
    rays = [camera_rays(placed, index) for index in indices]
    fixed = {name: fixed_renderer(scene) for name, scene in scenes.items()}
    usual = {name: scene.renderer.for_pictures() for name, scene in scenes.items()}
    calls = {
        "fixed": {
            name: lambda name=name: [seen_by(fixed[name], scenes[name], each) for each in rays]
            for name in scenes
        },
        "usual": {
            name: lambda name=name: [_frame(scenes[name], placed, index) for index in indices]
            for name in scenes
        },
    }
    found: dict[str, dict[str, FrameTimes]] = {}
    for how, renderers in (("fixed", fixed), ("usual", usual)):
        costs = timed_in_turn(calls[how], repeats, threads)
        found[how] = {}
        for name, cost in costs.items():
            counts = [seen_by(renderers[name], scenes[name], each) for each in rays]
            num = sum(len(each) for each in rays)
            found[how][name] = FrameTimes(
                cost=Cost(wall=cost.wall / len(rays), cpu=cost.cpu / len(rays)),
                marched=sum(marched for marched, _ in counts) / num,
                colored=sum(colored for _, colored in counts) / num,
            )
    return found


def fixed_renderer(scene: TrainedScene) -> Renderer:
    """A renderer of the same field that takes all space for occupied and ends no ray early."""
    march = replace(
        scene.renderer.march,
        step=FIXED_STEP,
        cone_angle=0.0,
        max_step=max(FIXED_STEP, scene.renderer.march.max_step),
        min_transmittance=0.0,
    )
    return Renderer(march, OccupancyGrid(march.cascades, torch.device("cpu")))


def camera_rays(cameras: Cameras, index: int) -> Rays:
    """The rays of a frame in the order in which ``render_image`` takes them."""
    directions, footprint = tiled_lens(lens_numbers(cameras, index), TILE)
    return rays_from_pose(cameras.world_from_camera[index], directions, footprint)


def seen_by(renderer: Renderer, scene: TrainedScene, rays: Rays) -> tuple[int, int]:
    """Renders ``rays``; the samples that were asked for their density, and for their colour."""
    with torch.inference_mode():
        seen = renderer.render(
            scene.field,
            rays,
            background=scene.background.expand(len(rays), -1).contiguous(),
            jitter=torch.full((len(rays),), 0.5),
        )
        return int(seen.num_marched), int(seen.num_survived)


def _frame(scene: TrainedScene, cameras: Cameras, index: int) -> None:
    with torch.inference_mode():
        render_image(scene.renderer, scene.field, cameras, index, scene.background)
