"""How a trained scene is filmed: from the user's words about lights and exposure to renders."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.errors import SettingError
from neural_render.core.optics.eyes import Eye, is_panorama
from neural_render.evaluation.protocol import background_color
from neural_render.export.developing import (
    Backdrop,
    Development,
    EnvironmentBackdrop,
    LitDevelopment,
    NoBackdrop,
    PlainBackdrop,
    PlainDevelopment,
)
from neural_render.export.film import film_eyes, frames_per_second
from neural_render.export.frames import Delivery, Film
from neural_render.export.images import Attribute
from neural_render.export.layers import camera_attributes
from neural_render.export.settings import (
    PHOTOS,
    TRANSPARENT,
    RenderSettings,
    focus_depth,
    outputs_of,
    sub_frames_side,
)
from neural_render.export.video.codecs import CODECS
from neural_render.export.video.writing import VideoStyle
from neural_render.rendering import Image, render_image
from neural_render.rendering.lit import Dials, set_dials
from neural_render.training.films.exposing import FilmCamera, Gathering, Subject, exposes
from neural_render.training.films.focusing import auto_focus
from neural_render.training.runs.restore import TrainedScene

# What of the settings says nothing about frames; how long a path is, its poses say.
_NOT_OF_FRAMES = ("output", "fps", "video", "frames", "backdrop", "size")


@dataclass(frozen=True, kw_only=True)
class FilmWords:
    """What errors call what was asked for: as the user gave it."""

    light_at: str = "render.light_at"
    exposure: str = "render.exposure"
    backdrop: str = "render.backdrop"


def scene_film(
    scene: TrainedScene,
    cameras: Cameras,
    settings: RenderSettings,
    *,
    lights: Mapping[str, Any],
    background: str,
    also: tuple[str, ...] = (),
    words: FilmWords = FilmWords(),
) -> Film:
    """The film of what ``cameras`` (in the world) see of the scene under ``lights``.

    ``background`` (white or black) lies behind photographs, where ``render.backdrop`` says nothing.
    Frames have what the outputs need; where ``also`` names data (see ``export.layers``), these and
    colours by layers too. SettingError for lights that the run has not, for an exposure of what is
    already exposed, and for a lens that these cameras cannot have.
    """
    dials = set_dials(scene.lighting, lights, settings.light_at, words.light_at)
    behind = _backdrop_name(scene, settings.backdrop, background, words.backdrop)
    exposure = scene.exposed(settings.exposure, words.exposure)
    development, over = _development(scene, behind, dials, exposure)
    subject = Subject(
        field=scene.field,
        renderer=scene.renderer,
        frame=scene.frame,
        over=scene.background.new_tensor(over),
        conditions=told_conditions(scene, dials.conditions),
    )
    eyes, delivery = film_eyes(settings, cameras), delivery_of(settings, cameras)
    rate = delivery.video.frames_per_second
    gathering = Gathering(
        subject=subject,
        development=development,
        layers=delivery.layers or bool(also),
        data=tuple(dict.fromkeys((*delivery.data, *also))),
        seed=scene.record.seed,
    )
    return Film(
        num_frames=len(cameras),
        expose=exposes(_film_camera(subject, eyes, settings), gathering),
        development=development,
        attributes=lambda index: _attributes(eyes, index, rate),
        description=_described(scene, cameras, settings, dials, behind),
        unit_of_depth=scene.frame.world_from_field.scale,
    )


def delivery_of(settings: RenderSettings, cameras: Cameras) -> Delivery:
    """The files that are wanted of a film by ``cameras``."""
    return Delivery(
        outputs=outputs_of(settings),
        exr=settings.exr,
        video=VideoStyle(
            codec=CODECS[settings.video.codec],
            crf=settings.video.crf,
            frames_per_second=frames_per_second(settings),
            panorama=is_panorama(cameras),
            layout=settings.stereo.layout,
        ),
    )


def _film_camera(subject: Subject, eyes: tuple[Eye, ...], settings: RenderSettings) -> FilmCamera:
    depth = focus_depth(settings.lens)
    focus = auto_focus(subject, eyes[0].cameras, along_path=settings.path not in PHOTOS)
    return FilmCamera(
        eyes=eyes,
        across=settings.stereo.layout == "side_by_side",
        side=sub_frames_side(settings),
        pixel_filter=settings.filter,
        aperture=settings.lens.aperture,
        focus=(lambda _: depth) if depth else focus,
        shutter=settings.shutter,
    )


def _development(
    scene: TrainedScene, behind: str, dials: Dials, exposure: float
) -> tuple[Development, tuple[float, ...]]:
    """What becomes of renders, and the background that these are over."""
    if scene.lighting.groups:
        backdrop = _backdrop(scene, behind, dials)
        black = (0.0,) * scene.field.num_channels
        return LitDevelopment(dials=dials, exposure=exposure, backdrop=backdrop), black
    transparent = behind == TRANSPARENT
    over = background_color("black" if transparent else behind)
    development = PlainDevelopment(
        background=over,
        colour_space=scene.record.color_space,
        exposure=exposure,
        transparent=transparent,
    )
    return development, over


def _attributes(
    eyes: tuple[Eye, ...], index: int, frames_per_second: float
) -> dict[str, Attribute]:
    """Of a frame's EXR; two eyes in one picture are no camera that could be told."""
    rate = Fraction(frames_per_second).limit_denominator(1001).as_integer_ratio()
    told: dict[str, Attribute] = {
        "Software": "neural_render",
        "FramesPerSecond": ("rational", rate),
    }
    return told | (camera_attributes(eyes[0].cameras, index) if len(eyes) == 1 else {})


def _described(
    scene: TrainedScene, cameras: Cameras, settings: RenderSettings, dials: Dials, behind: str
) -> dict[str, Any]:
    """What tells the film from others: every setting that frames depend on, and the poses."""
    own = {k: v for k, v in asdict(settings).items() if k not in _NOT_OF_FRAMES}
    poses = torch.cat([cameras.world_from_camera.flatten(1), cameras.focal_px], dim=1)
    return {
        **own,
        "step": scene.progress.step,
        "background": behind,
        "size": f"{int(cameras.width[0])}x{int(cameras.height[0])}",
        "poses": sha256(poses.numpy(force=True).tobytes()).hexdigest(),
        "lights": dials.emission,
    }


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
    told = told_conditions(scene, conditions)

    def render_one(index: int) -> Image:
        with torch.inference_mode():
            image = render_image(scene.renderer, scene.field, placed, index, behind, told)
            return mean_of_blocks(image.to(torch.device("cpu")), supersampling)

    return render_one


def told_conditions(
    scene: TrainedScene, conditions: Float[Tensor, " given"]
) -> Float[Tensor, " conditions"] | None:
    """What the field is told of lights; of photos that differ in appearance their mean, which is 0;
    None where it is told nothing."""
    nothing = scene.background.new_zeros(scene.num_conditions)
    told = conditions.to(nothing) if len(conditions) else nothing
    return told if len(told) else None


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


def check_backdrop(wanted: str, setting: str, *, has_environment: bool) -> None:
    """SettingError where ``setting`` asks for an environment that is not there."""
    if wanted == "environment" and not has_environment:
        raise SettingError(
            f"{setting}=environment asks for the scene's environment and this run has none:"
            " give black, white or auto."
        )


def _backdrop_name(scene: TrainedScene, wanted: str, background: str, setting: str) -> str:
    """environment, black or white."""
    check_backdrop(wanted, setting, has_environment=bool(scene.environment))
    if wanted != "auto":
        return wanted
    if not scene.lighting.groups:
        return background
    return "environment" if scene.environment else "black"


def _backdrop(scene: TrainedScene, name: str, dials: Dials) -> Backdrop:
    if name == TRANSPARENT:
        return NoBackdrop()
    if name != "environment":
        return PlainBackdrop(level=background_color(name)[0])
    return EnvironmentBackdrop(environment=scene.environment[0], emission=dials.of_environment())
