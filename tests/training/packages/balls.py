"""Runs of a striped ball with cameras around it, small enough to be packaged in a moment."""

import math
from dataclasses import replace
from pathlib import Path

import torch

from neural_render.captures.records import Capture
from neural_render.core.cameras import Cameras
from neural_render.core.color import quantised
from neural_render.core.lenses.kinds import Lens
from neural_render.core.transforms import look_at
from neural_render.kernels.cells import NUM_CELLS
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.specs import MORTON_RESOLUTION
from neural_render.rendering import Renderer
from neural_render.training.films.shooting import scene_renders
from neural_render.training.packages.making import Original, make_package
from neural_render.training.packages.settings import PackageSettings
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.sources.views import load_views, save_views
from tests.training.problems import CPU, RADIUS, StripedBall, tiny_renderer

SIDE = 24


def cameras_around(number: int, phase: float = 0.0) -> Cameras:
    """Cameras in the world, all around the ball."""
    angle = (torch.arange(number) + phase) * (2 * math.pi / number)
    places = 2.2 * torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 0.3)], dim=-1)
    up = torch.tensor([0.0, 0.0, 1.0])
    return Cameras(
        world_from_camera=look_at(places, torch.zeros_like(places), up),
        focal_px=torch.full((number, 2), 1.5 * SIDE),
        center_px=torch.full((number, 2), SIDE / 2),
        distortion=torch.zeros(number, 6),
        lens=torch.full((number,), int(Lens.PERSPECTIVE)),
        width=torch.full((number,), SIDE),
        height=torch.full((number,), SIDE),
    )


def near_the_ball() -> Renderer:
    """A renderer that looks for nothing but around the ball's surface."""
    renderer = tiny_renderer()
    middles = (morton_decode(torch.arange(NUM_CELLS)) + 0.5) / MORTON_RESOLUTION
    away = ((middles - 0.5).norm(dim=1) - RADIUS).abs()
    renderer.occupancy.mark_empty((away > 0.02)[None])
    return renderer


def with_cameras(run: RunFolder) -> Original:
    """The run with cameras, as a bake has them, ready to be packaged."""
    save_views(run.path, cameras_around(6), cameras_around(2, 0.5), "views of a ball")
    scene = load_for_rendering(run, CPU)
    capture = load_views(run.path, StripedBall.frame)
    return Original(run=run, scene=scene, capture=capture, background="auto")


def photographed(original: Original) -> Original:
    """The same with photos of its views: its own renders with a stripe painted over each."""

    def with_photos(capture: Capture, part: str) -> Capture:
        views = getattr(capture, part)
        render = scene_renders(original.scene, views.cameras, (1.0, 1.0, 1.0), torch.zeros(0))
        photos = [quantised(render(index).color) for index in range(len(views))]
        for photo in photos:
            photo[:2] = 128
        flat = torch.cat([photo.view(-1, 3) for photo in photos])
        offsets = torch.arange(len(views)) * SIDE * SIDE
        return replace(capture, **{part: replace(views, pixels=flat, offsets=offsets)})

    capture = with_photos(with_photos(original.capture, "train"), "test")
    return replace(original, capture=capture)


def written(folder: Path, original: Original, **settings: object) -> Path:
    """The package of a run in ``folder``."""
    asked = PackageSettings(output=str(folder / "ball.nrpack"), **settings)
    return make_package(original, asked).file.path
