"""Random encodings, networks, fields and optimiser steps: every module beside the reference."""

import dataclasses
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FactoredGradient, FieldInputs, FieldParameters
from neural_render.kernels.specs import MAX_SH_DEGREE, AdamSpec, FieldSpec, HashGridSpec, MlpSpec
from tests.kernels.comparison import Outputs, differentiate
from tests.kernels.cpu.fuzzing import (
    COUNTS,
    LAYOUTS,
    SMALL_COUNTS,
    allowed,
    assert_all_close,
    expanded,
    fields,
    grids,
    networks,
    on_all,
)
from tests.kernels.problems import (
    field_inputs,
    generator,
    near_a_kink,
    parameters_of,
    points_away_from_borders,
    small_field,
    small_grid,
)
from tests.kernels.tolerances import assert_close

pytestmark = pytest.mark.skipif(
    bool(dispatch.unavailable_reason("cpu")), reason="the native kernels are not installed here"
)
Layout = Callable[[Tensor], Tensor]
ENCODED = ("features", "feature gradients")
OF_FIELDS = ("values", "gradients of narrow networks")
# On the cube's corners, edges and faces, and next to them.
ON_BORDERS = (0.0, 1.0, 0.5, 1e-9, 1 - 6e-8, 0.25)
# Not in the cube, or not a number at all.
OUTSIDE = (-1e-7, 1.0000001, -3.0, 1e30, -torch.inf, torch.inf, torch.nan)


def encode(points: Tensor, table: Tensor, spec: HashGridSpec, footprint: Tensor, layout: Layout):
    """Features and gradients, from tensors in some memory layout."""
    leaves = {"points": layout(points).requires_grad_(), "table": layout(table).requires_grad_()}
    features = ops.hash_encode(leaves["points"], leaves["table"], spec, layout(footprint))
    outputs = {"features": features}
    return {**outputs, **differentiate(outputs, leaves)}


def table_of(spec: HashGridSpec) -> Tensor:
    return torch.rand(spec.num_rows, spec.features, generator=generator(1)) - 0.5


def footprints(num: int) -> Tensor:
    """None for a third of the samples, then from tiny to larger than the cube."""
    sizes = torch.logspace(-6, 1, num)
    return sizes.where(torch.arange(num) % 3 > 0, 0.0)


@settings(max_examples=40)
@given(grids(), COUNTS, LAYOUTS, st.booleans())
def test_hash_encode(spec: HashGridSpec, num: int, layout: Layout, with_footprints: bool) -> None:
    points = points_away_from_borders(num, spec)
    footprint = footprints(num) if with_footprints else torch.zeros(num)
    assert_all_close(lambda: encode(points, table_of(spec), spec, footprint, layout), kinds=ENCODED)


@settings(max_examples=40)
@given(grids(), st.lists(st.sampled_from(ON_BORDERS), min_size=4, max_size=4), st.integers(1, 18))
def test_hash_encode_on_borders(spec: HashGridSpec, numbers: list[float], num: int) -> None:
    """Values, and the table's gradient; the gradient to the points jumps there."""
    points = torch.tensor(numbers[: spec.dims]).expand(num, -1)

    def compute() -> Outputs:
        seen = encode(points, table_of(spec), spec, torch.zeros(num), Tensor.clone)
        return {name: seen[name] for name in ("features", "to_table")}

    assert_all_close(compute, kinds=ENCODED)


@settings(max_examples=40)
@given(
    grids(),
    st.lists(st.sampled_from(OUTSIDE + ON_BORDERS), min_size=4, max_size=4),
    st.integers(0, 17),
)
def test_points_outside_are_moved_to_the_border(
    spec: HashGridSpec, numbers: list[float], at: int
) -> None:
    """Each coordinate by itself, NaN to 0; and the samples beside them notice nothing."""
    points = torch.rand(18, spec.dims, generator=generator(4))
    moved = points.clone()
    points[at] = torch.tensor(numbers[: spec.dims])
    moved[at] = points[at].nan_to_num(0.0).clamp(0, 1)
    with dispatch.using("cpu"):
        table, none = table_of(spec), torch.zeros(18)
        actual, expected = (encode(x, table, spec, none, Tensor.clone) for x in (points, moved))
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


@settings(max_examples=40)
@given(networks(), COUNTS, LAYOUTS)
def test_mlp(spec: MlpSpec, num: int, layout: Layout) -> None:
    weights = torch.randn(spec.num_weights, generator=generator(2)) / 3
    inputs = torch.randn(num * 2, spec.inputs, generator=generator(1))
    inputs = inputs[~near_a_kink(inputs, weights, spec)][:num]

    def compute() -> Outputs:
        leaves = {"inputs": inputs, "weights": weights}
        leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
        outputs = {"outputs": ops.mlp(leaves["inputs"], leaves["weights"], spec)}
        return {**outputs, **differentiate(outputs, leaves)}

    assert_all_close(compute, parts=num)


def query(spec: FieldSpec, parameters: FieldParameters, samples: FieldInputs, layout: Layout):
    """The field's answers and gradients, of density and radiance and of density alone."""
    names = ("points", "directions", "conditions")
    leaves = {**{name: getattr(samples, name) for name in names}, **vars(parameters)}
    leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
    inputs = FieldInputs(
        **{name: leaves[name] for name in names},
        ray_index=layout(samples.ray_index),
        footprint=layout(samples.footprint),
    )
    weights = FieldParameters(**{name: leaves[name] for name in vars(parameters)})
    density, radiance = ops.query_field(inputs, weights, spec)
    outputs = {"density": density, "radiance": radiance}
    alone = {"alone": ops.query_density(inputs.points, weights, spec, inputs.footprint)}
    asked = {name: leaves[name] for name in ("points", "table", "density_weights")}
    of_density = differentiate(alone, asked)
    return {
        **outputs,
        **differentiate(outputs, leaves),
        **alone,
        **{f"{name}_of_density": value for name, value in of_density.items()},
    }


@settings(max_examples=40)
@given(fields(), COUNTS, LAYOUTS)
@example(small_field(num_conditions=2), 30_001, Tensor.clone)
def test_query_field_and_density(spec: FieldSpec, num: int, layout: Layout) -> None:
    parameters = parameters_of(spec)
    samples = field_inputs(num, parameters, spec)
    assert_all_close(lambda: query(spec, parameters, samples, layout), kinds=OF_FIELDS, parts=num)


DIRECTIONS = [[0.0, 0.0, 1.0], [-0.0, -1.0, -0.0], [1e-30, 1.0, -1e-20], [0.0, 0.0, 0.0]]


@settings(max_examples=40)
@given(st.integers(1, MAX_SH_DEGREE), st.sampled_from(DIRECTIONS), SMALL_COUNTS)
def test_query_field_of_expanded_tensors_and_odd_directions(
    degree: int, direction: list[float], num: int
) -> None:
    spec = small_field(sh_degree=degree, num_conditions=3)
    parameters = parameters_of(spec)
    samples = field_inputs(num, parameters, spec)
    odd = dataclasses.replace(
        samples,
        directions=torch.tensor([direction]).expand(num, 3),
        conditions=expanded(samples.conditions),
        footprint=expanded(samples.footprint),
    )
    compute = partial(query, spec, parameters, odd, torch.Tensor.detach)
    assert_all_close(compute, kinds=OF_FIELDS, parts=num)


@settings(max_examples=40)
@given(grids(dims=3), SMALL_COUNTS, LAYOUTS)
def test_table_adam_step(spec: HashGridSpec, num: int, layout: Layout) -> None:
    """Rows that nothing touched keep their value and moment, bit for bit."""
    start = table_of(spec)
    points = torch.rand(num, 3, generator=generator(2))
    # Away from zero, so that no row's gradient cancels: Adam would make noise a full step.
    features = torch.rand(spec.num_outputs, num, generator=generator(3)) + 0.5
    factored = FactoredGradient(points=layout(points), features=layout(features))

    def compute() -> Outputs:
        table, second = start.clone(), torch.zeros(len(start))
        for step in (1, 2):
            adam = AdamSpec(learning_rate=0.01, step=step)
            ops.table_adam_step(table, second, factored, spec, adam)
        dense = dispatch.active().scatter_table_gradient(factored, start, spec)
        return {"dense": dense, "table": table, "second": second}

    everything, expected = on_all(compute)
    untouched = (expected["dense"] == 0).all(-1)
    # A corner of nearly no weight has a gradient of nearly no digits.
    clear = (expected["dense"].abs() > 1e-3).all(-1)
    for name, actual in everything.items():
        assert torch.equal(actual["table"][untouched], start[untouched]), name
        assert not actual["second"][untouched].any(), name
        for what, value in expected.items():
            tolerance = allowed(name, "gradients" if what == "dense" else "adam", "float32")
            assert_close(actual[what][clear], value[clear], tolerance, f"{name}, {what}")


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([0, 1, 3, 17, 65537]), min_size=1, max_size=2).filter(
        lambda shape: torch.Size(shape).numel() < 1 << 19
    ),
    LAYOUTS,
)
def test_adam_step(shape: list[int], layout: Layout) -> None:
    start, gradient = (torch.randn(shape, generator=generator(seed)) for seed in (1, 2))
    gradient[::3] = 0

    def compute() -> Outputs:
        room = torch.zeros(3, start.numel() + 1)  # parameters that begin where no vector does
        parameter, first, second = (row[1:].view(shape) for row in room)
        parameter.copy_(start)
        adam = AdamSpec(learning_rate=0.01, step=1, weight_decay=1e-3)
        ops.adam_step(parameter, (first, second), layout(gradient), adam)
        return {"parameter": parameter, "first": first, "second": second}

    everything, expected = on_all(compute)
    for name, actual in everything.items():
        for what, value in expected.items():
            assert_close(actual[what], value, allowed(name, "adam"), f"{name}, {what}")


@settings(max_examples=40)
@given(st.sampled_from([0, 1, 3, 17, 33, 65537]), st.integers(1, 16), LAYOUTS)
def test_row_adam_step(num_rows: int, features: int, layout: Layout) -> None:
    """From second moments of all sizes, in memory that begins where no vector does."""
    start, gradient = (
        torch.randn(num_rows, features, generator=generator(seed)) for seed in (1, 2)
    )
    gradient[::3] = 0
    moments = torch.rand(num_rows, generator=generator(3)) * 2

    def compute() -> Outputs:
        room = torch.zeros(start.numel() + 1), torch.zeros(num_rows + 1)
        table, second = room[0][1:].view(start.shape), room[1][1:]
        table.copy_(start)
        second.copy_(moments)
        adam = AdamSpec(learning_rate=0.01, step=7)
        ops.row_adam_step(table, second, layout(gradient), adam)
        return {"table": table, "second": second}

    everything, expected = on_all(compute)
    for name, actual in everything.items():
        for what, value in expected.items():
            assert_close(actual[what], value, allowed(name, "adam"), f"{name}, {what}")
            untouched = start if what == "table" else moments
            assert torch.equal(actual[what][::3], untouched[::3]), f"{name}, {what}"


@pytest.mark.parametrize("wrong", OUTSIDE)
def test_a_factored_gradient_outside_the_cube_is_an_error(wrong: float) -> None:
    """The scatter trusts its points: it would write beside the table."""
    grid = small_grid()
    points = torch.full((5, 3), 0.5)
    points[3, 1] = wrong
    gradient = FactoredGradient(points=points, features=torch.ones(grid.num_outputs, 5))
    with pytest.raises(KernelError, match=r"a factored gradient has points outside \[0, 1\]"):
        dispatch.load("cpu").scatter_table_gradient(gradient, table_of(grid), grid)


@pytest.mark.parametrize("num_rays", [0, 3])
def test_conditions_that_samples_have_not_are_an_error(num_rays: int) -> None:
    """C++ trusts the index of a sample's ray: it would read, and write, beside the conditions."""
    field = small_field(num_conditions=2)
    parameters = parameters_of(field)
    inputs = field_inputs(10, parameters, field)
    inputs = dataclasses.replace(inputs, conditions=inputs.conditions[:num_rays])
    with dispatch.using("cpu"), pytest.raises(KernelError, match=rf"outside \[0, {num_rays}\)"):
        ops.query_field(inputs, parameters, field)


@pytest.mark.parametrize("changes", [{"features": 17}, {"dims": 1}, {"dims": 5, "features": 1}])
def test_grids_that_the_kernels_have_no_room_for_are_errors(changes: dict[str, int]) -> None:
    grid = HashGridSpec(levels=1, log2_rows=4, **changes)
    points = torch.zeros(1, grid.dims)
    with dispatch.using("cpu"), pytest.raises(KernelError, match=r"2 to 4 dimensions and 1 to 16"):
        ops.hash_encode(points, torch.zeros(grid.num_rows, grid.features), grid)
