"""Layouts in numbers: hash grids, networks, Morton order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_render.kernels.morton import morton_decode, morton_encode
from neural_render.kernels.specs import FieldSpec, HashGridSpec, MlpSpec


def test_xor_layout_is_that_of_instant_ngp() -> None:
    """The numbers that Instant-NGP prints for its classic grid: 12,196,240 parameters in all."""
    spec = HashGridSpec(hash="xor", levels=16, log2_rows=19, coarsest=16, finest=2048)
    layout = spec.level_layout()
    assert [level.resolution for level in layout[:6]] == [16, 23, 31, 43, 59, 81]
    assert [level.rows for level in layout[:6]] == [4096, 12168, 29792, 79512, 205384, 1 << 19]
    assert [level.offset for level in layout[:6]] == [0, 4096, 16264, 46056, 125568, 330952]
    assert [level.dense for level in layout] == [True] * 5 + [False] * 11
    assert spec.num_rows * spec.features == 12_196_240
    assert layout[0].scale == 15.0


def test_linear_layout_holds_every_lattice_point_of_dense_levels() -> None:
    """One more lattice point per axis than ``xor``, rows neither padded nor wrapped."""
    spec = HashGridSpec(hash="linear", levels=16, log2_rows=19, coarsest=16, finest=2048)
    layout = spec.level_layout()
    assert [level.resolution for level in layout[:6]] == [17, 24, 32, 44, 60, 82]
    assert [level.rows for level in layout[:6]] == [4913, 13824, 32768, 85184, 216000, 1 << 19]
    assert [level.offset for level in layout[:4]] == [0, 4913, 18737, 51505]
    assert all(level.rows == 1 << 19 for level in layout[5:])


@pytest.mark.parametrize("finest", [512, 1024, 2048, 4096])
def test_scales_that_double_stay_integers(finest: int) -> None:
    """A growth of exactly 2 must not become 2.0000000000000004, which would add a lattice point."""
    levels = (finest // 16).bit_length()
    layout = HashGridSpec(hash="xor", levels=levels, finest=finest).level_layout()
    assert [level.resolution for level in layout] == [16 << level for level in range(levels)]


def test_scales_round_as_tiny_cuda_nn_rounds() -> None:
    """In float32 the fourth of 16 levels up to 512 has scale 31.000004, so 33 lattice points."""
    layout = HashGridSpec(hash="xor", levels=16, coarsest=16, finest=512).level_layout()
    assert layout[3].scale == 31.000003814697266
    assert layout[3].resolution == 33


def test_two_and_four_dimensions() -> None:
    """Levels stay dense while ``resolution ** dims`` fits."""
    flat = HashGridSpec(dims=2, levels=2, log2_rows=10, coarsest=16, finest=64, hash="xor")
    assert [(level.rows, level.dense) for level in flat.level_layout()] == [
        (256, True),
        (1024, False),
    ]
    moving = HashGridSpec(dims=4, levels=2, log2_rows=16, coarsest=8, finest=64, hash="xor")
    assert [(level.rows, level.dense) for level in moving.level_layout()] == [
        (4096, True),
        (65536, False),
    ]


def test_one_level() -> None:
    """A single level is the coarsest."""
    (level,) = HashGridSpec(levels=1, coarsest=16, finest=2048).level_layout()
    assert (level.scale, level.rows) == (15.0, 17**3)


def test_network_shapes() -> None:
    """Instant-NGP's field: 32 -> 64 -> 16 and 16 + 16 -> 64 -> 64 -> 3."""
    spec = FieldSpec(grid=HashGridSpec())
    assert spec.density_network.layer_shapes == ((64, 32), (16, 64))
    assert spec.color_network.layer_shapes == ((64, 32), (64, 64), (3, 64))
    assert spec.color_network.num_weights == 64 * 32 + 64 * 64 + 3 * 64
    assert MlpSpec(inputs=7, width=9, hidden_layers=0, outputs=2).layer_shapes == ((2, 7),)


def test_first_cells_in_morton_order() -> None:
    """x is the lowest bit, then y, then z."""
    cells = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [2, 0, 0]])
    assert morton_encode(cells).tolist() == [0, 1, 2, 3, 4, 8]
    assert morton_encode(torch.tensor([[127, 127, 127]])).item() == 128**3 - 1


def test_morton_order_of_no_cells() -> None:
    """Empty in, empty out."""
    assert morton_encode(torch.zeros(0, 3, dtype=torch.int64)).shape == (0,)
    assert morton_decode(torch.zeros(0, dtype=torch.int64)).shape == (0, 3)


def test_morton_round_trip_of_a_whole_grid() -> None:
    """Every code of 128^3 cells comes back, as int32 also."""
    codes = torch.arange(128**3, dtype=torch.int32)
    assert torch.equal(morton_encode(morton_decode(codes)), codes.long())


@given(st.tuples(*[st.integers(0, 1023)] * 3))
def test_bits_take_turns_in_morton_order(cell: tuple[int, int, int]) -> None:
    """Bit i of axis a is bit 3 i + a of the code."""
    expected = sum(
        (value >> bit & 1) << 3 * bit + axis for axis, value in enumerate(cell) for bit in range(10)
    )
    assert morton_encode(torch.tensor([cell])).item() == expected
