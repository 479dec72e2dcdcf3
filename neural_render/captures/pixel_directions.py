"""Directions through the pixels of many views: by formula, by table, or solved on demand."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_render.core.cameras import (
    PIXELS_PER_PIECE,
    Cameras,
    Lens,
    directions_in_camera,
    pixel_centers,
)

# Undistorted directions of all pixels are kept while they take no more than this; beyond (many
# different lenses), each ray's distortion is inverted when the ray is drawn.
MAX_TABLE_BYTES = 256 * 2**20
BYTES_PER_PIXEL = 16


class PixelDirections:
    """How rays leave the pixels of a set of cameras.

    Without distortion ``intrinsics`` says all. Else each distinct lens has its pixels' directions
    in ``table``, shared by the views that have that lens, as long as the tables fit into
    ``max_table_bytes``; where they do not, directions are to be solved (``must_be_solved``). Where
    the cameras have only every ``stride``-th pixel of a photo, footprints are those of its pixels.
    """

    def __init__(
        self, cameras: Cameras, max_table_bytes: int = MAX_TABLE_BYTES, stride: int = 1
    ) -> None:
        self._cameras, self._stride = cameras, stride
        self._plain = bool((cameras.lens == Lens.PERSPECTIVE).all() & ~cameras.distortion.any())
        # fx, fy, cx, cy and the factor of the footprint: one row per view, or one for all.
        factor = (12 * cameras.focal_px.prod(-1, keepdim=True)).rsqrt() / stride
        intrinsics = torch.cat([cameras.focal_px, cameras.center_px, factor], dim=-1)
        shared = bool((intrinsics == intrinsics[:1]).all())
        self.intrinsics = intrinsics[:1] if shared else intrinsics
        self.table = torch.empty(0, 4, device=cameras.focal_px.device)
        self.table_starts = torch.zeros_like(cameras.width)
        if not self._plain:
            self._lens_of_view, self._first_view = distinct_lenses(cameras)
            areas = (cameras.width * cameras.height)[self._first_view]
            self.table_starts = (areas.cumsum(0) - areas)[self._lens_of_view]
            if int(areas.sum()) * BYTES_PER_PIXEL <= max_table_bytes:
                rows = [_lens_table(cameras, view) for view in self._first_view.tolist()]
                self.table = torch.cat(rows)
                self.table[:, 3] /= stride

    @property
    def must_be_solved(self) -> bool:
        """Whether neither ``intrinsics`` nor ``table`` gives the directions."""
        return not self._plain and not len(self.table)

    def solve(
        self, view: Int[Tensor, " rays"], within: Int[Tensor, " rays"]
    ) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, " rays"]]:
        """Directions in camera axes and footprints (as `core.cameras` defines them) of any pixels.

        ``within`` is a pixel's index in its photo. Works for every lens, by Newton's method.
        """
        width = self._cameras.width.index_select(0, view)
        row = within // width
        pixels = torch.stack([within - row * width, row], dim=-1) + 0.5
        directions, footprint, _ = directions_in_camera(self._cameras, view, pixels)
        return directions, footprint / self._stride

    def impossible_pixels(self) -> dict[int, Bool[Tensor, " pixels"]]:
        """For each view that has any: which of its pixels the lens model cannot produce."""
        found: dict[int, Tensor] = {}
        if self._plain:
            return found
        firsts = self._first_view.tolist()
        # What cannot be produced lies outside of some curve around the axis: ask the borders.
        borders = [_border(self._cameras, first) for first in firsts]
        sizes = [len(border) for border in borders]
        index = self._first_view.repeat_interleave(self._first_view.new_tensor(sizes))
        valid = _valid_pixels(self._cameras, index, torch.cat(borders)).split(sizes)
        for lens, first in enumerate(firsts):
            if valid[lens].all():
                continue
            pixels = pixel_centers(self._cameras, first)
            index = torch.full_like(pixels[:, 0], first, dtype=torch.long)
            invalid = ~_valid_pixels(self._cameras, index, pixels)
            for view in (self._lens_of_view == lens).nonzero()[:, 0].tolist():
                found[view] = invalid
        return found


def distinct_lenses(cameras: Cameras) -> tuple[Int[Tensor, " cameras"], Int[Tensor, " lenses"]]:
    """The index of each camera's lens among the distinct ones, and a camera for each of these."""
    sizes = torch.stack([cameras.lens, cameras.width, cameras.height], dim=-1)
    rows = torch.cat(
        [cameras.focal_px, cameras.center_px, cameras.distortion, sizes.to(cameras.focal_px)], -1
    )
    _, lens_of_view = rows.unique(dim=0, return_inverse=True)
    order = torch.arange(len(cameras), device=lens_of_view.device).flip(0)
    first_view = torch.zeros(int(lens_of_view.max()) + 1, dtype=torch.long, device=order.device)
    first_view[lens_of_view.flip(0)] = order
    return lens_of_view, first_view


def _lens_table(cameras: Cameras, view: int) -> Float[Tensor, "pixels 4"]:
    """Direction and footprint of every pixel of one camera."""
    pieces = []
    for pixels in pixel_centers(cameras, view).split(PIXELS_PER_PIECE):
        index = torch.full_like(pixels[:, 0], view, dtype=torch.long)
        directions, footprint, _ = directions_in_camera(cameras, index, pixels)
        pieces.append(torch.cat([directions, footprint[:, None]], dim=-1))
    return torch.cat(pieces)


def _valid_pixels(
    cameras: Cameras, index: Int[Tensor, " pixels"], pixels: Float[Tensor, "pixels 2"]
) -> Bool[Tensor, " pixels"]:
    """Which pixels the lens model of their cameras can produce."""
    pieces = zip(index.split(PIXELS_PER_PIECE), pixels.split(PIXELS_PER_PIECE), strict=True)
    return torch.cat([directions_in_camera(cameras, *piece)[2] for piece in pieces])


def _border(cameras: Cameras, view: int) -> Float[Tensor, "pixels 2"]:
    """The centres of the outermost pixels of one camera."""
    width, height = int(cameras.width[view]), int(cameras.height[view])
    x = torch.arange(width, device=cameras.width.device) + 0.5
    y = torch.arange(height, device=cameras.width.device) + 0.5
    top, left = torch.full_like(x, 0.5), torch.full_like(y, 0.5)
    edges = [
        torch.stack([x, top], -1),
        torch.stack([x, top + (height - 1)], -1),
        torch.stack([left, y], -1),
        torch.stack([left + (width - 1), y], -1),
    ]
    return torch.cat(edges).to(cameras.focal_px.dtype)
