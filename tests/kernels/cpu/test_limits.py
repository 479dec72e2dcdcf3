"""Batches and tables as large as they come: the same numbers as in pieces or the reference."""

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.core.rays import Rays
from neural_render.kernels import dispatch, ops
from neural_render.kernels.cpu import modules
from neural_render.kernels.records import (
    FactoredGradient,
    FieldInputs,
    FieldParameters,
    RenderInputs,
)
from neural_render.kernels.specs import AdamSpec, HashGridSpec, MlpSpec, RenderSpec
from tests.kernels.comparison import Outputs, instruction_set, on_both
from tests.kernels.problems import (
    ball,
    generator,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    small_grid,
    unit_vectors,
)
from tests.kernels.tolerances import assert_close, parity

RUNNABLE = () if dispatch.unavailable_reason("cpu") else modules.runnable()
pytestmark = pytest.mark.skipif(not RUNNABLE, reason="the native kernels are not installed here")
MANY = (1 << 17) + 1234  # samples
MANY_RAYS = 20_011
FIELD = small_field(num_conditions=2)
LEAVES = ("points", "origins", "inputs", "weights", "table", "density_weights", "color_weights")


@pytest.fixture(params=RUNNABLE, autouse=True)
def module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each module in turn."""
    with instruction_set(request.param), dispatch.using("cpu"):
        yield


def assert_same_as_in_pieces(whole: Outputs, pieces: list[Outputs]) -> None:
    """But for the last bits: an element's place decides what is multiplied and added in one."""
    for name, value in whole.items():
        parts = [piece[name] for piece in pieces]
        is_sum = name.endswith("weights") or name == "table"
        total = torch.stack(parts).sum(0) if is_sum else torch.cat(parts)
        if value.dtype == torch.int64:
            assert torch.equal(value, total), name
        else:
            kind = "render gradients" if name in LEAVES else "render"
            assert_close(value, total, parity("cpu", kind), name)


def cut(num: int) -> list[slice]:
    """Unequal pieces, one of a single element."""
    edges = [0, 1, num // 3 + 5, num]
    return [slice(*pair) for pair in itertools.pairwise(edges)]


def asked(samples: FieldInputs, parameters: FieldParameters) -> Outputs:
    """Density and radiance, and the gradients to samples and parameters."""
    leaves = {
        "points": samples.points.clone().requires_grad_(),
        **{name: value.clone().requires_grad_() for name, value in vars(parameters).items()},
    }
    given = dataclasses.replace(samples, points=leaves["points"])
    weights = FieldParameters(**{name: leaves[name] for name in vars(parameters)})
    density, radiance = ops.query_field(given, weights, FIELD)
    gradients = torch.autograd.grad(density.sum() + radiance.sum(), list(leaves.values()))
    found = dict(zip(leaves, gradients, strict=True))
    return {"density": density.detach(), "radiance": radiance.detach(), **found}


def test_many_samples_of_a_field() -> None:
    parameters = parameters_of(FIELD)
    samples = FieldInputs(
        points=torch.rand(MANY, 3, generator=generator(1)),
        directions=unit_vectors(MANY),
        conditions=torch.rand(3, 2, generator=generator(2)),
        ray_index=torch.arange(MANY) % 3,
        footprint=torch.rand(MANY, generator=generator(3)) * 0.02,
    )
    names = ("points", "directions", "ray_index", "footprint")
    pieces = [
        dataclasses.replace(samples, **{name: getattr(samples, name)[part] for name in names})
        for part in cut(MANY)
    ]
    whole = asked(samples, parameters)
    assert_same_as_in_pieces(whole, [asked(piece, parameters) for piece in pieces])
    alone = ops.query_density(samples.points, parameters, FIELD, samples.footprint)
    assert_close(alone, whole["density"], parity("cpu", "values"))


def test_many_samples_of_a_plain_network() -> None:
    spec = MlpSpec(inputs=3, width=8, hidden_layers=1, outputs=2)
    weights = torch.randn(spec.num_weights, generator=generator(2))
    inputs = torch.randn(MANY, 3, generator=generator(1))

    def computed(inputs: Tensor) -> Outputs:
        leaf, learnt = inputs.clone().requires_grad_(), weights.clone().requires_grad_()
        outputs = ops.mlp(leaf, learnt, spec)
        to_inputs, to_weights = torch.autograd.grad(outputs.sum(), (leaf, learnt))
        return {"outputs": outputs.detach(), "inputs": to_inputs, "weights": to_weights}

    assert_same_as_in_pieces(computed(inputs), [computed(inputs[part]) for part in cut(MANY)])


def seen(inputs: RenderInputs, parameters: FieldParameters, keep: bool) -> Outputs:
    """What rays see and, unless nothing is kept for it, the gradients to them and to parameters."""
    spec = RenderSpec(field=FIELD, march=march())
    leaves = {
        "origins": inputs.rays.origins.clone().requires_grad_(keep),
        **{name: value.clone().requires_grad_(keep) for name, value in vars(parameters).items()},
    }
    rays = dataclasses.replace(inputs.rays, origins=leaves["origins"])
    weights = FieldParameters(**{name: leaves[name] for name in vars(parameters)})
    output = ops.render_rays(dataclasses.replace(inputs, rays=rays), weights, spec)
    found = {name: getattr(output, name) for name in ("values", "opacity", "distance")}
    assert int(output.num_survived) > 0
    if not keep:
        return found
    gradients = torch.autograd.grad(output.values.sum(), list(leaves.values()))
    detached = {name: value.detach() for name, value in found.items()}
    of_leaves = dict(zip(leaves, gradients, strict=True))
    return {**detached, **of_leaves, "counts": output.num_survived[None]}


def many_rays() -> tuple[RenderInputs, list[RenderInputs]]:
    """All, and in pieces."""
    inputs = render_inputs(rays_through_cube(MANY_RAYS), occupancy_of(ball(0.4)), 3, 2)
    names = ("rays", "jitter", "background", "conditions")
    pieces = [
        dataclasses.replace(inputs, **{name: getattr(inputs, name)[part] for name in names})
        for part in cut(MANY_RAYS)
    ]
    return inputs, pieces


def test_many_rays() -> None:
    whole, pieces = many_rays()
    parameters = parameters_of(FIELD)
    results = seen(whole, parameters, True), [seen(piece, parameters, True) for piece in pieces]
    survived = [int(result.pop("counts")) for result in (results[0], *results[1])]
    assert survived[0] == pytest.approx(sum(survived[1:]), rel=1e-3) and survived[0] > 1 << 17
    assert_same_as_in_pieces(*results)
    with torch.no_grad():
        free = seen(whole, parameters, False)
    for name, value in free.items():
        assert_close(value, results[0][name], parity("cpu", "render"), name)


def test_march_many_rays() -> None:
    whole, pieces = many_rays()
    capacity = 1 << 21

    def marched(rays: Rays, jitter: Tensor) -> Outputs:
        samples = ops.march_rays(rays, jitter, whole.occupancy, march(), capacity)
        count = int(samples.count)
        assert count == int(samples.num_wanted)
        return {"t_near": samples.t_near[:count], "num_samples": samples.offsets.diff()}

    found = marched(whole.rays, whole.jitter)
    assert len(found["t_near"]) > 1 << 17
    assert_same_as_in_pieces(found, [marched(piece.rays, piece.jitter) for piece in pieces])


def test_a_step_of_adam_from_many_samples() -> None:
    grid = small_grid()
    start = torch.rand(grid.num_rows, 2, generator=generator(1))
    gradient = FactoredGradient(
        points=torch.rand(MANY, 3, generator=generator(2)),
        features=torch.rand(grid.num_outputs, MANY, generator=generator(3)) + 0.5,
    )

    adam = AdamSpec(learning_rate=0.01, step=1)

    def compute() -> Outputs:
        table, second = start.clone(), torch.zeros(grid.num_rows)
        ops.table_adam_step(table, second, gradient, grid, adam)
        return {"table": table, "second": second}

    actual, expected = on_both("cpu", compute)
    for name, value in expected.items():
        assert_close(actual[name], value, parity("cpu", "gradients", "float32"), name)


@pytest.mark.parametrize(
    "spec",
    [
        HashGridSpec(levels=1, features=16, log2_rows=19, coarsest=1024, finest=1024),
        HashGridSpec(levels=2, features=1, log2_rows=22, coarsest=300, finest=4000, hash="xor"),
        HashGridSpec(levels=40, features=1, log2_rows=4, coarsest=2, finest=100),
        HashGridSpec(levels=1, features=1, log2_rows=0, coarsest=1, finest=1),
    ],
    ids=["widest", "longest", "most_levels", "smallest"],
)
def test_tables_at_their_limits(spec: HashGridSpec) -> None:
    """Up to a level's first and last row, from both of which lookups go over the end."""
    table = torch.rand(spec.num_rows, spec.features, generator=generator(1)) - 0.5
    points = torch.cat([torch.rand(3000, 3, generator=generator(2)), torch.ones(1, 3)])
    points = torch.cat([points, torch.zeros(1, 3)])

    def compute() -> Outputs:
        leaf = table.clone().requires_grad_()
        features = ops.hash_encode(points, leaf, spec)
        return {
            "features": features.detach(),
            "to_table": torch.autograd.grad(features.sum(), leaf)[0],
        }

    actual, expected = on_both("cpu", compute)
    kind = "features of level 2048"
    assert_close(actual["features"], expected["features"], parity("cpu", kind), "features")
    # A row's share of points is as exact as a point's place in its cell.
    tolerance = parity("cpu", kind, "float32")
    assert_close(actual["to_table"], expected["to_table"], tolerance, "to_table")
    assert expected["to_table"].any(dim=1).sum() > min(spec.num_rows, 3000) / 2


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sh_degree": 9}, r"field\.sh_degree=9 is not between 1 and 8"),
        ({"reflection_degree": 9}, r"field\.reflection_degree=9 .* must be 0 to 8"),
        ({"reflection_degree": 2, "latent": 3}, r"latent=3: .* normals take latent values 1 to 3"),
    ],
)
def test_harmonics_beyond_the_tables_are_refused(given: dict[str, int], sentence: str) -> None:
    with pytest.raises(KernelError, match=sentence):
        small_field(**given).check_degrees()


def test_networks_deeper_than_the_buffers_are_refused() -> None:
    spec = MlpSpec(inputs=3, width=8, hidden_layers=9, outputs=2)
    with pytest.raises(KernelError, match="networks of at most 8 hidden layers"):
        ops.mlp(torch.zeros(5, 3), torch.zeros(spec.num_weights), spec)
