"""Which rows count, how entries are rounded, and that bits follow the loss that is allowed."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from neural_render.kernels.cells import NUM_CELLS, unpack_bits
from neural_render.kernels.ops import occupancy_points
from neural_render.kernels.reference.encoding import corners
from neural_render.kernels.specs import HashGridSpec
from neural_render.rendering import OccupancyGrid
from neural_render.training.packages.quantising import live_rows as rows
from neural_render.training.packages.quantising.choosing import TableChooser
from neural_render.training.packages.quantising.live_rows import live_rows
from neural_render.training.packages.quantising.rounding import quantised, smallest_step
from neural_render.training.packages.quantising.witness import LONGEST_SIDE, Witness, smaller
from tests.training.packages.balls import cameras_around
from tests.training.problems import CPU


@pytest.fixture(scope="module")
def witness(ball):
    return Witness(ball.scene, cameras_around(3), "white")


@pytest.mark.parametrize("hash_name", ["linear", "xor"])
@pytest.mark.parametrize("cascades", [1, 2])
def test_no_row_that_is_read_is_left_out(hash_name, cascades):
    """The corners around random points of occupied cells."""
    grid = HashGridSpec(levels=4, log2_rows=12, coarsest=8, finest=200, hash=hash_name)
    occupancy = OccupancyGrid(cascades, CPU)
    empty = torch.ones(cascades, NUM_CELLS, dtype=torch.bool)
    occupied = torch.randperm(cascades * NUM_CELLS, generator=torch.Generator().manual_seed(0))[:40]
    empty.view(-1)[occupied] = False
    occupancy.mark_empty(empty)
    occupied = unpack_bits(occupancy.bits).view(-1).nonzero()[:, 0]
    assert len(occupied) > 20
    points = torch.cat([occupancy_points(occupied, cascades, 5, 100 * i) for i in range(50)])
    live = live_rows(grid, occupancy)
    assert [len(mask) for mask in live] == [level.rows for level in grid.level_layout()]
    for level, mask in zip(grid.level_layout(), live, strict=True):
        found, _ = corners(points, level, grid)
        assert bool(mask[found - level.offset].all())
    assert float(live[1].float().mean()) < 0.9


def test_where_walking_would_take_long_all_rows_count(ball, monkeypatch):
    monkeypatch.setattr(rows, "MOST_LOOKUPS", 10)
    live = live_rows(ball.scene.field.spec.grid, ball.scene.renderer.occupancy)
    assert all(bool(mask.all()) for mask in live)


def test_rows_that_are_not_live_change_no_picture(ball, witness):
    live = torch.cat(live_rows(ball.scene.field.spec.grid, ball.scene.renderer.occupancy))
    assert 0.05 < float(live.float().mean()) < 0.95
    field = copy.deepcopy(ball.scene.field)
    field.table[~live] = 7.0
    assert witness.error(replace(ball.scene, field=field)) == 0.0


def test_rounding_saves_bits_and_stays_within_a_step():
    entries = np.random.default_rng(0).laplace(size=(5000, 2)).astype(np.float32)
    live = np.arange(5000) % 3 > 0
    numbers = quantised(entries, live, 0.5)
    assert not numbers[~live].any()
    assert np.abs(numbers[live] * 0.5 - entries[live]).max() <= 0.5 + 0.25 + 1e-6
    nearest = np.rint(entries[live] / 0.5)
    assert np.mean(numbers[live] == 0) > np.mean(nearest == 0)
    assert np.abs(quantised(entries, live, smallest_step(entries))).max() <= 32767


def test_one_level_shows_more_than_another_and_gets_more_bits(ball, witness):
    chooser = TableChooser(ball.scene, witness)
    fine, coarse = (chooser.chosen(allowed) for allowed in (1e-6, 1e-4))
    assert 0 < fine.error <= 1e-6
    assert 2e-5 < coarse.error <= 1e-4
    assert all(f < c for f, c in zip(fine.steps, coarse.steps, strict=True))
    shown = fine.shown_by(ball.scene)
    assert witness.error(shown) == pytest.approx(fine.error)
    assert shown.field.table.shape == ball.scene.field.table.shape


def test_a_single_view_is_enough(ball, witness):
    alone = Witness(ball.scene, cameras_around(1), "white")
    field = copy.deepcopy(ball.scene.field)
    field.table += 0.1
    changed = replace(ball.scene, field=field)
    assert 0 < alone.error(changed, 2) == alone.error(changed)
    assert witness.error(changed, 1) == pytest.approx(alone.error(changed))


def test_a_table_that_shows_nothing_takes_no_bits(ball, witness):
    empty = replace(ball.scene, field=copy.deepcopy(ball.scene.field))
    empty.field.table.zero_()
    table = TableChooser(empty, Witness(empty, cameras_around(2), "white")).chosen(1e-6)
    assert not any(numbers.any() for numbers in table.numbers)
    assert table.error == 0


def test_large_views_are_looked_at_smaller(ball):
    huge = cameras_around(1).resized(100_000, 50_000)
    small = smaller(huge)
    assert (int(small.width), int(small.height)) == (LONGEST_SIDE, LONGEST_SIDE // 2)
    assert torch.allclose(small.focal_px / small.width, huge.focal_px / huge.width)


def test_each_light_is_looked_at_alone(lit):
    """A light that is out in the file is still kept as it may be dialled up."""
    seen = Witness(lit.scene, cameras_around(2), "black")
    field = copy.deepcopy(lit.scene.field)
    field.color_weights[-32 * 3 :] += 0.5  # the last light's channels
    assert seen.error(replace(lit.scene, field=field)) > 1e-6
