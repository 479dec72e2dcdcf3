"""What the doctor looks at: all photos of a capture, of both splits, with their cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from neural_render.captures.readers.image_files import natural_key
from neural_render.captures.records import Capture, Views
from neural_render.core.cameras import Cameras

# Colour says no more of blur, exposure or place than grey does; weights of Rec. 709.
LUMA = (0.2126, 0.7152, 0.0722)
BACKDROP = 128
MAX_THREADS = 4  # each holds a whole photo
THINNING = 3  # pixels are left out before averaging where there are so many times too many


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Photos in the natural order of their names (1, 2, 10), and their cameras in that order."""

    names: tuple[str, ...]
    cameras: Cameras
    places: tuple[tuple[Views, int], ...]  # the views that hold each photo, and its index there

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.names)

    @property
    def poses(self) -> Float64[np.ndarray, "photos 3 4"]:
        """``world_from_camera`` of each photo."""
        return self.cameras.world_from_camera.double().cpu().numpy()

    def grey(self, index: int, max_side: int) -> Float[Tensor, "height width"]:
        """One photo in grey (0 to 255), scaled down until no side is longer; clear parts grey."""
        views, place = self.places[index]
        return shrunk(grey_of(_thinned(views.image(place), max_side)), max_side)

    def counts(self, index: int, max_side: int) -> Float[Tensor, "height width"]:
        """How much of each pixel of `grey` is to be looked at: opaque and not masked, 0 to 1."""
        views, place = self.places[index]
        image = _thinned(views.image(place), max_side)
        opaque = torch.ones(image.shape[:2])
        if len(views.masks):
            opaque = _thinned(views.mask(place), max_side).cpu().float() / 255
        if image.shape[-1] == 4:
            opaque = opaque * image[..., 3].cpu().float() / 255
        return shrunk(opaque, max_side)


def subject_of(capture: Capture) -> Subject:
    """All photos of a capture that was opened with its images."""
    return subject_of_views(capture.train, capture.test)


def subject_of_views(*given: Views) -> Subject:
    """All photos of views with images.

    Of photos that are mapped from a file, one part is looked at: it is enough, and read quickly.
    Of the others then as much, or those would look sharp beside them.
    """
    step = max(views.stride for views in given)
    parts = [
        views.window(0) if views.stride > 1 else views.thinned(step) if step > 1 else views
        for views in given
    ]
    places = [(views, index) for views in parts for index in range(len(views))]
    order = natural_order([views.names[index] for views, index in places])
    places = [places[index] for index in order]
    joined = Cameras.joined([views.cameras.to(torch.device("cpu")) for views in given])
    return Subject(
        names=tuple(views.names[index] for views, index in places),
        cameras=joined[torch.tensor(order, dtype=torch.long)],
        places=tuple(places),
    )


def natural_order(names: Sequence[str]) -> list[int]:
    """Indices that sort names with numbers as people do: 1, 2, 10."""
    return sorted(range(len(names)), key=lambda index: natural_key(names[index]))


def shrunk(image: Float[Tensor, "height width"], max_side: int) -> Float[Tensor, "rows columns"]:
    """The image scaled down, by averaging, until no side is longer."""
    height, width = image.shape
    ratio = max_side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(round(height * ratio), 1), max(round(width * ratio), 1))
    return torch.nn.functional.interpolate(
        image[None, None], size=size, mode="bilinear", antialias=True, align_corners=False
    )[0, 0]


def _thinned(image: Tensor, max_side: int) -> Tensor:
    """Every so many-th pixel of a photo that is much larger than wanted, to save memory."""
    step = max(1, max(image.shape[:2]) // (THINNING * max_side))
    return image[step // 2 :: step, step // 2 :: step]


def grey_of(image: UInt8[Tensor, "height width channels"]) -> Float[Tensor, "height width"]:
    """A photo in grey, 0 to 255, clear parts a middle grey."""
    pixels = image.cpu().float()
    grey = pixels[..., :3] @ torch.tensor(LUMA)
    if image.shape[-1] == 3:
        return grey
    alpha = pixels[..., 3] / 255
    return grey * alpha + BACKDROP * (1 - alpha)
