"""Random rays through the pixels of photos: the RaySource that fits a field to a capture."""

import logging
from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from neural_render.captures.pixel_blocks import block_sizes, pixel_layout
from neural_render.captures.pixel_directions import MAX_TABLE_BYTES, PixelDirections
from neural_render.captures.records import Capture, Views
from neural_render.core.errors import CaptureError
from neural_render.core.protocols import SceneFrame
from neural_render.core.rays import RayBatch
from neural_render.kernels import ops
from neural_render.kernels.records import PixelRays, PixelViews

# Below this share of usable pixels a list of them (8 bytes each) is smaller than the photos
# themselves, and drawing until enough are usable would take long.
MIN_SHARE_TO_REDRAW = 1 / 8
SPARE_DRAWS = 64

_log = logging.getLogger("neural_render")


class OfCapture:
    """What every source of rays from a capture's photos says of it; abstract."""

    def __init__(self, capture: Capture) -> None:
        """Remembers the capture."""
        self._capture = capture

    @property
    def num_channels(self) -> int:
        """Red, green and blue."""
        return 3

    @property
    def frame(self) -> SceneFrame:
        """The placement of the field in the capture's world."""
        return self._capture.frame

    @property
    def has_opacity(self) -> bool:
        """Whether some pixel of the photos is not opaque."""
        return self._capture.has_opacity


class PhotoSource(OfCapture):
    """Rays through random pixels of all training photos, with their colours.

    Every pixel is equally likely, whatever the sizes of the photos, unless its region is asked for
    (regions are square blocks of pixels); masked pixels, and those that their lens model cannot
    produce, never come. Tensors live where the capture's photos live.
    """

    def __init__(
        self,
        capture: Capture,
        max_table_bytes: int = MAX_TABLE_BYTES,
        stride: int = 1,
        warn: bool = True,
    ) -> None:
        """CaptureError if no pixel is left to learn from; warns of pixels that have no ray.

        With a ``stride`` the photos are a window of larger ones (``Views.window``).
        """
        views = capture.train
        assert len(views.pixels), "the capture was opened without its images"
        assert views.stride == 1, "photos on disk are drawn from by StreamedPhotos"
        super().__init__(capture)
        self._pixels = views.pixels
        cameras = views.cameras.in_frame(capture.frame.world_from_field.inverse())
        self._directions = PixelDirections(cameras, max_table_bytes, stride)
        self._views = PixelViews(
            layout=pixel_layout(views, stride),
            pixels=views.pixels,
            poses=cameras.world_from_camera.transpose(1, 2).reshape(-1, 12),
            intrinsics=self._directions.intrinsics,
            table=self._directions.table,
            table_starts=self._directions.table_starts,
        )
        self._usable = _usable_pixels(views, self._directions, warn)
        self._share = 1.0
        self._listed = torch.empty(0, dtype=torch.long, device=self._pixels.device)
        if len(self._usable):
            self._share = int(self._usable.count_nonzero()) / len(self._usable)
            if self._share == 0:
                raise CaptureError(
                    f"the masks of {capture.path} leave no pixel to learn from: what counts is"
                    " white in a mask_path, what is ignored black"
                )
            if self._share < MIN_SHARE_TO_REDRAW:
                self._listed = self._usable.nonzero()[:, 0]

    @property
    def hides_pixels(self) -> bool:
        """Whether some pixels may not be drawn: masked ones, or those that belong to no ray."""
        return len(self._usable) > 0

    @cached_property
    def region_sizes(self) -> Int[Tensor, " regions"]:
        """The number of usable pixels of each block."""
        return block_sizes(self._views.layout, self._usable)

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        """Random pixels as field rays with straight sRGB colours and opacities, all of weight 1."""
        return _batch(self._shoot(self._draw(num_rays, generator)))

    def sample_regions(
        self, num_rays: int, regions: Int[Tensor, " chosen"], generator: torch.Generator
    ) -> tuple[RayBatch, Int[Tensor, " rays"]]:
        """A random pixel of each region, then uniform ones, with the regions of them all."""
        device = self._pixels.device
        place = torch.rand(len(regions), dtype=torch.double, generator=generator, device=device)
        chosen = ops.pick_pixels(regions, place, self._views.layout, self._usable)
        uniform = self._draw(num_rays - len(regions), generator)
        found = self._shoot(torch.cat([chosen, uniform]))
        return _batch(found), found.block

    @torch.no_grad()
    def _shoot(self, pixel: Int[Tensor, " rays"]) -> PixelRays:
        """The field rays of flat pixel indices."""
        found = ops.shoot_rays(pixel, self._views)
        if not self._directions.must_be_solved:
            return found
        within = pixel - self._views.layout.offsets.index_select(0, found.view)
        local, footprint = self._directions.solve(found.view, within)
        axes = self._views.poses[:, :9].index_select(0, found.view).view(-1, 3, 3)
        directions = (axes * local[:, :, None]).sum(1)
        rays = replace(found.rays, directions=directions, footprint=footprint.contiguous())
        return replace(found, rays=rays)

    def _draw(self, num_rays: int, generator: torch.Generator) -> Int[Tensor, " rays"]:
        """Indices of random usable pixels."""
        device = self._pixels.device
        if len(self._listed):
            pick = (num_rays,)
            chosen = torch.randint(len(self._listed), pick, generator=generator, device=device)
            return self._listed.index_select(0, chosen)
        drawn = torch.empty(0, dtype=torch.long, device=device)
        while len(drawn) < num_rays:
            missing = num_rays - len(drawn)
            if self._share < 1:
                missing = int(missing / self._share) + SPARE_DRAWS
            more = torch.randint(len(self._pixels), (missing,), generator=generator, device=device)
            if self._share < 1:
                more = more[self._usable.index_select(0, more) != 0]
            drawn = torch.cat([drawn, more]) if len(drawn) else more
        return drawn[:num_rays]


def _batch(found: PixelRays) -> RayBatch:
    return RayBatch(
        rays=found.rays,
        targets=found.colors,
        opacity=found.opacity,
        weights=torch.ones_like(found.opacity),
        view=found.view,
        distance=torch.zeros_like(found.opacity),
        normals=torch.zeros_like(found.rays.directions),
        conditions=found.opacity.new_zeros((len(found.opacity), 0)),
    )


def _usable_pixels(
    views: Views, directions: PixelDirections, warn: bool
) -> UInt8[Tensor, " usable"]:
    """Nonzero where a pixel may be drawn; of no length where all may."""
    impossible = directions.impossible_pixels()
    if not impossible:
        return views.masks
    usable = views.masks.clone() if len(views.masks) else torch.full_like(views.pixels[:, 0], 255)
    for view, invalid in impossible.items():
        start = int(views.offsets[view])
        usable[start : start + len(invalid)][invalid] = 0
    first = min(impossible)
    if warn:
        _log.warning(
            "the lens of %d views (first %s) bends back before the image ends: %.2g %% of its"
            " pixels belong to no ray and are not used; check k1 to k4",
            len(impossible),
            views.names[first],
            100 * float(impossible[first].double().mean()),
        )
    return usable
