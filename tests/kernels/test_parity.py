"""Every backend against the reference: encoding, networks, fields, compositing, Adam."""

import dataclasses

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FactoredGradient, FieldInputs, FieldParameters
from neural_render.kernels.specs import AdamSpec, FieldSpec, HashGridSpec, MlpSpec
from tests.kernels.comparison import (
    Outputs,
    assert_parity,
    differentiate,
    on_both,
    strided,
)
from tests.kernels.problems import (
    field_inputs,
    generator,
    near_a_kink,
    packed_samples,
    parameters_of,
    points_away_from_borders,
    small_field,
    small_grid,
    unit_vectors,
)
from tests.kernels.tolerances import assert_close, parity

# None, one, less than any vector, and more than any tile of a backend.
COUNTS = [0, 1, 3, 1100]
ENCODED = ("features", "feature gradients")


def encode(points: Tensor, spec: HashGridSpec, footprint: Tensor | None, layout=Tensor.clone):
    """Features and gradients, from tensors in some memory layout."""
    table = torch.rand(spec.num_rows, spec.features, generator=generator(1)) - 0.5
    leaves = {
        "points": layout(points).requires_grad_(),
        "table": layout(table).requires_grad_(),
    }
    if footprint is not None:
        footprint = layout(footprint)
    outputs = {"features": ops.hash_encode(leaves["points"], leaves["table"], spec, footprint)}
    return {**outputs, **differentiate(outputs, leaves)}


@pytest.mark.parametrize("hash", ["linear", "xor"])
@pytest.mark.parametrize("features", [1, 2, 4])
@pytest.mark.parametrize("num_samples", COUNTS)
def test_hash_encode(backend: str, hash: str, features: int, num_samples: int) -> None:
    """Both hashes, several widths."""
    spec = small_grid(hash=hash, features=features)
    points = points_away_from_borders(num_samples, spec)
    assert_parity(backend, lambda: encode(points, spec, None), kinds=ENCODED)


@pytest.mark.parametrize("hash", ["linear", "xor"])
@pytest.mark.parametrize("dims", [2, 4])
def test_hash_encode_of_other_dimensions(backend: str, hash: str, dims: int) -> None:
    """An image's plane; space and time."""
    spec = small_grid(hash=hash, dims=dims, levels=3)
    points = points_away_from_borders(300, spec)
    assert_parity(backend, lambda: encode(points, spec, None), kinds=ENCODED)


@pytest.mark.parametrize("hash", ["linear", "xor"])
@pytest.mark.parametrize("layout", [Tensor.clone, strided], ids=["contiguous", "strided"])
def test_hash_encode_with_footprints(backend: str, hash: str, layout) -> None:
    """From none to larger than the cube, in any memory layout."""
    spec = small_grid(hash=hash)
    points = points_away_from_borders(200, spec)
    footprint = torch.cat([torch.zeros(20), torch.logspace(-6, 1, 180)])
    assert_parity(backend, lambda: encode(points, spec, footprint, layout), kinds=ENCODED)


@pytest.mark.parametrize("hash", ["linear", "xor"])
@pytest.mark.parametrize("log2_rows", [4, 19])
def test_hash_encode_of_the_cubes_faces(backend: str, hash: str, log2_rows: int) -> None:
    """Corners, edges and faces of the cube; tables that hash at once and tables that never do."""
    spec = small_grid(hash=hash, log2_rows=log2_rows)
    axis = torch.tensor([0.0, 0.3, 1.0])
    points = torch.cartesian_prod(axis, axis, axis)
    assert_parity(backend, lambda: encode(points, spec, None), kinds=ENCODED)


def test_hash_encode_of_a_full_size_grid(backend: str) -> None:
    """Sixteen levels up to 2048, where rounding moves points by more of a cell."""
    spec = HashGridSpec(log2_rows=15)
    points = torch.rand(500, 3, generator=generator(0))
    table = torch.rand(spec.num_rows, 2, generator=generator(1)) - 0.5
    actual, expected = on_both(backend, lambda: {"x": ops.hash_encode(points, table, spec)})
    tolerance = parity(backend, "features of level 2048")
    assert_close(actual["x"], expected["x"], tolerance)


@pytest.mark.parametrize("num_samples", COUNTS)
@pytest.mark.parametrize(
    "spec",
    [
        MlpSpec(inputs=32, width=64, hidden_layers=1, outputs=16),
        MlpSpec(inputs=7, width=24, hidden_layers=3, outputs=5),
        MlpSpec(inputs=3, width=13, hidden_layers=2, outputs=1),
        MlpSpec(inputs=37, width=75, hidden_layers=2, outputs=19),
        MlpSpec(inputs=5, width=8, hidden_layers=0, outputs=9),
    ],
    ids=str,
)
@pytest.mark.parametrize("layout", [Tensor.clone, strided], ids=["contiguous", "strided"])
def test_mlp(backend: str, spec: MlpSpec, num_samples: int, layout) -> None:
    """Sizes that fill vectors and sizes that do not."""

    weights = torch.randn(spec.num_weights, generator=generator(2)) / 4
    inputs = torch.randn(num_samples * 2, spec.inputs, generator=generator(1))
    inputs = inputs[~near_a_kink(inputs, weights, spec)][:num_samples]

    def compute() -> Outputs:
        leaves = {"inputs": inputs, "weights": weights}
        leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
        outputs = {"outputs": ops.mlp(leaves["inputs"], leaves["weights"], spec)}
        return {**outputs, **differentiate(outputs, leaves)}

    assert_parity(backend, compute, parts=num_samples)


def query(spec: FieldSpec, num_samples: int, layout=Tensor.clone) -> Outputs:
    """The field's answers and gradients, of density and radiance and of density alone."""
    parameters = parameters_of(spec)
    samples = field_inputs(num_samples, parameters, spec)
    leaves = {
        "points": samples.points,
        "directions": samples.directions,
        "conditions": samples.conditions,
        **vars(parameters),
    }
    leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
    inputs = FieldInputs(
        **{name: leaves[name] for name in ("points", "directions", "conditions")},
        ray_index=layout(samples.ray_index),
        footprint=layout(samples.footprint),
    )
    weights = FieldParameters(**{name: leaves[name] for name in vars(parameters)})
    density, radiance = ops.query_field(inputs, weights, spec)
    outputs = {"density": density, "radiance": radiance}
    gradients = differentiate(outputs, leaves)
    alone = {"density": ops.query_density(inputs.points, weights, spec, inputs.footprint)}
    names = ("points", "table", "density_weights")
    to_density = differentiate(alone, {name: leaves[name] for name in names})
    return {
        **outputs,
        **gradients,
        "density_alone": alone["density"],
        **{f"{name}_of_density": gradient for name, gradient in to_density.items()},
    }


FIELDS = {
    "plain": small_field(),
    "xor": small_field(grid=small_grid(hash="xor")),
    "four_features": small_field(grid=small_grid(features=4)),
    "conditions": small_field(num_conditions=5),
    "six_channels": small_field(num_channels=6, num_conditions=3),
    "one_channel": small_field(num_channels=1, sh_degree=1),
    "scene_linear": small_field(radiance="exp", sh_degree=2),
    "many_harmonics": small_field(radiance="exp", sh_degree=7),
    "reflections": small_field(reflection_degree=3, num_conditions=2),
    "odd_reflections": small_field(latent=5, reflection_degree=4, sh_degree=1, radiance="exp"),
    "odd_sizes": small_field(latent=3, width=11, density_layers=2, color_layers=1, sh_degree=3),
    "dense_fog": small_field(density_bias=15.0),
    "full_size": FieldSpec(grid=small_grid(levels=16, log2_rows=12, coarsest=4, finest=128)),
}


def test_slopes_of_exponentials_are_clamped(backend: str) -> None:
    """Where density and radiance exceed exp(15), gradients grow no more."""
    spec = small_field(radiance="exp", density_bias=16.0, color_layers=0)
    weights = torch.zeros(spec.color_network.num_weights).view(3, -1)
    # Latent value 0 aside, the first harmonic is the same for all directions: 0.282 * 64 = 18.
    weights[:, spec.latent] = torch.tensor([60.0, 62.0, 64.0])
    weights[:, 1] = 0.1
    plain = parameters_of(spec)
    points = points_away_from_borders(50, spec.grid)

    def compute() -> Outputs:
        table = plain.table.clone().requires_grad_()
        inputs = FieldInputs(
            points=points,
            directions=unit_vectors(50),
            conditions=torch.zeros(1, 0),
            ray_index=torch.zeros(50, dtype=torch.int64),
            footprint=torch.zeros(50),
        )
        parameters = FieldParameters(
            table=table, density_weights=plain.density_weights, color_weights=weights.flatten()
        )
        density, radiance = ops.query_field(inputs, parameters, spec)
        assert density.min() > 4e6 and radiance[:, 1].min() > 4e6
        scaled = {"density": density / 1e7, "radiance": radiance / 1e7}
        return {**scaled, **differentiate(scaled, {"table": table})}

    assert_parity(backend, compute, kinds=("exponentials", "gradients"), parts=50)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("num_samples", COUNTS)
def test_query_field_and_density(backend: str, name: str, num_samples: int) -> None:
    """Values, and gradients to points, directions, conditions and parameters."""
    assert_parity(backend, lambda: query(FIELDS[name], num_samples), parts=num_samples)


def test_query_field_of_strided_tensors(backend: str) -> None:
    """Memory layout is the backend's affair."""
    assert_parity(backend, lambda: query(FIELDS["six_channels"], 50, strided), parts=50)


@pytest.mark.parametrize(
    "counts",
    [[], [0], [1], [0, 0, 5], [3, 0, 700, 1, 0, 40], [2] * 600],
    ids=["no_rays", "no_samples", "one_sample", "empty_rays", "a_long_ray", "many_rays"],
)
@pytest.mark.parametrize("num_channels", [1, 3, 6])
@pytest.mark.parametrize("layout", [Tensor.clone, strided], ids=["contiguous", "strided"])
def test_composite(backend: str, counts: list[int], num_channels: int, layout) -> None:
    """All five outputs; buffers longer than the samples, with junk behind them."""
    capacity = sum(counts) + 5
    samples = packed_samples(counts, capacity)

    def compute() -> Outputs:
        density = torch.rand(capacity, generator=generator(1)) * 30
        radiance = torch.rand(capacity, num_channels, generator=generator(2))
        density[-5:], radiance[-5:] = 1e30, -1e30
        leaves = {
            "density": density,
            "radiance": radiance,
            "background": torch.rand(len(counts), num_channels, generator=generator(3)),
        }
        leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
        seen = ops.composite(samples=samples, **leaves)
        outputs = dict(vars(seen))
        return {**outputs, **differentiate(outputs, leaves)}

    assert_parity(backend, compute, precision="float32")


@pytest.mark.parametrize("hash", ["linear", "xor"])
@pytest.mark.parametrize("features", [1, 2, 3, 4])
@pytest.mark.parametrize("num_samples", COUNTS)
def test_table_adam_step(backend: str, hash: str, features: int, num_samples: int) -> None:
    """Three steps; rows that nothing touched keep their value and moment, bit for bit."""
    grid = small_grid(hash=hash, features=features)
    start = torch.rand(grid.num_rows, features, generator=generator(1)) - 0.5
    points = torch.rand(num_samples, 3, generator=generator(2)) * 0.6
    # Away from zero, so that no row's gradient cancels: Adam would make noise a full step.
    gradient = torch.rand(grid.num_outputs, num_samples, generator=generator(3)) + 0.5
    factored = FactoredGradient(points=points, features=gradient)

    def compute() -> Outputs:
        table, second = start.clone(), torch.zeros(len(start))
        for step in (1, 2, 3):
            adam = AdamSpec(learning_rate=0.01, step=step)
            ops.table_adam_step(table, second, factored, grid, adam)
        dense = dispatch.active().scatter_table_gradient(factored, start, grid)
        return {"table": table, "second": second, "dense": dense}

    actual, expected = on_both(backend, compute)
    untouched = (expected["dense"] == 0).all(-1)
    assert torch.equal((actual["dense"] == 0).all(-1), untouched)
    assert torch.equal(actual["table"][untouched], start[untouched])
    assert (actual["second"][untouched] == 0).all()
    # A corner of nearly no weight has a gradient of nearly no digits.
    clear = (expected["dense"].abs() > 1e-3).all(-1)
    for name, value in expected.items():
        assert_close(actual[name][clear], value[clear], parity(backend, "adam"), name)


@pytest.mark.parametrize("num_rows", [0, 1, 5, 16, 301, 70000])
@pytest.mark.parametrize("features", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("layout", [Tensor.clone, strided], ids=["contiguous", "strided"])
def test_row_adam_step(backend: str, num_rows: int, features: int, layout) -> None:
    """Three steps; every third row has no gradient and stays, and gradients are only read."""
    start = torch.randn(num_rows, features, generator=generator(1))
    gradient = torch.randn(num_rows, features, generator=generator(2))
    gradient[::3] = 0
    gradient[1::3, 1:] = 0  # one entry that is not zero is enough

    def compute() -> Outputs:
        table, second, given = start.clone(), torch.zeros(num_rows), layout(gradient)
        for step in (1, 2, 3):
            ops.row_adam_step(table, second, given, AdamSpec(learning_rate=0.01, step=step))
        assert torch.equal(given, gradient)
        return {"table": table, "second": second}

    actual, expected = on_both(backend, compute)
    for name, value in expected.items():
        assert_close(actual[name], value, parity(backend, "adam"), name)
    assert torch.equal(actual["table"][::3], start[::3]) and not actual["second"][::3].any()
    assert (actual["second"][1::3] != 0).all() and (actual["second"][2::3] != 0).all()


def test_steps_of_rows_know_neither_decay_nor_a_first_moment(backend: str) -> None:
    start = torch.rand(100, 2, generator=generator(1))
    gradient = torch.randn(100, 2, generator=generator(2))
    plain = AdamSpec(learning_rate=0.01, step=4)
    for name in (backend, "reference"):
        with dispatch.using(name):
            found = []
            for adam in (plain, dataclasses.replace(plain, weight_decay=0.5, beta1=0.1)):
                table, second = start.clone(), torch.ones(100)
                ops.row_adam_step(table, second, gradient, adam)
                found.append((table, second))
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (1000,), (301, 3), (40, 16), (0, 4)])
@pytest.mark.parametrize("layout", [Tensor.clone, strided], ids=["contiguous", "strided"])
def test_adam_step(backend: str, shape: tuple[int, ...], layout) -> None:
    """Three steps with decay, which rows without gradient know, too."""
    start = torch.randn(shape, generator=generator(1))
    gradient = torch.randn(shape, generator=generator(2))
    if len(shape) > 1:
        gradient[::3] = 0

    def compute() -> Outputs:
        parameter, first, second = start.clone(), torch.zeros(shape), torch.zeros(shape)
        for step in (1, 2, 3):
            adam = AdamSpec(learning_rate=0.01, step=step, weight_decay=1e-3)
            ops.adam_step(parameter, (first, second), layout(gradient), adam)
        return {"parameter": parameter, "first": first, "second": second}

    actual, expected = on_both(backend, compute)
    for name, value in expected.items():
        assert_close(actual[name], value, parity(backend, "adam"), name)
    assert (actual["parameter"] != start).all()
