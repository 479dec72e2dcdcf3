"""How far pictures of a changed field are from what they were."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.color import srgb_from_linear
from neural_render.evaluation.protocol import background_color
from neural_render.rendering import Image
from neural_render.rendering.lit import Dials, set_dials
from neural_render.training.films.shooting import scene_renders
from neural_render.training.runs.restore import TrainedScene

LONGEST_SIDE = 512  # pixels: of larger views a part of the pixels is looked at


class Witness:
    """Pictures of a scene as it is, kept to compare others with.

    Of a scene with light groups each is looked at under all lights and under each one alone, as
    bright: any of them may be dialled up.
    """

    def __init__(self, scene: TrainedScene, cameras: Cameras, background: str) -> None:
        """Looks at ``scene`` through ``cameras`` (in the world) over white or black."""
        self._cameras = smaller(cameras)
        self._dials = set_dials(scene.lighting, {}, ())
        channels = scene.field.num_channels
        self._over = (0.0,) * channels if scene.lighting.groups else background_color(background)
        self._gains: tuple[float, ...] = (1.0,) * len(scene.lighting.groups)
        images = list(self._images(scene, len(self._cameras)))
        if scene.lighting.groups:
            self._gains = _equal_gains(images, self._dials)
        self._before = [self._shown(scene, image) for image in images]

    def error(self, scene: TrainedScene, num_views: int = 0) -> float:
        """The mean squared error of what ``scene`` shows in the first views, where there are so
        many (0: in all)."""
        kept = self._before[: num_views or None]
        images = self._images(scene, len(kept))
        errors = [
            float((self._shown(scene, image) - before).square().mean())
            for image, before in zip(images, kept, strict=True)
        ]
        return sum(errors) / len(errors)

    def _images(self, scene: TrainedScene, num_views: int) -> Iterator[Image]:
        render = scene_renders(scene, self._cameras, self._over, self._dials.conditions)
        return (render(index) for index in range(num_views))

    def _shown(self, scene: TrainedScene, image: Image) -> Float[Tensor, "height width shown"]:
        """The pictures of one view, side by side in their channels, as a screen shows them."""
        if not scene.lighting.groups:
            color = image.color * scene.lighting.exposure
            linear = scene.record.color_space == "linear"
            return (srgb_from_linear(color) if linear else color).clamp(0, 1)
        alone = self._dials.alone(image).values()
        parts = [gain * light for gain, light in zip(self._gains, alone, strict=True)]
        parts.append(self._dials.mixed(image).color)
        return srgb_from_linear(scene.lighting.exposure * torch.cat(parts, dim=-1)).clamp(0, 1)


def _equal_gains(images: list[Image], dials: Dials) -> tuple[float, ...]:
    """What makes each light alone as bright as all together."""
    together = sum(float(dials.mixed(image).color.mean()) for image in images)
    alone = [sum(float(light.mean()) for light in lights) for lights in _by_light(images, dials)]
    return tuple(together / one if one > 0 else 1.0 for one in alone)


def _by_light(images: list[Image], dials: Dials) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(dials.alone(image).values() for image in images), strict=True)


def smaller(cameras: Cameras) -> Cameras:
    """The same views, none of them longer than `LONGEST_SIDE`."""
    sides = torch.stack([cameras.width, cameras.height], dim=-1)
    ratio = (LONGEST_SIDE / sides.amax(dim=1, keepdim=True)).clamp(max=1.0)
    sizes = (sides * ratio).round().long().clamp(min=1)
    ratio = (sizes / sides).to(cameras.focal_px)
    return replace(
        cameras,
        focal_px=cameras.focal_px * ratio,
        center_px=cameras.center_px * ratio,
        width=sizes[:, 0],
        height=sizes[:, 1],
    )
