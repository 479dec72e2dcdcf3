"""An opened capture: photos held in memory with their cameras, and where the scene lies."""

from collections.abc import Callable
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

    Photos that do not fit into memory are mapped from a file, with a ``stride`` s above 1: its s*s
    parts, one after another, are whole captures of every s-th row and column, which fit.
    """

    cameras: Cameras
    names: tuple[str, ...]
    pixels: UInt8[Tensor, "pixels channels"]
    offsets: Int[Tensor, " cameras"]  # the index of each image's first pixel, in each window
    masks: UInt8[Tensor, " masked"]
    stride: int = 1

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.names)

    @property
    def num_windows(self) -> int:
        """The number of parts that memory holds one at a time."""
        return self.stride * self.stride

    def image(self, index: int) -> UInt8[Tensor, "height width channels"]:
        """One photo: a view into ``pixels`` where the stride is 1."""
        return self._photo(self.pixels, index)

    def mask(self, index: int) -> UInt8[Tensor, "height width"]:
        """What of one photo counts: 255, and 0 for what is ignored."""
        if not len(self.masks):
            size = int(self.cameras.height[index]), int(self.cameras.width[index])
            return torch.full(size, 255, dtype=torch.uint8, device=self.masks.device)
        return self._photo(self.masks, index)

    def window(self, index: int) -> "Views":
        """Every ``stride``-th row and column of all photos, from those on that ``index`` says.

        Its cameras give each pixel the ray that it has in the whole photo.
        """
        size = len(self.pixels) // self.num_windows
        here = slice(index * size, (index + 1) * size)
        return replace(
            self,
            cameras=_of_every(self.cameras, self.stride, *divmod(index, self.stride)),
            pixels=self.pixels[here],
            masks=self.masks[here],
            stride=1,
        )

    def thinned(self, step: int) -> "Views":
        """Every ``step``-th row and column of photos in memory, from the first on: a copy."""
        assert self.stride == 1, "mapped photos have windows"
        cameras = _of_every(self.cameras, step, 0, 0)
        rows, columns = cameras.height.tolist(), cameras.width.tolist()

        def gathered(photo: Callable[[int], Tensor], flat: Tensor) -> Tensor:
            parts = [
                photo(i)[::step, ::step][: rows[i], : columns[i]].reshape(-1, *flat.shape[1:])
                for i in range(len(self))
            ]
            return torch.cat(parts) if len(flat) else flat

        areas = cameras.width * cameras.height
        return replace(
            self,
            cameras=cameras,
            pixels=gathered(self.image, self.pixels),
            offsets=areas.cumsum(0) - areas,
            masks=gathered(self.mask, self.masks),
        )

    def to(self, device: torch.device) -> "Views":
        """The same photos on another device, but what is mapped from a file stays there."""
        mapped = self.stride > 1
        return replace(
            self,
            cameras=self.cameras.to(device),
            pixels=self.pixels if mapped else self.pixels.to(device),
            offsets=self.offsets.to(device),
            masks=self.masks if mapped else self.masks.to(device),
        )

    def _photo(self, flat: Tensor, index: int) -> Tensor:
        """The part of ``flat`` that belongs to one photo, as rows and columns."""
        stride, size = self.stride, len(flat) // self.num_windows
        height = int(self.cameras.height[index]) // stride
        width = int(self.cameras.width[index]) // stride
        start = int(self.offsets[index])
        windows = flat.view(stride, stride, size, *flat.shape[1:])
        found = windows[:, :, start : start + height * width].unflatten(2, (height, width))
        return found.movedim((0, 1), (1, 3)).reshape(
            height * stride, width * stride, *flat.shape[1:]
        )


def _of_every(cameras: Cameras, step: int, row: int, column: int) -> Cameras:
    """The cameras of every ``step``-th row and column, from these on."""
    corner = cameras.center_px.new_tensor([column + 0.5, row + 0.5])
    return replace(
        cameras,
        focal_px=cameras.focal_px / step,
        center_px=(cameras.center_px - corner) / step + 0.5,
        width=cameras.width // step,
        height=cameras.height // step,
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
