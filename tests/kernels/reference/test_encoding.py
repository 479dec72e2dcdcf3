"""Hash-grid features: where they lie in the table, closed forms, gradients."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from neural_render.core.errors import KernelError
from neural_render.kernels import ops
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.reference.encoding import scatter_table_gradient, table_rows
from neural_render.kernels.specs import GridLevel, HashGridSpec
from tests.kernels.problems import generator, points_away_from_borders, small_grid
from tests.kernels.tolerances import CLOSED_FORM, assert_close

P1, P2, P3 = 2654435761, 805459861, 3674653429


def level_of(spec: HashGridSpec, rows: int, resolution: int = 1000) -> GridLevel:
    """A hashed level with so many rows, at the start of the table."""
    return GridLevel(scale=1.0, resolution=resolution, offset=0, rows=rows, dense=False)


@pytest.mark.parametrize(
    ("hash", "rows", "row"),
    [
        ("xor", 1 << 14, 2061),
        ("xor", 1 << 19, 280589),
        ("linear", 1 << 14, 11571),
        ("linear", 1 << 19, 44339),
    ],
)
def test_hashed_rows_by_hand(hash: str, rows: int, row: int) -> None:
    """Cell (7, 11, 13), worked out in 32-bit integers outside of this project."""
    spec = HashGridSpec(hash=hash)
    assert table_rows(torch.tensor([7, 11, 13]), level_of(spec, rows), spec).item() == row


def test_hashed_rows_in_four_dimensions_by_hand() -> None:
    """Time has its own multiplier."""
    for hash, row in (("xor", 210), ("linear", 13842)):
        spec = HashGridSpec(hash=hash, dims=4)
        cell = torch.tensor([7, 11, 13, 3])
        assert table_rows(cell, level_of(spec, 1 << 14), spec).item() == row


@pytest.mark.parametrize("hash", ["xor", "linear"])
@pytest.mark.parametrize("dims", [2, 3, 4])
def test_rows_level_by_level(hash: str, dims: int) -> None:
    """Every lattice point that a point in the cube can touch, against plain Python integers."""
    spec = small_grid(hash=hash, dims=dims)
    for level in spec.level_layout():
        last = math.floor(level.scale + 0.5) + 1
        lattice = torch.randint(0, last + 1, (300, dims), generator=generator(0))
        lattice = torch.cat([lattice, torch.tensor([[0] * dims, [last] * dims])])
        expected = []
        for cell in lattice.tolist():
            if level.dense:
                row = sum(x * level.resolution**axis for axis, x in enumerate(cell))
                assert hash == "xor" or row < level.rows, "linear never wraps a dense level"
            elif hash == "xor":
                row = 0
                for x, prime in zip(cell, (1, P1, P2, P3)[:dims], strict=True):
                    row ^= x * prime % 2**32
            else:
                row = sum(x * p for x, p in zip(cell, (1, P1, P2, P3)[:dims], strict=True))
            expected.append(level.offset + row % 2**32 % level.rows)
        assert table_rows(lattice, level, spec).tolist() == expected


def test_dense_linear_levels_give_each_lattice_point_its_own_row() -> None:
    """And xor's fill theirs too, but for the layer past the end, which wraps."""
    for hash in ("linear", "xor"):
        spec = small_grid(hash=hash)
        level = spec.level_layout()[0]
        axis = torch.arange(level.resolution)
        lattice = torch.cartesian_prod(axis, axis, axis)
        rows = table_rows(lattice, level, spec)
        assert rows.unique().numel() == level.resolution**3
        assert math.floor(level.scale + 0.5) + 1 == level.resolution - (hash == "linear")


def test_linear_neighbours_in_x_are_neighbours_in_memory() -> None:
    """The right corner is ``(left + 1) mod rows``."""
    spec = small_grid(hash="linear")
    level = spec.level_layout()[-1]
    left = torch.randint(0, 61, (500, 3), generator=generator(0))
    right = left + torch.tensor([1, 0, 0])
    rows = table_rows(left, level, spec) - level.offset
    assert torch.equal(table_rows(right, level, spec), (rows + 1) % level.rows + level.offset)


@pytest.mark.parametrize("log2_rows", [17, 18, 19])
def test_linear_has_no_close_collisions(log2_rows: int) -> None:
    """Two cells that share a row are at least 39 cells apart."""
    rows, reach = 1 << log2_rows, torch.arange(-45, 46)
    _, multiplier_y, multiplier_z = (1, *HashGridSpec().multipliers[:2])
    y, z = torch.meshgrid(reach, reach, indexing="ij")
    x = (y * multiplier_y + z * multiplier_z) % rows
    x = torch.minimum(x, rows - x)
    distance = (x * x + y * y + z * z).double().sqrt()
    assert distance[(y != 0) | (z != 0)].min() > 39.0


def test_a_lattice_point_has_the_features_of_its_row() -> None:
    """Lattice point i of a level lies at ``(i - 0.5) / scale``."""
    for hash in ("xor", "linear"):
        spec = small_grid(hash=hash, levels=1, coarsest=8)
        (level,) = spec.level_layout()
        table = torch.rand(spec.num_rows, 2, generator=generator(0), dtype=torch.float64)
        cell = torch.tensor([[3, 5, 2], [1, 1, 7]])
        points = (cell.double() - 0.5) / level.scale
        row = cell[:, 0] + level.resolution * cell[:, 1] + level.resolution**2 * cell[:, 2]
        assert_close(ops.hash_encode(points, table, spec), table[row], CLOSED_FORM[torch.float64])


@pytest.mark.parametrize("dims", [2, 3, 4])
def test_affine_tables_give_affine_features(dims: int) -> None:
    """Multilinear interpolation reproduces ``a . lattice + b`` exactly, up to the cube's faces."""
    spec = HashGridSpec(dims=dims, levels=1, features=1, log2_rows=16, coarsest=9, hash="linear")
    (level,) = spec.level_layout()
    slope = torch.tensor([0.3, -1.2, 2.5, 0.7], dtype=torch.float64)[:dims]
    axes = [torch.arange(level.resolution)] * dims
    # The last axis of cartesian_prod runs fastest; x shall.
    lattice = torch.cartesian_prod(*axes).flip(-1).double()
    points = torch.rand(200, dims, generator=generator(1), dtype=torch.float64)
    points = torch.cat([points, points.new_zeros(1, dims), points.new_ones(1, dims)])
    features = ops.hash_encode(points, (lattice @ slope + 4.0)[:, None], spec)
    expected = (points * level.scale + 0.5) @ slope + 4.0
    assert_close(features[:, 0], expected, CLOSED_FORM[torch.float64])


def test_levels_stand_one_after_another() -> None:
    """Feature ``level * features + feature`` comes from that level's rows alone."""
    spec = small_grid()
    points = torch.rand(20, 3, generator=generator(2), dtype=torch.float64)
    for number, level in enumerate(spec.level_layout()):
        table = torch.zeros(spec.num_rows, 2, dtype=torch.float64)
        table[level.offset : level.offset + level.rows] = torch.tensor([2.0, 3.0]).double()
        features = ops.hash_encode(points, table, spec)
        expected = torch.zeros_like(features)
        expected[:, 2 * number : 2 * number + 2] = torch.tensor([2.0, 3.0])
        assert_close(features, expected, CLOSED_FORM[torch.float64])


def test_footprints_fade_fine_levels() -> None:
    """``erf(1 / (sqrt(8) sigma N))``: one cell wide, erf(0.3536) = 0.3829 is left."""
    spec = small_grid()
    points = torch.rand(4, 3, generator=generator(3), dtype=torch.float64)
    table = torch.ones(spec.num_rows, 2, dtype=torch.float64)
    scale = spec.level_layout()[-1].scale
    footprint = torch.tensor([0.0, 1e-9, 1 / scale, 1.0], dtype=torch.float64)
    features = ops.hash_encode(points, table, spec, footprint)
    assert torch.equal(features[0], ops.hash_encode(points, table, spec)[0])
    assert features[1].min() == 1.0
    assert features[2, -1].item() == pytest.approx(0.38292492254802624, rel=1e-12)
    weights = [math.erf(1 / (math.sqrt(8) * level.scale)) for level in spec.level_layout()]
    assert features[3, ::2].tolist() == pytest.approx(weights, rel=1e-12)


@pytest.mark.parametrize("hash", ["xor", "linear"])
@pytest.mark.parametrize("dims", [2, 3, 4])
def test_gradients(hash: str, dims: int) -> None:
    """To points and table, against finite differences."""
    spec = small_grid(hash=hash, dims=dims, levels=3, log2_rows=6, coarsest=3, finest=9)
    points = points_away_from_borders(5, spec, torch.float64).requires_grad_()
    table = torch.rand(spec.num_rows, 2, generator=generator(1), dtype=torch.float64)
    footprint = torch.tensor([0.0, 0.01, 0.1, 1.0, 0.0]).double()

    def encode(points: Tensor, table: Tensor) -> Tensor:
        return ops.hash_encode(points, table, spec, footprint)

    assert gradcheck(encode, (points, table.requires_grad_()), fast_mode=True)


@pytest.mark.parametrize("hash", ["xor", "linear"])
@pytest.mark.parametrize("num_samples", [0, 1, 50])
def test_scattering_a_factored_gradient_is_the_dense_gradient(hash: str, num_samples: int) -> None:
    """The factored form holds the features' gradients row by row of [level_features samples]."""
    spec = small_grid(hash=hash)
    points = torch.rand(num_samples, 3, generator=generator(1), dtype=torch.float64)
    table = torch.zeros(spec.num_rows, 2, dtype=torch.float64).requires_grad_()
    features = ops.hash_encode(points, table, spec)
    gradient = torch.randn(features.shape, generator=generator(2), dtype=torch.float64)
    features.backward(gradient)
    assert table.grad is not None
    factored = FactoredGradient(points=points, features=gradient.T)
    scattered = scatter_table_gradient(factored, table.detach(), spec)
    assert_close(scattered, table.grad, CLOSED_FORM[torch.float64])


def test_second_derivatives_are_refused() -> None:
    """Rather than being silently zero."""
    spec = small_grid()
    points = torch.rand(3, 3, generator=generator(1)).requires_grad_()
    table = torch.rand(spec.num_rows, 2, generator=generator(2)).requires_grad_()
    features = ops.hash_encode(points, table, spec)
    with pytest.raises(KernelError, match=r"create_graph=True .* first ones only; leave it out"):
        torch.autograd.grad(features.sum(), points, create_graph=True)
