"""Exposes frames of a film: a picture is the mean of what its sub-frames see.

One mechanism serves supersampling, depth of field and motion blur: sub-frame by sub-frame, each
pixel's ray goes through its own place in the pixel, in the lens and in time (``core.optics``), and
what is gathered is linear light (``export.developing``). A frame depends on its index and the run's
seed alone, whichever process makes it and whatever was made before.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens, rays_from_pose
from neural_render.core.flight.shutter import around
from neural_render.core.optics.eyes import Eye, ray_origins
from neural_render.core.optics.lens import through_lens
from neural_render.core.optics.moments import STILL, Moment, disc, moments
from neural_render.core.protocols import Field, SceneFrame
from neural_render.core.rays import Rays
from neural_render.export.developing import Development, Render
from neural_render.export.images import MIN_OPACITY
from neural_render.export.layers import NORMALS, PLACES, Exposed, together
from neural_render.rendering.images import (
    PIXELS_AT_ONCE,
    TILE,
    Image,
    image_of_tiles,
    lens_numbers,
    tiled_lens,
    tiled_order,
)
from neural_render.rendering.normals import ray_normals
from neural_render.rendering.renderer import Renderer
from neural_render.training.randomness import generator_for

_CPU = torch.device("cpu")
_MIDDLE = torch.zeros(0, 3)  # no shifts: through the lens's middle, at one time


@dataclass(frozen=True, kw_only=True)
class FilmCamera:
    """What a film is shot with: eyes, lens, shutter, and how many sub-frames they are shared by.

    ``side`` is the root of that number. ``aperture`` is the lens's diameter and ``focus`` tells the
    depth in focus of a frame, in the world's units; ``shutter`` is its time in frames. ``across``:
    the eyes' pictures stand beside each other, not above.
    """

    eyes: tuple[Eye, ...]
    across: bool
    side: int
    pixel_filter: str
    aperture: float
    focus: Callable[[int], float]
    shutter: float

    @property
    def blurs(self) -> bool:
        """Whether rays differ from pixel to pixel at random."""
        return self.aperture > 0 or self.shutter > 0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is filmed: a field, its renderer and its place in the world, and what it is told.

    ``over`` is the background of renders.
    """

    field: Field
    renderer: Renderer
    frame: SceneFrame
    over: Float[Tensor, " channels"]
    conditions: Float[Tensor, " conditions"] | None = None

    def in_field(self, rays: Rays) -> Rays:
        """Rays of the world in the field's frame, on its device."""
        field_from_world = self.frame.world_from_field.inverse()
        return replace(rays, origins=field_from_world.apply(rays.origins)).to(self.over.device)


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """What is gathered of a subject: ``layers`` of colours, if they are wanted, and ``data`` of the
    surfaces by name; ``seed`` is of everything random."""

    subject: Subject
    development: Development
    layers: bool
    data: tuple[str, ...]
    seed: int


def exposes(camera: FilmCamera, gathering: Gathering) -> Callable[[int], Exposed]:
    """Exposes the frame of an index."""

    def expose(index: int) -> Exposed:
        with torch.inference_mode():
            generator = generator_for(gathering.seed, index, "film", _CPU)
            shared_out = moments(
                camera.side,
                pixel_filter=camera.pixel_filter,
                shutter=camera.shutter,
                generator=generator,
            )
            pictures = [
                together(
                    [
                        _Band(camera, gathering, eye, index, rows).exposed(shared_out, generator)
                        for rows in _bands(eye.cameras, index)
                    ],
                    dim=0,
                )
                for eye in camera.eyes
            ]
            return together(pictures, dim=1 if camera.across else 0)

    return expose


def _bands(cameras: Cameras, index: int) -> Iterator[range]:
    """The rows of a picture in parts that fit into memory, each of whole tiles."""
    width, height = int(cameras.width[index]), int(cameras.height[index])
    rows = max(1, PIXELS_AT_ONCE // width // TILE) * TILE
    for top in range(0, height, rows):
        yield range(top, min(top + rows, height))


@dataclass(frozen=True)
class _Band:
    """Some rows of what an eye sees in one frame."""

    camera: FilmCamera
    gathering: Gathering
    eye: Eye
    index: int
    rows: range

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return int(self.eye.cameras.width[self.index]), len(self.rows)

    def exposed(self, shared_out: tuple[Moment, ...], generator: torch.Generator) -> Exposed:
        """The mean of the sub-frames, and the data."""
        camera = self.camera
        shifts, pixel = _MIDDLE, 1 / camera.side
        if camera.blurs:
            shifts, pixel = torch.rand(math.prod(self.size), 3, generator=generator), 0.0
        mean = _mean(self.sub_frame(moment, shifts, pixel) for moment in shared_out)
        light, opacity = mean.pop("light"), mean.pop("opacity")
        distance = mean.pop("distance") / mean.pop("near").clamp(min=1e-9)
        data: dict[str, Tensor] = {}
        if self.gathering.data:
            if camera.blurs or camera.side > 1:
                still = self.image(self.rays(STILL, _MIDDLE))
                sees = (still.opacity >= MIN_OPACITY) & (still.distance > 0)
                distance = still.distance.where(sees, distance)
            found = self.data(distance)
            data = {name: found[name] for name in self.gathering.data}
        return Exposed(light=light, opacity=opacity, layers=mean, data=data)

    def sub_frame(
        self, moment: Moment, shifts: Float[Tensor, "shifted 3"], pixel: float
    ) -> dict[str, Tensor]:
        """What is averaged: light, opacity, distances as far as they are covered (and how far that
        is: a far sky, which covers too, is at none), layers by name."""
        rays, development = self.rays(moment, shifts), self.gathering.development
        image = self.image(rays)
        directions = self.in_rows(rays.directions)
        seen = {
            "light": development.light(Render(image=image, directions=directions, pixel=pixel)),
            "opacity": image.opacity,
            "distance": image.distance * image.opacity,
            "near": image.opacity * (image.distance > 0),
        }
        return {**seen, **development.layers(image)} if self.gathering.layers else seen

    def image(self, rays: Rays) -> Image:
        """What rays (in the world, tile by tile) see."""
        subject = self.gathering.subject
        image = image_of_tiles(
            subject.renderer,
            subject.field,
            subject.in_field(rays),
            self.size,
            subject.over,
            subject.conditions,
        )
        return image.to(_CPU)

    def data(self, distance: Float[Tensor, "height width"]) -> dict[str, Tensor]:
        """What is known of surfaces at a distance (field units) along the rays of a still picture,
        by its channels' names; normals only where they are asked for."""
        subject, cameras = self.gathering.subject, self.eye.cameras
        rays, flat = self.rays(STILL, _MIDDLE), distance.flatten()
        place = tiled_order(*self.size, TILE)[1]
        rays = rays[place]
        far = flat * subject.frame.world_from_field.scale
        depth = far
        if cameras.lens[self.index] == Lens.PERSPECTIVE:
            depth = far * (rays.directions @ cameras.world_from_camera[self.index, :, 2])
        points = rays.origins + far[:, None] * rays.directions
        found = {"Z": depth, "distance": far, **dict(zip(PLACES, points.unbind(1), strict=True))}
        if NORMALS[0] in self.gathering.data:
            rays = subject.in_field(rays)
            normals = ray_normals(
                subject.renderer, subject.field, rays, flat.to(rays.origins.device)
            )
            found |= dict(zip(NORMALS, normals.to(_CPU).unbind(1), strict=True))
        return {name: values.view_as(distance) for name, values in found.items()}

    def rays(self, moment: Moment, shifts: Float[Tensor, "shifted 3"]) -> Rays:
        """The rays of a sub-frame in the world, tile by tile.

        ``shifts`` move each pixel's place in the lens and in time; none: both are the middle.
        """
        times = torch.tensor([moment.opens, moment.closes])
        cameras = around(self.eye.cameras, self.index, times)
        first = self.rays_at(cameras[:1], moment, shifts)
        if moment.opens == moment.closes:
            return first
        last, share = self.rays_at(cameras[1:], moment, shifts), shifts[:, 2:]
        directions = torch.lerp(first.directions, last.directions, share)
        return replace(
            first,
            origins=torch.lerp(first.origins, last.origins, share),
            directions=torch.nn.functional.normalize(directions, dim=-1),
        )

    def rays_at(self, camera: Cameras, moment: Moment, shifts: Float[Tensor, "shifted 3"]) -> Rays:
        """The same if nothing moved."""
        directions, footprint = tiled_lens(lens_numbers(self.cropped(camera, moment), 0), TILE)
        pose = camera.world_from_camera[0]
        directions, footprint = directions.to(pose), footprint.to(pose)
        if self.camera.aperture and len(shifts):
            places = disc((torch.tensor(moment.lens) + shifts[:, :2]) % 1)
            places = places * (self.camera.aperture / 2)
            starts, directions = through_lens(directions, places, self.camera.focus(self.index))
        elif self.eye.circle:
            starts = ray_origins(directions, self.eye.circle)
        else:
            return rays_from_pose(pose, directions, footprint)
        rays = rays_from_pose(pose, directions, footprint)
        return replace(rays, origins=rays.origins + starts @ pose[:, :3].T)

    def cropped(self, camera: Cameras, moment: Moment) -> Cameras:
        """The camera of this band's rows alone, its pixels moved by the sub-frame's offset."""
        x, y = moment.offset_px
        moved = camera.center_px.new_tensor([x, y + self.rows.start])
        height = torch.full_like(camera.height, len(self.rows))
        return replace(camera, center_px=camera.center_px - moved, height=height)

    def in_rows(self, values: Float[Tensor, "pixels 3"]) -> Float[Tensor, "height width 3"]:
        """Values of pixels tile by tile as a picture."""
        width, height = self.size
        return values[tiled_order(width, height, TILE)[1]].view(height, width, 3)


def _mean(sub_frames: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each entry; of one sub-frame, that itself."""
    total, number = next(sub_frames), 1
    for further in sub_frames:
        total = {name: total[name] + part for name, part in further.items()}
        number += 1
    return total if number == 1 else {name: part / number for name, part in total.items()}
