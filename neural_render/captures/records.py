"""An opened capture: photos held in memory with their cameras, and where the scene lies."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from neural_render.captures.readers.listing import SparsePoints
from neural_render.core.cameras import Cameras
from neural_render.core.protocols import SceneFrame


@dataclass(frozen=True, kw_only=True)
class Views:
    """Photos of any sizes, flat and 8-bit, with their cameras in the capture's world.

    ``pixels`` holds one image after another, row by row, display-referred sRGB, with straight alpha
    where there are 4 channels. ``masks`` is 0 where a pixel is to be ignored, and has no length
    where nothing is. Opened without images, ``pixels`` has no rows.
    """

    cameras: Cameras
    names: tuple[str, ...]
    pixels: UInt8[Tensor, "pixels channels"]
    offsets: Int[Tensor, " cameras"]  # the index of each image's first pixel
    masks: UInt8[Tensor, " masked"]

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.names)

    def image(self, index: int) -> UInt8[Tensor, "height width channels"]:
        """One photo, a view into ``pixels``."""
        height, width = int(self.cameras.height[index]), int(self.cameras.width[index])
        start = int(self.offsets[index])
        return self.pixels[start : start + height * width].view(height, width, -1)

    def mask(self, index: int) -> UInt8[Tensor, "height width"]:
        """What of one photo counts: 255, and 0 for what is ignored."""
        height, width = int(self.cameras.height[index]), int(self.cameras.width[index])
        start = int(self.offsets[index])
        if not len(self.masks):
            return torch.full((height, width), 255, dtype=torch.uint8, device=self.pixels.device)
        return self.masks[start : start + height * width].view(height, width)

    def to(self, device: torch.device) -> "Views":
        """The same photos on another device."""
        return replace(
            self,
            cameras=self.cameras.to(device),
            pixels=self.pixels.to(device),
            offsets=self.offsets.to(device),
            masks=self.masks.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Capture:
    """Photos to learn from, photos to test on, and the placement of the scene."""

    name: str
    path: Path
    format: str  # the reader's name
    train: Views
    test: Views
    frame: SceneFrame
    points: SparsePoints
    has_opacity: bool  # some pixel of some photo is not opaque
    split: str  # how training and test views were told apart, for the protocol
    warnings: tuple[str, ...]

    def points_in_field(self) -> Float[Tensor, "points 3"]:
        """The places of the sparse points in the field's frame."""
        points = torch.from_numpy(self.points.positions)
        return self.frame.world_from_field.inverse().apply(points).float()
