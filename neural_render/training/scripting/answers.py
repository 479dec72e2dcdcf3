"""What a scene answers: pictures, and what is at points."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from neural_render.core.color import quantised
from neural_render.core.files import expanded, whole_file


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a camera sees, as arrays.

    ``color`` is display-referred sRGB in [0, 1] over the background; ``linear`` the scene-linear
    radiance without any background, times opacity. ``depth`` is along the camera's axis and
    ``distance`` along each pixel's ray, in the capture's units, 0 where nothing is.
    """

    color: Float32[np.ndarray, "height width 3"]
    linear: Float32[np.ndarray, "height width 3"]
    opacity: Float32[np.ndarray, "height width"]
    depth: Float32[np.ndarray, "height width"]
    distance: Float32[np.ndarray, "height width"]

    def save(self, path: str | Path) -> Path:
        """Writes the colours as a picture of 8 bits (PNG, JPEG, WebP); the path."""
        from PIL import Image

        path = expanded(path)
        with whole_file(path) as temporary:
            Image.fromarray(self.color_8bit).save(temporary)
        return path

    @property
    def color_8bit(self) -> np.ndarray:
        """The colours as uint8 [height width 3], as pictures and films are made of."""
        return quantised(torch.from_numpy(self.color)).numpy()


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the field is at points, seen in directions.

    ``density`` is per unit of the capture's world: light through a length x of it is dimmed by
    ``exp(-density x)``. ``radiance`` is in the scene's colour space: display-referred sRGB of
    photographs, scene-linear of baked scenes under their lights.
    """

    density: Float32[np.ndarray, " samples"]
    radiance: Float32[np.ndarray, "samples 3"]
