"""Random rays through the pixels of photos: the RaySource that fits a field to a capture."""

import logging

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from neural_render.captures.pixel_directions import PixelDirections
from neural_render.captures.records import Capture, Views
from neural_render.core.errors import CaptureError
from neural_render.core.protocols import SceneFrame
from neural_render.core.rays import RayBatch, Rays

# Below this share of usable pixels a list of them (8 bytes each) is smaller than the photos
# themselves, and drawing until enough are usable would take long.
MIN_SHARE_TO_REDRAW = 1 / 8
SPARE_DRAWS = 64
# Rays are made so many at a time: temporaries stay in the caches and in the allocator's hands.
PIECE = 1 << 14

_log = logging.getLogger("neural_render")


class PhotoSource:
    """Rays through uniformly random pixels of all training photos, with their colours.

    Rows are fetched by ``index_select``, which is several times faster than indexing.

    Every pixel is equally likely, whatever the sizes of the photos; masked pixels, and those that
    their lens model cannot produce, never come. Tensors live where the capture's photos live.
    """

    def __init__(self, capture: Capture) -> None:
        """CaptureError if no pixel is left to learn from."""
        views = capture.train
        assert len(views.pixels), "the capture was opened without its images"
        self._capture = capture
        self._pixels = views.pixels
        self._offsets = views.offsets
        self._widths = views.cameras.width
        self._cameras = views.cameras.in_frame(capture.frame.world_from_field.inverse())
        self._directions = PixelDirections(self._cameras)
        # One row per view: the columns of its rotation, one after another, and its position.
        poses = self._cameras.world_from_camera
        self._axes = poses[:, :, :3].transpose(1, 2).reshape(-1, 9)
        self._origins = poses[:, :, 3].contiguous()
        # The size that all photos have, or (0, 0): then views are looked up instead of computed.
        sizes = torch.stack([views.cameras.width, views.cameras.height], dim=-1)
        self._size = sizes[0].tolist() if bool((sizes == sizes[0]).all()) else [0, 0]
        self._usable = _usable_pixels(views, self._directions)
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
    def num_channels(self) -> int:
        """Red, green and blue."""
        return 3

    @property
    def num_views(self) -> int:
        """The number of training photos."""
        return len(self._capture.train)

    @property
    def frame(self) -> SceneFrame:
        """The placement of the field in the capture's world."""
        return self._capture.frame

    @property
    def has_opacity(self) -> bool:
        """Whether some pixel of the photos is not opaque."""
        return self._capture.has_opacity

    @torch.no_grad()
    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        """Random pixels as field rays with straight sRGB colours and opacities, all of weight 1."""
        pieces = [self._shoot(pixel) for pixel in self._draw(num_rays, generator).split(PIECE)]
        columns = pieces[0] if len(pieces) == 1 else map(torch.cat, zip(*pieces, strict=True))
        origins, directions, footprint, values, view = columns
        ones = torch.ones_like(footprint)
        return RayBatch(
            rays=Rays(origins=origins, directions=directions, footprint=footprint),
            targets=values[:, :3].contiguous(),
            opacity=values[:, 3].contiguous() if values.shape[1] == 4 else ones,
            weights=ones,
            view=view,
        )

    def _shoot(self, pixel: Int[Tensor, " rays"]) -> tuple[Tensor, ...]:
        """Origins, unit directions, footprints, colours with alpha, and views of flat pixels."""
        view, column, row = self._locate(pixel)
        local, footprint = self._directions.look_up(view, column, row)
        axis_x, axis_y, axis_z = self._axes.index_select(0, view).split(3, dim=1)
        directions = axis_x * local[:, :1]
        directions.addcmul_(axis_y, local[:, 1:2]).addcmul_(axis_z, local[:, 2:])
        origins = self._origins.index_select(0, view)
        values = self._pixels.index_select(0, pixel).float().div_(255)
        return origins, directions, footprint.contiguous(), values, view

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

    def _locate(
        self, pixel: Int[Tensor, " rays"]
    ) -> tuple[Int[Tensor, " rays"], Int[Tensor, " rays"], Int[Tensor, " rays"]]:
        """View, column and row of flat pixel indices.

        Quotients are taken of doubles at half steps, which is exact here (nothing is nearer than
        half a pixel to a boundary) and several times faster than dividing 64-bit integers.
        """
        halfway = pixel.double() + 0.5
        width, height = self._size
        if width:
            line = (halfway / width).long()
            view = ((line.double() + 0.5) / height).long()
            return view, pixel - line * width, line - view * height
        view = torch.searchsorted(self._offsets, pixel, right=True) - 1
        start = self._offsets.index_select(0, view)
        widths = self._widths.index_select(0, view)
        row = ((halfway - start) / widths).long()
        return view, pixel - start - row * widths, row


def _usable_pixels(views: Views, directions: PixelDirections) -> UInt8[Tensor, " usable"]:
    """Nonzero where a pixel may be drawn; of no length where all may."""
    impossible = directions.impossible_pixels()
    if not impossible:
        return views.masks
    usable = views.masks.clone() if len(views.masks) else torch.full_like(views.pixels[:, 0], 255)
    for view, invalid in impossible.items():
        start = int(views.offsets[view])
        usable[start : start + len(invalid)][invalid] = 0
    first = min(impossible)
    _log.warning(
        "the lens of %d views (first %s) bends back before the image ends: %.2g %% of its pixels"
        " belong to no ray and are not used; check k1 to k4",
        len(impossible),
        views.names[first],
        100 * float(impossible[first].double().mean()),
    )
    return usable
