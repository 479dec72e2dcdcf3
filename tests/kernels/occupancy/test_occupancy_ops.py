"""The occupancy grid's upkeep: every backend against the reference, exactly, and closed forms."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch, ops
from neural_render.kernels.cells import NUM_CELLS, ROW, count_bits, pack_bits, unpack_bits
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.records import OccupancyState
from neural_render.kernels.specs import OccupancySpec
from tests.kernels.comparison import on_both
from tests.kernels.problems import generator
from tests.kernels.tolerances import CLOSED_FORM, assert_close


def random_state(cascades: int) -> OccupancyState:
    """Values of which a third is unseen, and other bits than follow from them."""
    return copied(_random_state(cascades))


@cache
def _random_state(cascades: int) -> OccupancyState:
    values = torch.rand((cascades, NUM_CELLS), generator=generator(1)) - 0.33
    values[values < 0] = -1.0
    occupied = torch.rand((cascades, NUM_CELLS), generator=generator(2)) < 0.05
    occupied[0, : NUM_CELLS // 2] = False
    return OccupancyState(
        values=values,
        bits=pack_bits(occupied & (values >= 0)),
        rows=torch.full((cascades, NUM_CELLS // ROW, 2), torch.nan, dtype=torch.float64),
        limits=torch.full((cascades,), torch.nan),
    )


def copied(state: OccupancyState) -> OccupancyState:
    return OccupancyState(**{name: tensor.clone() for name, tensor in vars(state).items()})


def spec_of(cascades: int, threshold: float = 0.5) -> OccupancySpec:
    lengths = tuple(1e-3 * 1.7**cascade for cascade in range(cascades))
    return OccupancySpec(step_lengths=lengths, threshold=threshold, decay=0.75)


def random_density(cells: Tensor, seed: int) -> Tensor:
    """Some of it is infinite, some is not a number."""
    density = torch.rand(len(cells), generator=generator(seed)) * 1500
    density[::1001], density[1::1003] = torch.inf, torch.nan
    return density


@pytest.mark.parametrize("cascades", [1, 3])
@pytest.mark.parametrize(
    ("stripe", "num_stripes", "num_occupied", "start"),
    [
        (5, 32, 1000, 0.37),
        (31, 32, 65536, 0.0),
        (0, 32, 1 << 23, 0.5),  # more than there are
        (0, 1, 0, 0.0),
        (2, 7, 1, 0.999999),
        (8191, 1 << 20, 3, 0.1),
        (1 << 19, 1 << 20, 0, 0.0),  # none
    ],
)
def test_cells(
    backend: str, cascades: int, stripe: int, num_stripes: int, num_occupied: int, start: float
) -> None:
    state = random_state(cascades)

    def compute() -> dict[str, Tensor]:
        return {"cells": ops.occupancy_cells(state, stripe, num_stripes, num_occupied, start)}

    actual, expected = on_both(backend, compute)
    assert torch.equal(actual["cells"], expected["cells"])


def test_no_cells_where_nothing_is_occupied(backend: str) -> None:
    state = random_state(1)
    state.bits.zero_()
    state.values.fill_(-1.0)
    with dispatch.using(backend):
        assert len(ops.occupancy_cells(state, 0, 1, 100, 0.5)) == 0


@pytest.mark.parametrize("cascades", [1, 4])
@pytest.mark.parametrize("num_cells", [0, 1, 3, 9999])
def test_points(backend: str, cascades: int, num_cells: int) -> None:
    limit = cascades * NUM_CELLS
    cells = torch.randint(limit, (num_cells,), generator=generator(0))
    cells[-1:] = limit - 1
    for key in (0, 1 << 63, (1 << 64) - 1):
        actual, expected = on_both(
            backend, lambda key=key: {"points": ops.occupancy_points(cells, cascades, key, 7)}
        )
        assert torch.equal(actual["points"], expected["points"])


@pytest.mark.parametrize("name", list(dispatch.BACKENDS))
def test_points_lie_in_their_cells_evenly(name: str) -> None:
    if reason := dispatch.unavailable_reason(name):
        pytest.skip(reason)
    cells = torch.arange(2 * NUM_CELLS)[:: ROW // 8]
    with dispatch.using(name):
        points = ops.occupancy_points(cells, 2, 12345)
        parts = [ops.occupancy_points(cells[a : a + 5000], 2, 12345, a) for a in (0, 5000)]
    assert torch.equal(torch.cat(parts), points[:10000])  # as a whole or in parts
    sides = torch.tensor([0.5, 1.0])[cells // NUM_CELLS, None]
    inside = ((points - 0.5) / sides + 0.5) * 128 - morton_decode(cells % NUM_CELLS)
    assert inside.min() >= 0 and inside.max() <= 1
    # Means and products of uniform numbers, within five standard deviations.
    deviations = 5 * len(cells) ** -0.5
    assert ((inside.mean(dim=0) - 0.5).abs() < deviations * 12**-0.5).all()
    covariances = torch.cov(inside.T) - torch.eye(3) / 12
    assert (covariances.abs() < deviations / 12).all()


@pytest.mark.parametrize("cascades", [1, 3])
@pytest.mark.parametrize("threshold", [0.5, 1e9], ids=["threshold", "mean"])
def test_updates(backend: str, cascades: int, threshold: float) -> None:
    """One after the other: a backend may leave alone what an update does not change."""
    start, spec = random_state(cascades), spec_of(cascades, threshold)

    def compute() -> dict[str, Tensor]:
        state, found = copied(start), {}
        for seed in range(4):
            cells = ops.occupancy_cells(state, seed, 32, 5000, 0.3)
            density = random_density(cells, seed)
            if threshold > 1:
                density = density.nan_to_num(posinf=0)
            ops.occupancy_update(state, cells, density, replace(spec, decay=0.5 + seed / 8))
            found |= {f"{name} {seed}": tensor.clone() for name, tensor in vars(state).items()}
        return found

    actual, expected = on_both(backend, compute)
    for name, value in expected.items():
        if name.startswith("rows"):
            finite = value.isfinite()
            assert torch.equal(finite, actual[name].isfinite())
            tolerance = CLOSED_FORM[torch.float64]
            assert_close(actual[name][finite], value[finite], tolerance, name)
        else:
            assert torch.equal(actual[name], value), name


def test_an_update_of_no_cells_brings_the_rest_up_to_date(backend: str) -> None:
    def compute() -> dict[str, Tensor]:
        state = random_state(2)
        ops.occupancy_update(state, torch.empty(0, dtype=torch.int64), torch.empty(0), spec_of(2))
        return vars(state)

    actual, expected = on_both(backend, compute)
    assert torch.equal(actual["values"], expected["values"])
    assert torch.equal(actual["bits"], expected["bits"])


@pytest.mark.parametrize("name", list(dispatch.BACKENDS))
def test_a_cell_that_comes_twice_decays_once(name: str) -> None:
    if reason := dispatch.unavailable_reason(name):
        pytest.skip(reason)
    state, spec = random_state(1), spec_of(1)
    state.values[0, :3] = 1.0
    cells, density = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([100.0, 200, 800, 900, torch.nan])
    with dispatch.using(name):
        ops.occupancy_update(state, cells, density, spec)
    torch.testing.assert_close(state.values[0, :3], torch.tensor([0.75, 0.9, 0.75]))


def test_the_same_on_any_number_of_threads(backend: str) -> None:
    found = []
    module = dispatch.load(backend)
    try:
        for threads in (1, 2, 5):
            module.set_threads(threads)
            state = random_state(2)
            with dispatch.using(backend):
                cells = ops.occupancy_cells(state, 3, 32, 70000, 0.3)
                points = ops.occupancy_points(cells, 2, 5)
                ops.occupancy_update(state, cells, 900 * points[:, 0].contiguous(), spec_of(2))
            found.append((cells, points, *vars(state).values()))
    finally:
        module.set_threads(dispatch.usable_cores())
    for tensors in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(tensors, found[0], strict=True))


def test_the_cpu_backend_refuses_cells_that_do_not_ascend_or_do_not_exist() -> None:
    if reason := dispatch.unavailable_reason("cpu"):
        pytest.skip(reason)
    state, spec = random_state(1), spec_of(1)
    with dispatch.using("cpu"):
        for cells in ([5, 4], [-1, 4], [4, NUM_CELLS], [4, NUM_CELLS + 9, 7]):
            with pytest.raises(KernelError, match=r"must ascend and lie in \[0, 2097152\)"):
                ops.occupancy_update(state, torch.tensor(cells), torch.zeros(len(cells)), spec)
        for cell in (-1, NUM_CELLS):
            with pytest.raises(KernelError, match=r"a cell lies outside \[0, 2097152\)"):
                ops.occupancy_points(torch.tensor([cell]), 1, 0)
        with pytest.raises(KernelError, match=r"cells are torch\.int32"):
            ops.occupancy_points(torch.tensor([1], dtype=torch.int32), 1, 0)


def test_the_cpu_backend_refuses_a_grid_of_another_kind() -> None:
    if reason := dispatch.unavailable_reason("cpu"):
        pytest.skip(reason)
    state, cells = random_state(1), torch.tensor([1])
    with dispatch.using("cpu"):
        with pytest.raises(KernelError, match="2 step lengths were given for 1 cascades"):
            ops.occupancy_update(state, cells, torch.zeros(1), spec_of(2))
        double = replace(state, values=state.values.double())
        with pytest.raises(KernelError, match=r"occupancy is torch\.float64 of shape .* wanted"):
            ops.occupancy_update(double, cells, torch.zeros(1), spec_of(1))
        with pytest.raises(KernelError, match=r"density has shape \(2,\), but \(1,\) was wanted"):
            dispatch.load("cpu").occupancy_update(state, cells, torch.zeros(2), spec_of(1))


def test_bits_are_counted_in_every_byte() -> None:
    packed = torch.arange(256, dtype=torch.uint8).view(2, 128)
    assert count_bits(packed) == int(unpack_bits(packed).sum()) == 256 * 4
    for byte in (0, 1, 127, 128, 254, 255):
        assert count_bits(torch.tensor([[byte]], dtype=torch.uint8)) == byte.bit_count()
    full = torch.full((5, NUM_CELLS // 8), 255, dtype=torch.uint8)
    assert count_bits(full) == 5 * NUM_CELLS
