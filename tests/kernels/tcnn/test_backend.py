"""The ops of ``tcnn`` against the reference: with the library, and with what stands in for it."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FieldParameters
from neural_render.kernels.specs import (
    AdamSpec,
    FieldSpec,
    HashGridSpec,
    LossSpec,
    MlpSpec,
    RenderSpec,
)
from tests.kernels.comparison import Outputs, differentiate
from tests.kernels.problems import (
    ball,
    empty_occupancy,
    field_inputs,
    generator,
    march,
    occupancy_of,
    parameters_of,
    points_away_from_borders,
    rays_through_cube,
    render_inputs,
    small_field,
    small_grid,
    targets_of,
)
from tests.kernels.tcnn.test_documented_layout import GRIDS, NETWORKS
from tests.kernels.tolerances import assert_close, parity

FIELDS = {
    "plain": small_field(),
    "conditions": small_field(num_conditions=5, num_channels=6),
    "reflections": small_field(reflection_degree=3, num_conditions=2),
    "scene_linear": small_field(radiance="exp", sh_degree=7),
    "odd_sizes": small_field(latent=5, width=11, density_layers=2, color_layers=1),
}
FIELDS = {name: replace(spec, grid=small_grid(hash="xor")) for name, spec in FIELDS.items()}


def onto(thing: Any, device: str) -> Any:
    """A tensor or a record of tensors, copied to a device."""
    if isinstance(thing, Tensor):
        return thing.to(device)
    if is_dataclass(thing) and not isinstance(thing, type):
        moved = {field.name: onto(getattr(thing, field.name), device) for field in fields(thing)}
        return type(thing)(**moved)
    return thing


def leaves_of(tensors: Outputs, device: str) -> Outputs:
    """Copies on a device that require gradients."""
    return {name: value.to(device).detach().requires_grad_() for name, value in tensors.items()}


def results(outputs: Outputs, leaves: Outputs) -> Outputs:
    """Outputs and gradients on the CPU."""
    outputs = {name: value.cpu() for name, value in outputs.items()}
    gradients = differentiate(outputs, leaves)
    return {name: value.detach().cpu() for name, value in {**outputs, **gradients}.items()}


def assert_parity(
    compute: Callable[[str], Outputs], device: str, kinds: tuple[str, str], parts: int = 0
) -> None:
    """What ``compute`` gives on the device by ``tcnn`` is what the reference gives on the CPU."""
    with dispatch.using("tcnn"):
        actual, precision = compute(device), dispatch.precision()
    with dispatch.using("reference"):
        expected = compute("cpu")
    for name, value in expected.items():
        tolerance = parity("tcnn", kinds[name.startswith("to_")], precision)
        assert_close(actual[name], value, tolerance, name, parts=parts)


@pytest.mark.parametrize("spec", GRIDS, ids=str)
@pytest.mark.parametrize("num_samples", [0, 1, 300])
def test_hash_encode(device: str, spec: HashGridSpec, num_samples: int) -> None:
    """Features and gradients, with footprints from none to a tenth of the cube."""
    away = points_away_from_borders(num_samples, spec) if spec.finest < 100 else None
    points = torch.rand(num_samples, spec.dims, generator=generator(0)) if away is None else away
    table = torch.rand(spec.num_rows, spec.features, generator=generator(1)) - 0.5
    footprint = torch.linspace(0, 0.1, num_samples)

    def compute(device: str) -> Outputs:
        leaves = leaves_of({"points": points, "table": table}, device)
        encoded = ops.hash_encode(leaves["points"], leaves["table"], spec, footprint.to(device))
        if spec.finest > 100:  # half an ulp of a point is 6e-5 of a cell
            del leaves["points"]
        return results({"features": encoded}, leaves)

    level = "features of level 2048" if spec.finest > 100 else "features"
    assert_parity(compute, device, (level, "feature gradients"), num_samples)


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
@pytest.mark.parametrize("num_samples", [0, 1, 300])
def test_mlp(device: str, spec: MlpSpec, num_samples: int) -> None:
    weights = torch.randn(spec.num_weights, generator=generator(2)) / 4
    inputs = torch.randn(num_samples, spec.inputs, generator=generator(1))

    def compute(device: str) -> Outputs:
        leaves = leaves_of({"inputs": inputs, "weights": weights}, device)
        return results({"outputs": ops.mlp(leaves["inputs"], leaves["weights"], spec)}, leaves)

    assert_parity(compute, device, ("values", "gradients of narrow networks"), num_samples)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("num_samples", [0, 300])
def test_query_field_and_density(device: str, name: str, num_samples: int) -> None:
    """Values, and gradients to points, directions, conditions and parameters."""
    spec = FIELDS[name]
    parameters = parameters_of(spec)
    samples = field_inputs(num_samples, parameters, spec)
    differentiable = ("points", "directions", "conditions")
    given = {key: getattr(samples, key) for key in differentiable} | vars(parameters)

    def compute(device: str) -> Outputs:
        leaves = leaves_of(given, device)
        moved = onto(samples, device)
        inputs = replace(moved, **{key: leaves[key] for key in differentiable})
        weights = FieldParameters(**{key: leaves[key] for key in vars(parameters)})
        density, radiance = ops.query_field(inputs, weights, spec)
        alone = ops.query_density(inputs.points, weights, spec, inputs.footprint)
        return results({"density": density, "radiance": radiance, "alone": alone}, leaves)

    kinds = ("exponentials", "gradients of narrow networks")
    assert_parity(compute, device, kinds, num_samples)


LOSSES = {
    "plain": LossSpec(delta=0.1),
    "all": LossSpec(delta=0.1, distortion_weight=0.01, distance_weight=0.1, near_fade=0.5),
    "normals": LossSpec(delta=0.1, normal_weight=5.0),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("occupied", ["ball", "nothing"])
def test_render_loss(device: str, loss: str, occupied: str) -> None:
    """Loss and gradients to parameters and rays; where nothing is there too."""
    field = replace(FIELDS["reflections"], density_bias=1.0)
    specs = RenderSpec(field=field, march=march()), LOSSES[loss]
    rays = rays_through_cube(300)
    occupancy = occupancy_of(ball(0.4)) if occupied == "ball" else empty_occupancy()
    problem, targets = render_inputs(rays, occupancy, 3, 2), targets_of(300)
    given = {"origins": rays.origins, "directions": rays.directions, **vars(parameters_of(field))}

    def compute(device: str) -> Outputs:
        leaves = leaves_of(given, device)
        inputs, wanted = onto(problem, device), onto(targets, device)
        from_leaves = {key: leaves[key] for key in ("origins", "directions")}
        inputs = replace(inputs, rays=replace(inputs.rays, **from_leaves))
        weights = FieldParameters(**{key: leaves[key] for key in vars(parameters_of(field))})
        seen = ops.render_loss(inputs, wanted, weights, specs)
        return results({"loss": seen.loss, "squared": seen.squared.detach()}, leaves)

    kinds = ("render of narrow networks", "render gradients of narrow networks")
    assert_parity(compute, device, kinds, 300)


@pytest.mark.parametrize("min_weight", [0.0, 0.02])
def test_render_rays(device: str, min_weight: float) -> None:
    """What rays see and gradients; without a gradient, with fewer colours."""
    field: FieldSpec = FIELDS["plain"]
    spec = RenderSpec(field=field, march=march(), min_weight=min_weight)
    problem = render_inputs(rays_through_cube(300), occupancy_of(ball(0.4)))

    def compute(device: str) -> Outputs:
        leaves = leaves_of(vars(parameters_of(field)), device)
        with torch.set_grad_enabled(min_weight == 0):
            seen = ops.render_rays(onto(problem, device), FieldParameters(**leaves), spec)
        outputs = {"values": seen.values, "opacity": seen.opacity}
        if min_weight:
            return {name: value.cpu() for name, value in outputs.items()}
        return results(outputs, leaves)

    kinds = ("render of narrow networks", "render gradients of narrow networks")
    assert_parity(compute, device, kinds, 300)


def test_a_field_learns(device: str) -> None:
    """Twenty steps of the table's and the networks' own optimisers bring the loss down."""
    field = replace(FIELDS["plain"], density_bias=1.0)
    specs = RenderSpec(field=field, march=march()), LossSpec(delta=0.1)
    inputs = onto(render_inputs(rays_through_cube(60), occupancy_of(ball(0.4))), device)
    targets = onto(targets_of(60), device)
    parameters = onto(parameters_of(field), device)
    second = torch.zeros(field.grid.num_rows, device=device)
    weights = (parameters.density_weights, parameters.color_weights)
    moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]
    losses = []
    with dispatch.using("tcnn"):
        for step in range(1, 21):
            adam = AdamSpec(learning_rate=0.01, step=step)
            seen, found = ops.render_loss_gradients(inputs, targets, parameters, specs)
            ops.table_adam_step(parameters.table, second, found.table, field.grid, adam)
            gradients = (found.density_weights, found.color_weights)
            for weight, both, gradient in zip(weights, moments, gradients, strict=True):
                ops.adam_step(weight, both, gradient, adam)
            losses.append(float(seen.loss))
    assert losses[-1] < 0.8 * losses[0], losses
