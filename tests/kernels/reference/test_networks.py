"""Networks, spherical harmonics and the fused field: closed forms and gradients."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from neural_render.kernels import ops
from neural_render.kernels.records import FieldInputs, FieldParameters
from neural_render.kernels.reference.field import reflected_inputs
from neural_render.kernels.reference.networks import ClampedExp, spherical_harmonics
from neural_render.kernels.specs import FieldSpec, MlpSpec
from tests.kernels.problems import (
    field_inputs,
    generator,
    parameters_of,
    points_away_from_borders,
    small_field,
    small_grid,
    unit_vectors,
)
from tests.kernels.tolerances import CLOSED_FORM, assert_close


def test_mlp_is_a_stack_of_linear_layers() -> None:
    """Row-major ``[outputs inputs]`` weights, ReLU between layers, none at the end."""
    spec = MlpSpec(inputs=3, width=4, hidden_layers=2, outputs=2)
    stack = torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False),
        torch.nn.ReLU(),
        torch.nn.Linear(4, 4, bias=False),
        torch.nn.ReLU(),
        torch.nn.Linear(4, 2, bias=False),
    )
    weights = torch.cat([layer.flatten() for layer in stack.parameters()])
    inputs = torch.randn(7, 3, generator=generator(0))
    assert_close(ops.mlp(inputs, weights, spec), stack(inputs), CLOSED_FORM[torch.float32])


def test_mlp_without_hidden_layers_is_a_matrix() -> None:
    """Weights by hand."""
    spec = MlpSpec(inputs=2, width=9, hidden_layers=0, outputs=1)
    assert ops.mlp(torch.tensor([[1.0, -2.0]]), torch.tensor([3.0, 5.0]), spec).item() == -7.0


@pytest.mark.parametrize("num_samples", [0, 1, 5])
def test_mlp_gradients(num_samples: int) -> None:
    """Against finite differences."""
    spec = MlpSpec(inputs=3, width=4, hidden_layers=2, outputs=2)
    inputs = torch.randn(num_samples, 3, generator=generator(1), dtype=torch.float64)
    weights = torch.randn(spec.num_weights, generator=generator(2), dtype=torch.float64)
    assert gradcheck(
        lambda inputs, weights: ops.mlp(inputs, weights, spec),
        (inputs.requires_grad_(), weights.requires_grad_()),
    )


def legendre(degree: int, order: int, x: float) -> float:
    """Associated Legendre polynomial with the Condon-Shortley phase, by its recurrences."""
    value = math.prod(-(2 * k - 1) * math.sqrt(1 - x * x) for k in range(1, order + 1))
    before = 0.0
    for step in range(order + 1, degree + 1):
        after = ((2 * step - 1) * x * value - (step + order - 1) * before) / (step - order)
        before, value = value, after
    return value


def harmonic(degree: int, order: int, direction: list[float]) -> float:
    """A real spherical harmonic from its definition."""
    x, y, z = direction
    m, angle = abs(order), math.atan2(y, x)
    ratio = math.factorial(degree - m) / math.factorial(degree + m)
    norm = math.sqrt((2 * degree + 1) / (4 * math.pi) * ratio)
    if order == 0:
        return norm * legendre(degree, 0, z)
    wave = math.cos(m * angle) if order > 0 else math.sin(m * angle)
    return math.sqrt(2) * norm * wave * legendre(degree, m, z)


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 6, 8])
def test_harmonics_are_the_real_spherical_harmonics(degree: int) -> None:
    """Values and signs, from the definition with associated Legendre polynomials."""
    directions = unit_vectors(20, dtype=torch.float64)
    expected = torch.tensor(
        [
            [harmonic(n, m, d) for n in range(degree) for m in range(-n, n + 1)]
            for d in directions.tolist()
        ],
        dtype=torch.float64,
    )
    assert_close(spherical_harmonics(directions, degree), expected, CLOSED_FORM[torch.float64])


def test_clamped_exp_limits_the_slope_only() -> None:
    """Forward is exp; backward takes exp(15) at most."""
    x = torch.tensor([-3.0, 14.0, 20.0], dtype=torch.float64, requires_grad=True)
    y = ClampedExp.apply(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert y.tolist() == pytest.approx([math.exp(-3), math.exp(14), math.exp(20)])
    assert slope.tolist() == pytest.approx([math.exp(-3), math.exp(14), math.exp(15)])


@pytest.mark.parametrize("radiance", ["sigmoid", "exp"])
def test_field_is_what_its_parts_compose(radiance: str) -> None:
    """Encode, density network, then latent values, harmonics and conditions to colour."""
    spec = small_field(num_conditions=2, num_channels=6, radiance=radiance, sh_degree=3)
    parameters = parameters_of(spec, torch.float64)
    inputs = field_inputs(9, parameters, spec, torch.float64)
    density, radiances = ops.query_field(inputs, parameters, spec)
    features = ops.hash_encode(inputs.points, parameters.table, spec.grid, inputs.footprint)
    latent = ops.mlp(features, parameters.density_weights, spec.density_network)
    harmonics = spherical_harmonics(inputs.directions, 3)
    together = torch.cat([latent, harmonics, inputs.conditions[inputs.ray_index]], dim=1)
    raw = ops.mlp(together, parameters.color_weights, spec.color_network)
    expected = raw.exp() if radiance == "exp" else 1 / (1 + (-raw).exp())
    close = CLOSED_FORM[torch.float64]
    assert_close(density, (latent[:, 0] + spec.density_bias).exp(), close)
    assert_close(radiances, expected, close)
    alone = ops.query_density(inputs.points, parameters, spec, inputs.footprint)
    assert_close(alone, density, close)


def test_field_without_conditions_needs_no_rows_of_them() -> None:
    """A tensor of zero columns may have any number of rows."""
    spec = small_field()
    parameters = parameters_of(spec)
    inputs = field_inputs(4, parameters, spec)
    bare = FieldInputs(
        points=inputs.points,
        directions=inputs.directions,
        conditions=torch.zeros(0, 0),
        ray_index=inputs.ray_index,
        footprint=inputs.footprint,
    )
    with_rows, without = (ops.query_field(x, parameters, spec)[1] for x in (inputs, bare))
    assert torch.equal(with_rows, without)


def query(spec: FieldSpec, inputs: FieldInputs) -> Callable[..., tuple[Tensor, Tensor]]:
    """``query_field`` as a function of its six differentiable tensors."""

    def function(
        points: Tensor,
        directions: Tensor,
        conditions: Tensor,
        table: Tensor,
        density_weights: Tensor,
        color_weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        given = FieldInputs(
            points=points,
            directions=directions,
            conditions=conditions,
            ray_index=inputs.ray_index,
            footprint=inputs.footprint,
        )
        parameters = FieldParameters(
            table=table, density_weights=density_weights, color_weights=color_weights
        )
        return ops.query_field(given, parameters, spec)

    return function


@pytest.mark.parametrize("radiance", ["sigmoid", "exp"])
def test_field_gradients(radiance: str) -> None:
    """To points, directions, conditions and all parameters, against finite differences."""
    grid = small_grid(levels=2, log2_rows=6, coarsest=3, finest=7)
    spec = small_field(grid=grid, num_conditions=2, radiance=radiance, density_bias=0.0)
    parameters = parameters_of(spec, torch.float64)
    inputs = field_inputs(6, parameters, spec, torch.float64)
    leaves = [
        inputs.points,
        inputs.directions,
        inputs.conditions,
        parameters.table,
        parameters.density_weights,
        parameters.color_weights,
    ]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert gradcheck(query(spec, inputs), leaves, fast_mode=True)


def test_reflected_field_gradients() -> None:
    """To all that leaves the normals as they are, against finite differences."""
    grid = small_grid(levels=2, log2_rows=6, coarsest=3, finest=7)
    spec = small_field(grid=grid, reflection_degree=3, num_conditions=2, density_bias=0.0)
    parameters = parameters_of(spec, torch.float64)
    inputs = field_inputs(6, parameters, spec, torch.float64)
    fixed = [inputs.points, parameters.table, parameters.density_weights]
    free = [inputs.directions, inputs.conditions, parameters.color_weights]
    run = query(spec, inputs)

    def radiance(directions: Tensor, conditions: Tensor, color_weights: Tensor) -> Tensor:
        return run(fixed[0], directions, conditions, *fixed[1:], color_weights)

    assert gradcheck(radiance, [leaf.requires_grad_() for leaf in free], fast_mode=True)


def test_what_is_reflected_does_not_turn_the_normals() -> None:
    """They are near nothing at first, where the least light would turn them anyhow."""
    latent = torch.randn(5, 6, requires_grad=True)
    directions = torch.randn(5, 3, requires_grad=True)
    reflected_inputs(latent, directions, 3).square().sum().backward()
    assert latent.grad is None or not latent.grad.any()
    assert directions.grad is not None and directions.grad.abs().min() > 0


def test_directions_are_reflected_about_the_latents_normals() -> None:
    """A ray down onto a floor goes up; a normal's sign does not matter, nor its length."""
    down = torch.tensor([[0.6, 0.0, -0.8]] * 3, dtype=torch.float64)
    normals = torch.tensor([[0.0, 0.0, 1e4], [0.0, 0.0, -1e4], [0.0, 0.0, 0.0]])
    latent = torch.cat([torch.ones(3, 1), normals, torch.ones(3, 2)], dim=1).double()
    found = reflected_inputs(latent, down, 3)
    up = spherical_harmonics(torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64), 3)
    assert torch.allclose(found[:2, :-1], up.expand(2, -1))
    assert found[:, -1].tolist() == pytest.approx([-0.8, 0.8, 0.0])
    # Where there is no normal, it is the direction itself.
    assert torch.allclose(found[2, :-1], spherical_harmonics(down[2:], 3)[0])
    assert reflected_inputs(latent, down, 0).shape == (3, 0)


def test_density_gradients() -> None:
    """To points, so normals, table and weights, against finite differences."""
    spec = small_field(grid=small_grid(levels=2, log2_rows=6, coarsest=3, finest=7))
    parameters = parameters_of(spec, torch.float64)

    def density(points: Tensor, table: Tensor, weights: Tensor) -> Tensor:
        changed = FieldParameters(
            table=table, density_weights=weights, color_weights=parameters.color_weights
        )
        return ops.query_density(points, changed, spec)

    points = points_away_from_borders(6, spec.grid, torch.float64)
    leaves = [points, parameters.table, parameters.density_weights]
    assert gradcheck(density, [leaf.requires_grad_() for leaf in leaves], fast_mode=True)
