"""The ring of traced rays that two processes share, without locks.

Each light group has a ring of its own. The tracer writes blocks of a fixed number of rays, one
after another, over the oldest; the reader keeps off the block that may just be written, and the
next one. So a torn ray would need a reader that is slower than the tracing of a whole wavefront.
"""

import mmap
import os
import tempfile

import numpy as np
from jaxtyping import Bool, Float, Int

# Columns of a ray: origin, direction, radiance, distance of the first surface (0: none), place of
# the light that moves, normal of that surface (0: none); and of `bright_picks`.
ORIGIN, DIRECTION, RADIANCE = slice(0, 3), slice(3, 6), slice(6, 9)
DISTANCE, PLACE, NORMAL, COLUMNS = 9, slice(10, 13), slice(13, 16), 18
PICK, WEIGHT = 16, 17
KEPT_OFF = 2  # blocks
PICKS = 0.5  # of the rays that are drawn
BRIGHTEST = 16.0  # times the mean, beyond which rays are picked no more often
STOP, DRAWN, FRESH, COUNTS = 0, 1, 2, 3  # of the header; from COUNTS on, each group's blocks


def nameless_memory() -> int:
    """An open file of no bytes that lies in memory and has no name.

    Processes that inherit it share it, and it is gone with the last of them, however that ends.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create("rays")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Ring:
    """A view of an open file: who begins the ring empties the file again."""

    def __init__(
        self, groups: int, blocks: int, block: int, memory: int, *, begins: bool = True
    ) -> None:
        """A new ring in ``memory``, or the one that another process has begun there."""
        assert blocks > KEPT_OFF, "a ring is longer than what its reader keeps off"
        self.groups, self.blocks, self.block = groups, blocks, block
        header = 8 * (COUNTS + groups)
        size = header + 4 * groups * blocks * block * COLUMNS
        self._begins, self.memory = begins, memory
        if begins:
            os.ftruncate(memory, size)
        self._view = mmap.mmap(memory, size)
        self._header = np.ndarray((COUNTS + groups,), np.int64, self._view)
        shape = (groups, blocks * block, COLUMNS)
        self.rays = np.ndarray(shape, np.float32, self._view, offset=header)
        if begins:
            self._header[:] = 0

    @property
    def stopped(self) -> bool:
        """Whether the reader wants no more."""
        return bool(self._header[STOP])

    def stop(self) -> None:
        """Tells the tracer to end."""
        self._header[STOP] = 1

    @property
    def drawn(self) -> int:
        """Rays that were drawn so far."""
        return int(self._header[DRAWN])

    def count_drawn(self, rays: int) -> None:
        """Lets the tracer know how much is used."""
        self._header[DRAWN] += rays

    @property
    def fresh(self) -> int:
        """Rays that were traced so far."""
        return int(self._header[FRESH])

    @property
    def is_begun(self) -> bool:
        """Whether each group has a block."""
        return bool(self._header[COUNTS:].all())

    def most_wanting(self, shares: list[float]) -> int:
        """The group that has least of its share of all blocks."""
        written = self._header[COUNTS:].tolist()
        filled = [blocks / share for blocks, share in zip(written, shares, strict=True)]
        return filled.index(min(filled))

    def write(self, group: int, rays: Float[np.ndarray, "rays columns"]) -> None:
        """Puts one block in."""
        assert len(rays) == self.block, "blocks are of one size"
        place = int(self._header[COUNTS + group]) % self.blocks
        self.rays[group, place * self.block : (place + 1) * self.block] = rays
        self._header[COUNTS + group] += 1
        self._header[FRESH] += self.block

    def readable(self, group: int) -> tuple[int, int]:
        """The first ray that may be read and how many follow it, around the ring's end."""
        written = int(self._header[COUNTS + group])
        if written <= self.blocks - KEPT_OFF:
            return 0, written * self.block
        first = (written + KEPT_OFF) % self.blocks
        return first * self.block, (self.blocks - KEPT_OFF) * self.block

    def close(self) -> None:
        """Lets go of the memory; who began it gives it back, when nobody else looks any more."""
        del self._header, self.rays
        self._view.close()
        if self._begins:
            os.ftruncate(self.memory, 0)


def bright_picks(
    shining: Float[np.ndarray, " rays"], mean: float, start: float
) -> tuple[Int[np.ndarray, " rays"], Float[np.ndarray, " rays"]]:
    """Which ray of a block may stand in a ray's place, and how much each ray counts then.

    A lamp is a few pixels wide and a thousand times as bright as what it lights: of all rays, too
    few see it. `PICKS` of those that are drawn are picks, which come as often as what they meet
    shines itself, over the ``mean`` of all radiance, up to `BRIGHTEST` times; the weights make up
    for it, so that no expectation changes. By radiance, paths that are bright by chance would come
    again and again, and their noise be learnt. Picks are drawn systematically, from ``start`` in
    [0, 1) on.
    """
    rays = len(shining)
    often = np.clip(shining / mean, 1, BRIGHTEST) if mean > 0 else np.ones(rays)
    reached = np.cumsum(often)
    wanted = (np.arange(rays) + start) * (reached[-1] / rays)
    picks = np.minimum(np.searchsorted(reached, wanted, side="right"), rays - 1)
    return picks, 1 / (1 - PICKS + PICKS * often * rays / reached[-1])


def without_broken(rays: Float[np.ndarray, "rays columns"]) -> Bool[np.ndarray, " rays"]:
    """Puts others in the place of rays that see no finite radiance; all are dark if none does.

    Which ones that were.
    """
    broken = np.asarray(~np.isfinite(rays[:, RADIANCE]).all(axis=1))
    if broken.all():
        rays[:, RADIANCE] = 0.0
    elif broken.any():
        whole = np.flatnonzero(~broken)
        rays[broken] = rays[whole[np.arange(int(broken.sum())) % len(whole)]]
    return broken
