"""The fused render op: equal to its parts, early termination, factored gradients, gradients."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from neural_render.core.rays import Rays
from neural_render.kernels import ops
from neural_render.kernels.records import (
    FieldInputs,
    FieldParameters,
    RenderInputs,
    RenderOutput,
)
from neural_render.kernels.specs import LossSpec, RenderSpec
from tests.kernels.problems import (
    ball,
    empty_occupancy,
    full_occupancy,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    small_grid,
    targets_of,
)
from tests.kernels.tolerances import CLOSED_FORM, assert_close

CLOSE = CLOSED_FORM[torch.float64]
SEEN = ("values", "opacity", "distance", "distortion")


def composed(inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec) -> RenderOutput:
    """March, query and composite one after another, without early termination."""
    rays = inputs.rays
    capacity = 1 << 14 if len(rays) else 0
    samples = ops.march_rays(rays, inputs.jitter, inputs.occupancy, spec.march, capacity)
    ray, middle = samples.ray_index, 0.5 * (samples.t_near + samples.t_far)
    points = rays.origins[ray] + rays.directions[ray] * middle[:, None]
    # What lies beyond the count may be anywhere; no gradient comes from there.
    density, radiance = ops.query_field(
        FieldInputs(
            points=points.clamp(0, 1),
            directions=rays.directions[ray],
            conditions=inputs.conditions,
            ray_index=ray,
            footprint=rays.footprint[ray] * middle,
        ),
        parameters,
        spec.field,
    )
    seen = ops.composite(density, radiance, samples, inputs.background)
    return RenderOutput(
        values=seen.values,
        opacity=seen.opacity,
        distance=seen.distance,
        distortion=seen.distortion,
        num_marched=samples.count,
        num_survived=samples.count,
    )


def problem(num_rays: int, **changes: object) -> tuple[RenderInputs, FieldParameters, RenderSpec]:
    """Rays with footprints and conditions through a ball of fog; everything wants a gradient."""
    field = small_field(num_conditions=2, num_channels=4, density_bias=1.0)
    rays = rays_through_cube(num_rays, torch.float64)
    rays = Rays(
        origins=rays.origins.requires_grad_(),
        directions=rays.directions.requires_grad_(),
        footprint=torch.linspace(0, 0.02, num_rays, dtype=torch.float64),
    )
    inputs = render_inputs(rays, occupancy_of(ball(0.4)), 4, 2)
    inputs.background.requires_grad_()
    inputs.conditions.requires_grad_()
    parameters = parameters_of(field, torch.float64)
    for tensor in (parameters.table, parameters.density_weights, parameters.color_weights):
        tensor.requires_grad_()
    return inputs, parameters, RenderSpec(field=field, march=march(**changes))


def leaves_of(inputs: RenderInputs, parameters: FieldParameters) -> list[Tensor]:
    """All that a gradient goes to."""
    rays = inputs.rays
    return [
        rays.origins,
        rays.directions,
        inputs.background,
        inputs.conditions,
        parameters.table,
        parameters.density_weights,
        parameters.color_weights,
    ]


@pytest.mark.parametrize("num_rays", [0, 1, 20])
def test_render_is_what_its_parts_compose(num_rays: int) -> None:
    """Values and every gradient, while no sample is dropped."""
    inputs, parameters, spec = problem(num_rays, min_transmittance=0.0)
    results = []
    for render in (ops.render_rays, composed):
        output = render(inputs, parameters, spec)
        seen = [getattr(output, name) for name in SEEN]
        loss = sum((x * x.detach().cos()).sum() for x in seen)
        assert isinstance(loss, Tensor)
        gradients = torch.autograd.grad(loss, leaves_of(inputs, parameters))
        results.append([*seen, *gradients, output.num_survived])
    for fused, parts in zip(*results, strict=True):
        assert_close(fused, parts, dataclasses.replace(CLOSE, of_largest=1e-10))


def test_samples_before_which_too_little_light_is_left_are_dropped() -> None:
    """Survivors are those with T >= min_transmittance; the rest of the light is background's."""
    inputs, parameters, spec = problem(30, min_transmittance=0.3)
    everything = dataclasses.replace(spec, march=march(min_transmittance=0.0))
    with torch.no_grad():
        early = ops.render_rays(inputs, parameters, spec)
        late = ops.render_rays(inputs, parameters, everything)
    assert 0 < early.num_survived < early.num_marched == late.num_survived
    stopped = early.opacity < late.opacity - 1e-9
    assert stopped.any()
    # The last survivor of such a ray is the one that takes the light below the limit.
    assert (1 - early.opacity[stopped] < 0.3).all()
    assert_close(early.values[~stopped], late.values[~stopped], CLOSE)


def test_no_light_means_background() -> None:
    """Empty space shows the background, at no distance."""
    inputs, parameters, spec = problem(5)
    empty = dataclasses.replace(inputs, occupancy=empty_occupancy())
    seen = ops.render_rays(empty, parameters, spec)
    assert torch.equal(seen.values, inputs.background)
    assert (seen.opacity == 0).all() and (seen.distance == 0).all()
    assert seen.num_marched == seen.num_survived == 0
    seen.values.sum().backward()
    assert inputs.background.grad is not None and parameters.table.grad is not None
    assert (inputs.background.grad == 1).all() and (parameters.table.grad == 0).all()


def test_the_sink_takes_the_tables_gradient() -> None:
    """Factored; scattered it is the gradient that the table gets without a sink."""
    inputs, parameters, spec = problem(20)
    sink = ops.TableGradientSink()
    ops.render_rays(inputs, parameters, spec, sink).values.sum().backward()
    assert parameters.table.grad is None and sink.gradient is not None
    weights_grad = parameters.color_weights.grad
    output = ops.render_rays(inputs, parameters, spec)
    (dense,) = torch.autograd.grad(output.values.sum(), parameters.table)
    assert sink.gradient.points.shape == (int(output.num_survived), 3)
    table = torch.zeros_like(dense, requires_grad=True)
    features = ops.hash_encode(sink.gradient.points, table, spec.field.grid)
    features.backward(sink.gradient.features.T)
    assert table.grad is not None and weights_grad is not None
    assert_close(table.grad, dense, CLOSE)


def test_without_gradients_nothing_is_kept() -> None:
    """Neither under no_grad nor where nothing wants one."""
    inputs, parameters, spec = problem(5)
    with torch.no_grad():
        assert not ops.render_rays(inputs, parameters, spec).values.requires_grad
    plain = render_inputs(rays_through_cube(5, torch.float64), full_occupancy(), 4, 2)
    fixed = parameters_of(spec.field, torch.float64)
    assert not ops.render_rays(plain, fixed, spec).values.requires_grad


def test_gradients() -> None:
    """To rays, background, conditions and all parameters, against finite differences."""
    grid = small_grid(levels=2, log2_rows=6, coarsest=2, finest=3)
    field = small_field(grid=grid, num_conditions=1, width=8, density_bias=1.0)
    spec = RenderSpec(field=field, march=march(step=0.07, min_transmittance=0.0))
    # Everywhere occupied, so that the samples stay what they are while the rays are moved a little.
    rays = rays_through_cube(4, torch.float64)
    inputs = render_inputs(rays, full_occupancy(), 3, 1)
    parameters = parameters_of(field, torch.float64)

    def render(*leaves: Tensor) -> tuple[Tensor, ...]:
        origins, directions, background, conditions, table, density, color = leaves
        moved = dataclasses.replace(
            inputs,
            rays=Rays(origins=origins, directions=directions, footprint=rays.footprint),
            background=background,
            conditions=conditions,
        )
        weights = FieldParameters(table=table, density_weights=density, color_weights=color)
        output = ops.render_rays(moved, weights, spec)
        return tuple(getattr(output, name) for name in SEEN)

    leaves = [leaf.detach().requires_grad_() for leaf in leaves_of(inputs, parameters)]
    assert gradcheck(render, leaves, fast_mode=True, atol=1e-4)


@pytest.fixture
def several_threads() -> Iterator[None]:
    """Torch computes on more threads than a test worker gives it."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("several_threads")
def test_gradients_do_not_depend_on_timing() -> None:
    """Many samples add to one ray's gradient in the same order each time, on several threads."""
    field = small_field(num_conditions=2)
    inputs = render_inputs(rays_through_cube(700), occupancy_of(ball(0.4)), 3, 2)
    specs = RenderSpec(field=field, march=march()), LossSpec(delta=0.1)
    found = [
        vars(ops.render_loss_gradients(inputs, targets_of(700), parameters_of(field), specs)[1])
        for _ in range(8)
    ]
    for name, expected in found[0].items():
        if isinstance(expected, Tensor):
            assert all(torch.equal(other[name], expected) for other in found), name
