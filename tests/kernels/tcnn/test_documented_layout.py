"""Our `xor` grids, networks and harmonics are tiny-cuda-nn's, by a second implementation of it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.reference.networks import spherical_harmonics
from neural_render.kernels.specs import FieldSpec, HashGridSpec, MlpSpec
from neural_render.kernels.tcnn.layouts import (
    ALIGNMENT,
    grid_config,
    network_config,
    table_to_tcnn,
    weights_to_tcnn,
)
from tests.kernels.problems import (
    field_inputs,
    generator,
    parameters_of,
    points_away_from_borders,
    small_field,
    small_grid,
    unit_vectors,
)
from tests.kernels.tcnn import documented
from tests.kernels.tolerances import CLOSED_FORM, assert_close, parity

GRIDS = [
    small_grid(hash="xor"),
    small_grid(hash="xor", features=1),
    small_grid(hash="xor", features=4, levels=3),
    small_grid(hash="xor", features=8, levels=2),
    small_grid(hash="xor", dims=2),
    small_grid(hash="xor", dims=4, levels=3),
    small_grid(hash="xor", log2_rows=4),
    small_grid(hash="xor", log2_rows=18, levels=4),
    small_grid(hash="xor", levels=1),
    HashGridSpec(hash="xor", log2_rows=14),
]
NETWORKS = [
    MlpSpec(inputs=32, width=64, hidden_layers=1, outputs=16),
    MlpSpec(inputs=7, width=24, hidden_layers=3, outputs=5),
    MlpSpec(inputs=3, width=13, hidden_layers=2, outputs=1),
    MlpSpec(inputs=17, width=40, hidden_layers=1, outputs=33),
    MlpSpec(inputs=48, width=256, hidden_layers=1, outputs=3),
    MlpSpec(inputs=5, width=8, hidden_layers=0, outputs=9),
]


def table_of(spec: HashGridSpec) -> Tensor:
    shape = spec.num_rows, spec.features
    return torch.rand(shape, generator=generator(1), dtype=torch.float64) - 0.5


def inside(spec: HashGridSpec, num: int = 40) -> Tensor:
    """Points in cells, and the cube's corners and edges, where indices wrap."""
    away = points_away_from_borders(num, spec) if spec.finest < 100 else torch.rand(num, spec.dims)
    axis = torch.tensor([0.0, 0.25, 1.0])
    return torch.cat([away, torch.cartesian_prod(*[axis] * spec.dims)])


@pytest.mark.parametrize(
    "spec", [*GRIDS, HashGridSpec(hash="xor"), HashGridSpec(hash="xor", finest=512)]
)
def test_levels_begin_where_they_do_there(spec: HashGridSpec) -> None:
    layout, config = spec.level_layout(), grid_config(spec)
    assert documented.level_offsets(spec.dims, config) == [
        *(level.offset for level in layout),
        spec.num_rows,
    ]
    for number, level in enumerate(layout):
        assert documented.grid_scale(number, config) == level.scale
        assert documented.grid_resolution(level.scale) == level.resolution


@pytest.mark.parametrize("spec", GRIDS, ids=str)
def test_the_reference_encodes_as_it_does(spec: HashGridSpec) -> None:
    """Points on the cube's faces included; in float64, so that only the indices can differ."""
    table, points = table_of(spec), inside(spec).double()
    expected = documented.encode(points.numpy(), table_to_tcnn(table).numpy(), grid_config(spec))
    with dispatch.using("reference"):
        actual = ops.hash_encode(points, table, spec)
    assert_close(actual, torch.from_numpy(expected), CLOSED_FORM[torch.float64])


@pytest.mark.parametrize("features", [1, 2, 4])
@pytest.mark.parametrize("dims", [2, 3])
def test_other_backends_encode_as_it_does(backend: str, dims: int, features: int) -> None:
    spec = small_grid(hash="xor", dims=dims, features=features)
    table, points = table_of(spec).float(), points_away_from_borders(40, spec)
    expected = documented.encode(points.numpy(), table_to_tcnn(table).numpy(), grid_config(spec))
    with dispatch.using(backend):
        actual = ops.hash_encode(points, table, spec)
    assert_close(actual, torch.from_numpy(expected).float(), parity(backend, "features"))


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_its_network_computes_ours_from_mapped_weights(spec: MlpSpec) -> None:
    weights = torch.randn(spec.num_weights, generator=generator(1), dtype=torch.float64)
    inputs = torch.randn(9, spec.inputs, generator=generator(2), dtype=torch.float64)
    mapped = weights_to_tcnn(weights, spec).numpy()
    expected = documented.network(inputs.numpy(), spec.outputs, mapped, network_config(spec))
    with dispatch.using("reference"):
        actual = ops.mlp(inputs, weights, spec)
    assert_close(actual, torch.from_numpy(expected), CLOSED_FORM[torch.float64])


def test_which_networks_are_fused() -> None:
    """Those of 16, 32, 64 or 128 units, once filled up; and none without a hidden layer."""
    found = [
        (network_config(spec)["otype"], network_config(spec)["n_neurons"]) for spec in NETWORKS
    ]
    assert found == [
        ("FullyFusedMLP", 64),
        ("FullyFusedMLP", 32),
        ("FullyFusedMLP", 16),
        ("CutlassMLP", 48),
        ("CutlassMLP", 256),
        ("CutlassMLP", 16),
    ]


def test_its_harmonics_are_ours() -> None:
    directions = unit_vectors(50, dtype=torch.float64)
    expected = torch.from_numpy(documented.harmonics((directions.numpy() + 1) / 2))
    for degree in range(1, 5):
        actual = spherical_harmonics(directions, degree)
        assert_close(actual, expected[:, : degree**2], CLOSED_FORM[torch.float64])


@pytest.mark.parametrize("conditions", [0, 3])
def test_a_whole_field_from_mapped_parameters(conditions: int) -> None:
    """Encoding, both networks, harmonics and conditions in their order, density and radiance."""
    spec: FieldSpec = small_field(grid=small_grid(hash="xor"), num_conditions=conditions)
    parameters = parameters_of(spec, torch.float64)
    inputs = field_inputs(20, parameters, spec, torch.float64)
    inputs = type(inputs)(**{**vars(inputs), "footprint": torch.zeros_like(inputs.footprint)})
    density_network, color_network = spec.density_network, spec.color_network
    features = documented.encode(
        inputs.points.numpy(), table_to_tcnn(parameters.table).numpy(), grid_config(spec.grid)
    )
    mapped = weights_to_tcnn(parameters.density_weights, density_network).numpy()
    latent = documented.network(features, spec.latent, mapped, network_config(density_network))
    seen = documented.harmonics((inputs.directions.numpy() + 1) / 2)
    given = np.concatenate([latent, seen, inputs.conditions[inputs.ray_index].numpy()], axis=1)
    mapped = weights_to_tcnn(parameters.color_weights, color_network).numpy()
    raw = documented.network(given, spec.num_channels, mapped, network_config(color_network))
    with dispatch.using("reference"):
        density, radiance = ops.query_field(inputs, parameters, spec)
    expected = np.exp(latent[:, 0] + spec.density_bias), 1 / (1 + np.exp(-raw))
    assert_close(density, torch.from_numpy(expected[0]), CLOSED_FORM[torch.float64])
    assert_close(radiance, torch.from_numpy(expected[1]), CLOSED_FORM[torch.float64])


def weights_from_tcnn(parameters: Tensor, spec: MlpSpec) -> Tensor:
    """The weights of a network's parameters, or their gradient of theirs."""
    weights = []
    aligned = [tuple(-(-size // ALIGNMENT) * ALIGNMENT for size in x) for x in spec.layer_shapes]
    parts = parameters.split([outputs * inputs for outputs, inputs in aligned])
    for part, shape, (outputs, inputs) in zip(parts, aligned, spec.layer_shapes, strict=True):
        weights.append(part.reshape(shape)[:outputs, :inputs].flatten())
    return torch.cat(weights)


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_weights_and_their_gradients_come_back(spec: MlpSpec) -> None:
    """What lies in the padding, as a gradient there may, is left behind."""
    weights = torch.randn(spec.num_weights, generator=generator(1), requires_grad=True)
    mapped = weights_to_tcnn(weights, spec)
    assert torch.equal(weights_from_tcnn(mapped, spec), weights)
    assert mapped.count_nonzero() == spec.num_weights
    gradient = torch.randn(mapped.shape, generator=generator(2))
    (pulled,) = torch.autograd.grad(mapped, weights, gradient)
    assert torch.equal(pulled, weights_from_tcnn(gradient, spec))


@pytest.mark.parametrize("spec", GRIDS, ids=str)
def test_tables_and_their_gradients_come_back(spec: HashGridSpec) -> None:
    table = table_of(spec).requires_grad_()
    mapped = table_to_tcnn(table)
    assert torch.equal(mapped, table.flatten())
    gradient = torch.randn(mapped.shape, generator=generator(2), dtype=torch.float64)
    (pulled,) = torch.autograd.grad(mapped, table, gradient)
    assert torch.equal(pulled.flatten(), gradient)
