"""How a trained scene is filmed: from the user's words about lights and exposure to renders."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.errors import SettingError
from neural_render.evaluation.protocol import background_color
from neural_render.export.developing import (
    ENVIRONMENT,
    Backdrop,
    Development,
    EnvironmentBackdrop,
    LitDevelopment,
    PlainBackdrop,
    PlainDevelopment,
)
from neural_render.export.film import RenderSettings
from neural_render.export.frames import Film
from neural_render.rendering import Image, render_image
from neural_render.rendering.lit import Dials, set_dials
from neural_render.training.runs.restore import TrainedScene


def scene_film(
    scene: TrainedScene,
    cameras: Cameras,
    settings: RenderSettings,
    *,
    lights: Mapping[str, Any],
    background: str,
) -> Film:
    """The film of what ``cameras`` (in the world) see of the scene under ``lights``.

    ``background`` (white or black) lies behind photographs, where ``render.backdrop`` says nothing.
    SettingError for lights that the run has not and for an exposure of what is already exposed.
    """
    dials = set_dials(scene.lighting, lights, settings.light_at)
    behind = _backdrop_name(scene, settings, background)
    stops = 2.0**settings.exposure
    if settings.exposure and scene.record.color_space == "srgb":
        raise SettingError(
            f"render.exposure={settings.exposure:g} exposes scene-linear light and this run was"
            " made from photos, which are exposed: leave it out."
        )
    development: Development
    if scene.lighting.groups:
        over = (0.0,) * scene.field.num_channels
        development = LitDevelopment(
            dials=dials,
            exposure=scene.lighting.exposure * stops,
            backdrop=_backdrop(scene, behind, dials, cameras),
        )
    else:
        over = background_color(behind)
        development = PlainDevelopment(
            background=over,
            colour_space=scene.record.color_space,
            exposure=scene.lighting.exposure * stops,
        )
    poses = sha256(cameras.world_from_camera.numpy(force=True).tobytes()).hexdigest()
    return Film(
        cameras=cameras,
        render_one=scene_renders(scene, cameras, over, dials.conditions),
        development=development,
        world_from_field_scale=scene.frame.world_from_field.scale,
        description={
            "step": scene.progress.step,
            "background": behind,
            "size": f"{int(cameras.width[0])}x{int(cameras.height[0])}",
            "path": settings.path,
            "poses": poses,
            "lights": dials.emission,
            "light_at": settings.light_at,
            "exposure": settings.exposure,
            "exr": settings.exr,
        },
    )


def scene_renders(
    scene: TrainedScene,
    cameras: Cameras,
    background: tuple[float, ...],
    conditions: Float[Tensor, " conditions"],
    supersampling: int = 1,
) -> Callable[[int], Image]:
    """Renders all channels of what one of ``cameras`` (in the world) sees over ``background``.

    A pixel is the mean of ``supersampling`` squared rays (see ``mean_of_blocks``).
    """
    cameras = replace(  # each keeps its own format
        cameras,
        focal_px=supersampling * cameras.focal_px,
        center_px=supersampling * cameras.center_px,
        width=supersampling * cameras.width,
        height=supersampling * cameras.height,
    )
    placed = cameras.in_frame(scene.frame.world_from_field.inverse())
    behind = scene.background.new_tensor(background)
    assert len(behind) == scene.field.num_channels
    # Photos that differ in appearance are told apart by conditions, which are 0 on average.
    given = conditions.to(behind) if len(conditions) else behind.new_zeros(scene.num_conditions)
    told = given if len(given) else None

    def render_one(index: int) -> Image:
        with torch.inference_mode():
            image = render_image(scene.renderer, scene.field, placed, index, behind, told)
            return mean_of_blocks(image.to(torch.device("cpu")), supersampling)

    return render_one


def mean_of_blocks(image: Image, side: int) -> Image:
    """The image with one pixel for each block; distances are averaged as far as they are seen."""
    if side == 1:
        return image

    def means(values: Tensor) -> Tensor:
        return values.unflatten(0, (-1, side)).unflatten(2, (-1, side)).mean(dim=(1, 3))

    opacity = means(image.opacity)
    distance = means(image.distance * image.opacity) / opacity.clamp(min=1e-9)
    return Image(
        color=means(image.color), opacity=opacity, distance=distance.where(opacity > 0, 0.0)
    )


def _backdrop_name(scene: TrainedScene, settings: RenderSettings, background: str) -> str:
    """environment, black or white."""
    wanted = settings.backdrop
    if wanted == "environment" and not scene.environment:
        raise SettingError(
            "render.backdrop=environment asks for the scene's environment and this run has none:"
            " give black, white or auto."
        )
    if wanted != "auto":
        return wanted
    if not scene.lighting.groups:
        return background
    return "environment" if scene.environment else "black"


def _backdrop(scene: TrainedScene, name: str, dials: Dials, cameras: Cameras) -> Backdrop:
    if name != "environment":
        return PlainBackdrop(level=background_color(name)[0])
    return EnvironmentBackdrop(
        environment=scene.environment[0], emission=dials.of_group(ENVIRONMENT), cameras=cameras
    )
