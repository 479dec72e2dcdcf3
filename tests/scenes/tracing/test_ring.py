"""The ring of rays: what its reader may see while a writer, here or elsewhere, goes around."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from neural_render.scenes.tracing.ring import (
    BRIGHTEST,
    COLUMNS,
    KEPT_OFF,
    RADIANCE,
    Ring,
    bright_picks,
    nameless_memory,
    without_broken,
)

BLOCKS, BLOCK = 5, 4
REPOSITORY = Path(__file__).resolve().parents[3]
OTHER = """
import sys
import numpy as np
from neural_render.scenes.tracing.ring import COLUMNS, Ring

ring = Ring(2, 5, 4, int(sys.argv[1]), begins=False)
for _ in range(3):
    ring.write(1, np.full((4, COLUMNS), 7, np.float32))
ring.count_drawn(5)
ring.close()
"""


@pytest.fixture
def memory() -> Iterator[int]:
    """Memory for rings."""
    file = nameless_memory()
    yield file
    os.close(file)


@pytest.fixture
def ring(memory: int) -> Iterator[Ring]:
    """A ring of two groups."""
    with closing(Ring(2, BLOCKS, BLOCK, memory)) as made:
        yield made


def block(value: float) -> np.ndarray:
    return np.full((BLOCK, COLUMNS), value, np.float32)


def readable(ring: Ring, group: int) -> list[float]:
    """The values of the blocks that may be read, the oldest first."""
    first, count = ring.readable(group)
    index = (first + np.arange(count)) % ring.rays.shape[1]
    return ring.rays[group, index, 0].reshape(-1, BLOCK)[:, 0].tolist()


def test_a_ring_is_begun_when_each_group_is(ring: Ring) -> None:
    for group, begun in ((1, False), (1, False), (0, True)):
        ring.write(group, block(1))
        assert ring.is_begun is begun


def test_a_new_ring_is_empty(ring: Ring) -> None:
    assert readable(ring, 0) == readable(ring, 1) == []
    assert (ring.fresh, ring.drawn, ring.stopped) == (0, 0, False)


def test_the_reader_keeps_off_what_may_be_written_next(ring: Ring) -> None:
    """Twice around the end: always the newest blocks but for those that are overwritten next."""
    for number in range(1, 3 * BLOCKS):
        ring.write(1, block(number))
        kept = range(max(1, number - (BLOCKS - KEPT_OFF) + 1), number + 1)
        assert readable(ring, 1) == list(kept)
        # The next two blocks land on nothing that may be read now.
        before = readable(ring, 1)
        first, count = ring.readable(1)
        index = (first + np.arange(count)) % ring.rays.shape[1]
        places = {(number + step) % BLOCKS for step in range(KEPT_OFF)}
        assert places.isdisjoint((index // BLOCK).tolist())
        assert readable(ring, 1) == before
    assert readable(ring, 0) == []
    assert ring.fresh == BLOCK * (3 * BLOCKS - 1)


def test_another_process_sees_the_same_memory_and_leaves_it(ring: Ring) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OTHER, str(ring.memory)],
        cwd=REPOSITORY,
        pass_fds=(ring.memory,),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert readable(ring, 1) == [7, 7, 7]
    assert (ring.fresh, ring.drawn) == (12, 5)
    assert os.fstat(ring.memory).st_size > 0


def test_drawn_rays_are_counted_and_the_tracer_is_stopped(ring: Ring) -> None:
    ring.count_drawn(100)
    ring.count_drawn(28)
    ring.stop()
    assert ring.drawn == 128 and ring.stopped


def test_closing_gives_the_memory_back_and_the_next_ring_is_empty(memory: int) -> None:
    made = Ring(1, BLOCKS, BLOCK, memory)
    made.write(0, block(1))
    made.close()
    assert os.fstat(memory).st_size == 0
    with closing(Ring(1, BLOCKS, BLOCK, memory)) as again:
        assert again.fresh == 0 and not again.rays.any()


def test_the_memory_has_no_name(memory: int) -> None:
    """What has none cannot be left behind, whatever kills the processes that share it."""
    assert os.fstat(memory).st_nlink == 0


def test_rays_that_see_no_number_are_replaced() -> None:
    """A path tracer gives NaN now and then: one such ray would end a training."""
    rays = np.arange(4 * COLUMNS, dtype=np.float32).reshape(4, COLUMNS)
    rays[1, RADIANCE], rays[3, 7] = np.nan, np.inf
    expected = rays[[0, 0, 2, 2]]
    without_broken(rays)
    assert np.array_equal(rays, expected)
    rays[:, RADIANCE] = np.nan
    without_broken(rays)
    assert not rays[:, RADIANCE].any()


@pytest.mark.parametrize("mean", [0.0, 0.1, 1.0, 1e9])
def test_bright_rays_come_more_often_and_count_for_less(mean: float) -> None:
    """So that no mean changes: half of what is drawn are picks, the others all alike."""
    luminance = np.random.default_rng(0).exponential(size=200) ** 3
    luminance[7] = 1e6  # a lamp
    starts = (np.arange(100) + 0.5) / 100
    picked = np.zeros(200)
    for start in starts:
        picks, weights = bright_picks(luminance, mean, start)
        picked += np.bincount(picks, minlength=200) / len(starts)
    often = (1 + picked) / 2
    assert picked.sum() == pytest.approx(200)
    assert np.allclose(often * weights, 1, atol=0.02)
    brightest = BRIGHTEST if mean and luminance[7] > BRIGHTEST * mean else 1
    assert picked[7] / picked.min() == pytest.approx(brightest, rel=0.05)


def test_each_group_is_filled_by_its_share(ring: Ring) -> None:
    order = []
    for _ in range(8):
        order.append(ring.most_wanting([0.75, 0.25]))
        ring.write(order[-1], block(0))
    assert order[:2] == [0, 1]  # neither waits for long
    assert order.count(0) == 6
