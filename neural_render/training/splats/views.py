"""What splats are fitted to: the field's own renders, from training cameras and between them."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from neural_render.core.cameras import Cameras
from neural_render.core.color import film_from_linear, quantised
from neural_render.core.flight.paths import (
    WIDEST_PINHOLE_RAD,
    path_cameras,
    pinholes_with_fov,
    reframed,
)
from neural_render.core.transforms import interpolate_poses
from neural_render.export.images import MIN_OPACITY
from neural_render.kernels.splats.records import SplatCamera, splat_camera
from neural_render.rendering import Image
from neural_render.rendering.lit import Dials, set_dials
from neural_render.training.films.shooting import scene_renders
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.splats.turns import pinhole_poses

NEIGHBOURS = 6  # of a camera, to one of which a view between two is
MOST_BYTES = 1 << 29  # of all pictures
NEAREST = 1e-3  # depth, in field units, that splats may have

_log = logging.getLogger("neural_render")


def fitting_cameras(
    train: Cameras, num_views: int, max_side: int, generator: torch.Generator
) -> Cameras:
    """Pinhole cameras of one size: training's (evenly chosen, if they are more) and others between
    neighbours of them; fewer than ``num_views``, which is said, where pictures would be too large.

    Panoramas and wide fisheyes become several each, of which some are drawn if they are more.
    """
    views = pinhole_poses(train)
    is_turned = len(views) > len(train)
    if is_turned:
        views = views[torch.randperm(len(views), generator=generator)]
    sized = _pinholes(views[:1], train, square=is_turned)
    width, height = int(sized.width[0]), int(sized.height[0])
    if max_side < max(width, height):
        shrink = max_side / max(width, height)
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
    num_views = _bounded(num_views, width, height)
    num_train = min(len(views), num_views)
    chosen = torch.arange(num_train) * len(views) // num_train
    poses = views[chosen]
    between = _between(poses, num_views - num_train, generator)
    return reframed(_pinholes(torch.cat([poses, between]), train, square=is_turned), width, height)


def _pinholes(poses: Float[Tensor, "cameras 3 4"], train: Cameras, *, square: bool) -> Cameras:
    """Pinholes like training's cameras, or as wide as pinholes are in both directions."""
    if not square:
        return path_cameras(poses, train)
    focal = float(train.focal_px.amax(dim=1).median())
    side = max(1, round(2 * math.tan(WIDEST_PINHOLE_RAD / 2) * focal))
    angle = torch.full((len(poses),), WIDEST_PINHOLE_RAD)
    return pinholes_with_fov(poses, angle, (side, side), train)


def _bounded(asked: int, width: int, height: int) -> int:
    """As many of the views as memory holds pictures of; says so where they are fewer."""
    held = max(1, min(asked, MOST_BYTES // (4 * width * height)))
    if held < asked:
        _log.info(
            "splats are fitted to %d views of %dx%d pixels, not to export.splats.views=%d, as their"
            " pictures may take %d MB: a smaller export.splats.max_side makes room for more",
            held,
            width,
            height,
            asked,
            MOST_BYTES >> 20,
        )
    return held


def _between(
    poses: Float[Tensor, "cameras 3 4"], count: int, generator: torch.Generator
) -> Float[Tensor, "between 3 4"]:
    """Poses somewhere on the way from one of the cameras to a neighbour that looks the same way."""
    if len(poses) < 2 or count <= 0:
        return poses[:0]
    position, forward = poses[..., 3], poses[..., 2]
    apart = torch.cdist(position, position)
    apart = apart / apart.median().clamp(min=1e-9) + torch.cdist(forward, forward)
    near = apart.argsort(dim=1)[:, 1 : NEIGHBOURS + 1]
    found = []
    for number in range(count):
        start = number * len(poses) // count
        end = near[start, int(torch.randint(near.shape[1], (1,), generator=generator))]
        fraction = 0.1 + 0.8 * float(torch.rand(1, generator=generator))
        found.append(interpolate_poses(poses[start], poses[end], fraction))
    return torch.stack(found)


@dataclass(frozen=True, kw_only=True)
class FieldViews:
    """Pictures of the field that splats imitate; cameras in the field's frame.

    Pictures are display-referred colour times opacity, and opacity, in 8 bits.
    """

    cameras: Cameras
    pictures: UInt8[Tensor, "views height width 4"]
    near: float

    def __len__(self) -> int:
        """The number of views."""
        return len(self.cameras)

    def camera(self, index: int) -> SplatCamera:
        """A view's camera as it draws splats."""
        cameras = self.cameras
        focal, center = cameras.focal_px[index].tolist(), cameras.center_px[index].tolist()
        return splat_camera(
            cameras.world_from_camera[index],
            (focal[0], focal[1]),
            (center[0], center[1]),
            (int(cameras.width[index]), int(cameras.height[index])),
            self.near,
        )

    def target(self, index: int) -> Float[Tensor, "height width 4"]:
        """A view's picture."""
        return self.pictures[index].float() / 255


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """How a scene's light becomes the colours of splats: as dialled, developed as pictures are."""

    dials: Dials
    colour_space: str
    exposure: float  # what scene-linear radiance is multiplied by

    def shown(self, image: Image) -> Float[Tensor, "height width 4"]:
        """A render over black as a screen shows it: colour times opacity, and opacity.

        Scene-linear light goes through the film's curve before it is multiplied: splats are blended
        in display-referred colours, as photos' opacity is.
        """
        if self.dials.lighting.groups:
            image = self.dials.mixed(image)
        color, covered = image.color, image.opacity[..., None]
        if self.colour_space == "linear":
            surface = color / covered.clamp(min=MIN_OPACITY)
            color = film_from_linear(surface * self.exposure) * covered
        return torch.cat([color, covered], dim=-1)


def appearance(
    scene: TrainedScene, lights: Mapping[str, Any], light_at: Sequence[float], exposure: float
) -> Appearance:
    """The scene's under these lights, ``exposure`` stops brighter.

    SettingError for lights that the run has not and for an exposure of what is already exposed.
    """
    return Appearance(
        dials=set_dials(scene.lighting, lights, light_at, "export.light_at"),
        colour_space=scene.record.color_space,
        exposure=scene.exposed(exposure, "export.exposure"),
    )


def render_views(
    scene: TrainedScene,
    cameras: Cameras,
    look: Appearance,
    keep: Callable[[Cameras, int, Image, Tensor], None],
    *,
    progress: bool,
) -> FieldViews:
    """What the cameras (in the world) see of the scene.

    ``keep`` is handed each render and its picture while they are there, with the cameras in the
    field's frame and the view's number among them.
    """
    placed = cameras.in_frame(scene.frame.world_from_field.inverse())
    black = (0.0,) * scene.field.num_channels
    render = scene_renders(scene, cameras, black, look.dials.conditions)
    height, width = int(cameras.height[0]), int(cameras.width[0])
    pictures = torch.empty(len(cameras), height, width, 4, dtype=torch.uint8)
    with tqdm(range(len(cameras)), desc="views", unit="view", disable=not progress) as bar:
        for index in bar:
            image = render(index)
            picture = look.shown(image)
            pictures[index] = quantised(picture)
            keep(placed, index, image, picture)
    return FieldViews(cameras=placed, pictures=pictures, near=max(scene.frame.near, NEAREST))
