"""Pictures for one visitor: of the whole scene or of what a box holds, with depths for overlays."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32

from neural_render.rendering.inspection.cropping import Crop
from neural_render.viewer.pictures.drawing import (
    Brush,
    Drawing,
    Pixels,
    depth_behind,
    developed,
    draw,
    in_long_steps,
)
from neural_render.viewer.pictures.resolution import Pace
from neural_render.viewer.pictures.visitors import Job
from neural_render.viewer.place import Place
from neural_render.viewer.requests import Box
from neural_render.viewer.stage import Stage

BAND_SECONDS = 0.05  # after which a picture that waits may be given up
DEPTH_ROWS, MOVING_DEPTH_ROWS = 360, 120
SEEN_THROUGH = 160.0  # of the page's units: about as far as its depths reach
DEPTHS_PER_UNIT = 400  # rounded depths are small as a picture

Depths = Float32[np.ndarray, "height width"]


class Painter:
    """Makes what jobs ask for."""

    def __init__(self, stage: Stage, place: Place) -> None:
        self._stage, self._place = stage, place
        self._crop: tuple[tuple[Box, Crop], ...] = ()  # none, or the last one that was asked for

    def draw(self, job: Job, pace: Pace, given_up: Callable[[], bool]) -> Drawing | None:
        """What the rays of a job bring; None where it was given up."""
        width, rows = job.view.size(job.factor)
        if job.waits:
            rows = round(BAND_SECONDS / max(pace.expected(width), 1e-9))
        return draw(self._brush(job), job.view.camera(job.factor), job.look, rows, given_up)

    def picture(self, drawing: Drawing, job: Job) -> Pixels:
        """What is shown of it."""
        return developed(self._stage, drawing, job.look, self._place.distance)

    def depths(self, drawing: Drawing, job: Job) -> Depths | None:
        """In the page's units, what hides things that are drawn into the scene, if there are."""
        if not job.look.overlaid:
            return None
        rows = DEPTH_ROWS if job.final else MOVING_DEPTH_ROWS
        away = depth_behind(self._stage, drawing, rows) / self._place.unit
        rounded = np.round(np.minimum(away, SEEN_THROUGH) * DEPTHS_PER_UNIT) / DEPTHS_PER_UNIT
        return rounded.astype(np.float32)

    def _brush(self, job: Job) -> Brush:
        renderer = self._crop_of(job).renderer() if job.look.crop else self._stage.renderer
        if not job.waits:
            renderer = in_long_steps(renderer)
        return Brush(stage=self._stage, renderer=renderer, cropped=bool(job.look.crop))

    def _crop_of(self, job: Job) -> Crop:
        """The part of the scene in the job's box."""
        box = job.look.crop[0]
        if not self._crop or self._crop[0][0] != box:
            to_field = self._stage.frame.world_from_field.inverse()
            corners = to_field.apply(torch.tensor(box)).tolist()
            low, high = ((x, y, z) for x, y, z in corners)
            self._crop = ((box, Crop(self._stage.renderer, low, high)),)
        return self._crop[0][1]
