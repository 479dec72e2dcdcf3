"""Random rays through photos that do not fit into memory: windows of them, one after another.

A window is every s-th row and column of all photos (`Views.window`). Random pixels of a file that
is larger than memory would cost a read from the disk each; a window is read in one go, serves some
steps, and holds some pixels of every region of every photo, so that nothing else has to change.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from neural_render.captures.photos import OfCapture, PhotoSource
from neural_render.captures.pixel_directions import MAX_TABLE_BYTES
from neural_render.captures.records import Capture
from neural_render.core.rays import RayBatch
from neural_render.core.waiting.patience import told_if_slow

STEPS_PER_WINDOW = 256  # some seconds on a CPU: reading the next window meanwhile costs little


class StreamedPhotos(OfCapture):
    """Rays through random pixels of photos on disk, of a window that changes with the step.

    Every pixel comes equally often over the ``num_windows * STEPS_PER_WINDOW`` steps of a cycle;
    the windows of a cycle come in random order. Two windows are in memory: one that rays are drawn
    from, and the next, which a thread reads meanwhile. Which rays are drawn depends on the step and
    the arguments of ``sample`` alone.
    """

    def __init__(self, capture: Capture, max_table_bytes: int = MAX_TABLE_BYTES) -> None:
        """CaptureError if no pixel is left to learn from."""
        views = capture.train
        assert views.stride > 1, "photos in memory are drawn from by PhotoSource"
        super().__init__(capture)
        self._max_table_bytes = max_table_bytes
        self._reader = ThreadPoolExecutor(1, "windows")
        rows = len(views.pixels) // views.num_windows
        self._buffers = [torch.empty(rows, views.pixels.shape[1], dtype=torch.uint8) for _ in "ab"]
        self._place = 0
        self._current = self._read(0)
        self._coming: tuple[int, Future[PhotoSource]] | None = None
        self._region_sizes = self._current.region_sizes

    @property
    def region_sizes(self) -> Int[Tensor, " regions"]:
        """The number of usable pixels of each block in the first window: that in the others is the
        same where all may be drawn."""
        return self._region_sizes

    def turn_to(self, step: int) -> None:
        """Brings the window of ``step`` (from 1 on) into memory, and begins to read the next."""
        place = (step - 1) // STEPS_PER_WINDOW
        if place != self._place:
            if self._coming is None or self._coming[0] != place:
                self._finish_reading()
                self._coming = place, self._reader.submit(self._read, place)
            self._current = _result(self._coming[1])
            self._coming, self._place = None, place
        if self._coming is None:
            self._coming = place + 1, self._reader.submit(self._read, place + 1)

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        """Random pixels as field rays with straight sRGB colours and opacities, all of weight 1."""
        return self._current.sample(num_rays, generator)

    def sample_regions(
        self, num_rays: int, regions: Int[Tensor, " chosen"], generator: torch.Generator
    ) -> tuple[RayBatch, Int[Tensor, " rays"]]:
        """A random pixel of each region, then uniform ones, with the regions of them all.

        Uniform ones also stand for regions of which masks, or a lens, leave nothing in this window.
        """
        if self._current.hides_pixels:
            regions = regions[self._current.region_sizes.index_select(0, regions) > 0]
        return self._current.sample_regions(num_rays, regions, generator)

    def _read(self, place: int) -> PhotoSource:
        """The source of the window that comes at a place of the order; fills the place's buffer."""
        views = self._capture.train
        window = views.window(window_at(place, views.num_windows))
        pixels, device = self._buffers[place % 2], views.offsets.device
        np.copyto(pixels.numpy(), window.pixels.numpy())
        masks = window.masks.clone().to(device)
        window = replace(window, pixels=pixels.to(device), masks=masks)
        capture = replace(self._capture, train=window)
        return PhotoSource(capture, self._max_table_bytes, views.stride, warn=place == 0)

    def _finish_reading(self) -> None:
        """Waits for a window that is not wanted any more, whose buffer is needed."""
        if self._coming is not None:
            _result(self._coming[1])
            self._coming = None


@told_if_slow("preparing the rays of the photos")
def photo_source(capture: Capture, device: torch.device) -> PhotoSource | StreamedPhotos:
    """The source of a capture's rays on ``device``, wherever its photos are."""
    on_device = replace(capture, train=capture.train.to(device))
    build: Callable[[Capture], PhotoSource | StreamedPhotos]
    build = StreamedPhotos if capture.train.stride > 1 else PhotoSource
    return build(on_device)


def window_at(place: int, num_windows: int) -> int:
    """The window at a place of the order in which they come: each once in every cycle."""
    cycle, within = divmod(place, num_windows)
    generator = torch.Generator().manual_seed(cycle)
    return int(torch.randperm(num_windows, generator=generator)[within])


@told_if_slow("waiting for the disk that holds the decoded photos")
def _result(future: "Future[PhotoSource]") -> PhotoSource:
    """What a thread reads."""
    return future.result()
