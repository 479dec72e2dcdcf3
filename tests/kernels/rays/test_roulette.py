"""Roulette in the backward pass: a cheaper gradient whose mean over draws is the exact one."""

import struct
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import (
    ColorTargets,
    FieldParameters,
    RenderGradients,
    RenderInputs,
    RenderLoss,
)
from neural_render.kernels.specs import FieldSpec, LossSpec, RenderSpec
from tests.kernels.comparison import Outputs
from tests.kernels.problems import (
    ball,
    full_occupancy,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    targets_of,
)

# Of few rays; the first one's jitter says where a chunk's draw begins.
RAYS_OF_A_CHUNK = 8
MASK = 0xFFFFFFFF


def jitter_that_begins_at(start: float) -> float:
    """A jitter whose hash, in csrc/rays/roulette.h, is ``start``: the hash backwards."""
    for low in range(256):
        bits = int(start * 2**24) << 8 | low
        bits ^= bits >> 16
        bits = bits * pow(0x846CA68B, -1, 2**32) & MASK
        bits ^= bits >> 15 ^ bits >> 30
        bits = bits * pow(0x7FEB352D, -1, 2**32) & MASK
        bits ^= bits >> 16
        jitter = struct.unpack("f", struct.pack("I", bits))[0]
        if 0 <= jitter < 1:
            return jitter
    raise AssertionError(f"no jitter leads to {start}")


class Problem:
    """Rays at a ball, the first of each chunk beside the cube: its jitter moves no sample."""

    def __init__(self, num_rays: int, field: FieldSpec, occupancy: Tensor | None = None) -> None:
        rays = rays_through_cube(num_rays)
        rays.origins[::RAYS_OF_A_CHUNK] = 3.0
        rays.directions[::RAYS_OF_A_CHUNK] = torch.tensor([1.0, 0.0, 0.0])
        bits = occupancy_of(ball(0.4)) if occupancy is None else occupancy
        conditions = field.num_conditions
        self.inputs = render_inputs(rays, bits, field.num_channels, conditions)
        self.targets = targets_of(num_rays, field.num_channels)
        self.parameters = parameters_of(field)
        self.spec = RenderSpec(field=field, march=march())
        self.loss = LossSpec(delta=0.1, distortion_weight=0.1)

    def beginning_at(self, start: float) -> RenderInputs:
        """The same problem, whose draws begin at ``start``."""
        jitter = self.inputs.jitter.clone()
        jitter[::RAYS_OF_A_CHUNK] = jitter_that_begins_at(start)
        return replace(self.inputs, jitter=jitter)

    def solve(self, roulette: float, start: float = 0.5) -> tuple[RenderLoss, RenderGradients]:
        """By the active backend."""
        specs = self.spec, replace(self.loss, roulette=roulette)
        return ops.render_loss_gradients(
            self.beginning_at(start), self.targets, self.parameters, specs
        )

    def gradients(self, roulette: float, start: float = 0.5) -> Outputs:
        """All gradients, the table's scattered."""
        return self.dense(self.solve(roulette, start)[1])

    def dense(self, found: RenderGradients) -> Outputs:
        """All that a backward pass without rays gives."""
        scatter = dispatch.active().scatter_table_gradient
        return {
            "background": found.background,
            "conditions": found.conditions,
            "table": scatter(found.table, self.parameters.table, self.spec.field.grid),
            "density_weights": found.density_weights,
            "color_weights": found.color_weights,
        }


def mean(several: Iterable[Outputs]) -> Outputs:
    """Of each output over all."""
    found = list(several)
    return {name: torch.stack([one[name] for one in found]).mean(0) for name in found[0]}


def distance(some: Tensor, other: Tensor) -> float:
    """The length of the difference, relative."""
    return float((some.double() - other.double()).norm() / other.double().norm().clamp(min=1e-30))


def num_kept(found: RenderGradients) -> int:
    """How many samples have a gradient."""
    return int(found.table.features.any(0).sum())


def test_the_hash_is_known() -> None:
    """Else the draws below do not begin where they should; all of them are jitters."""
    jitters = [jitter_that_begins_at(start) for start in (0.0, 0.25, 0.5, 1 - 2**-24)]
    assert len(set(jitters)) == 4 and all(0 <= jitter < 1 for jitter in jitters)


@pytest.mark.parametrize("radiance", ["exp", "sigmoid"])
@pytest.mark.parametrize("num_conditions", [0, 2])
def test_the_mean_of_all_draws_is_the_exact_gradient(
    backend: str, radiance: str, num_conditions: int
) -> None:
    """Draws that begin in equal steps are as good as an integral: the error falls with their
    number, not with its root. Each alone is far off.
    """
    problem = Problem(100, small_field(radiance=radiance, num_conditions=num_conditions))
    share, num_draws = 2.0, 64
    with dispatch.using(backend):
        exact = problem.gradients(0.0)
        draws = [problem.gradients(share, (i + 0.5) / num_draws) for i in range(num_draws)]
    average = mean(draws)
    # Compositing is exact in any case.
    assert all(torch.equal(draw["background"], exact["background"]) for draw in draws)
    for name in exact.keys() - {"background"}:
        if not exact[name].numel():
            continue
        apart = min(distance(draw[name], exact[name]) for draw in draws)
        assert distance(average[name], exact[name]) < min(0.02, apart / 5), name


def of_right_colors(num_rays: int) -> Problem:
    """Rays of which four in five see what they should, but for normals: there colours ask for next
    to nothing, as of a surface in the dark."""
    problem = Problem(num_rays, small_field(radiance="exp", reflection_degree=2, density_bias=5.0))
    seen = ops.render_rays(problem.inputs, problem.parameters, problem.spec)
    right = (torch.arange(num_rays) % 5 > 0)[:, None]
    problem.targets = replace(
        problem.targets,
        colors=torch.where(right, seen.values * (1 + 1e-6), problem.targets.colors),
        opacity=torch.ones(num_rays),
        weights=torch.ones(num_rays),
        normals=torch.tensor([[0.0, 0.6, 0.8]]).repeat(num_rays, 1),
    )
    problem.loss = LossSpec(delta=0.1, relative=0.01, normal_weight=20.0)
    return problem


def test_normals_are_drawn_where_colors_ask_for_nothing_and_never_with_a_jerk(backend: str) -> None:
    """A sample that is kept in one of thousands of steps would draw as much more strongly."""
    with dispatch.using(backend):
        problem = of_right_colors(400)
        exact = problem.solve(0.0)[1]
        drawn = [problem.solve(1.0, (i + 0.5) / 64)[1] for i in range(64)]
        draws = [problem.dense(found) for found in drawn]
        gradient = problem.dense(exact)["density_weights"]
    strongest = exact.table.features.abs().max()
    assert max(found.table.features.abs().max() for found in drawn) < 8 * strongest
    assert max(map(num_kept, drawn)) < 0.8 * num_kept(exact)
    assert distance(mean(draws)["density_weights"], gradient) < 0.02
    apart = [distance(draw["density_weights"], gradient) for draw in draws]
    assert min(apart) > 0.05 and max(apart) < 1


def test_loss_errors_and_counts_are_the_same_bit_for_bit(backend: str) -> None:
    problem = Problem(100, small_field())
    with dispatch.using(backend):
        exact, gradients = problem.solve(0.0)
        for share in (0.1, 0.5, 1.0, 3.0):
            seen, found = problem.solve(share)
            for name in ("loss", "squared", "num_marched", "num_survived"):
                assert torch.equal(getattr(seen, name), getattr(exact, name)), name
            assert 0 < num_kept(found) < num_kept(gradients)
            assert len(found.table.points) < len(gradients.table.points)


def test_a_larger_share_leaves_more_out_and_none_leaves_out_nothing(backend: str) -> None:
    problem = Problem(100, small_field())
    with dispatch.using(backend):
        found = [problem.solve(share)[1] for share in (0.0, 1e-30, 0.2, 1.0, 5.0)]
        exact, almost = (problem.dense(one) for one in found[:2])
    kept = [num_kept(one) for one in found]
    assert kept == sorted(kept, reverse=True) and kept[-1] < kept[0] / 4
    for name, value in exact.items():
        assert torch.equal(value, almost[name]), name


def test_the_reference_is_always_exact() -> None:
    problem = Problem(16, small_field())
    with dispatch.using("reference"):
        exact, same = problem.gradients(0.0), problem.gradients(2.0)
    for name, value in exact.items():
        assert torch.equal(value, same[name]), name


def test_another_beginning_is_another_draw_and_the_same_one_the_same(backend: str) -> None:
    problem = Problem(100, small_field())
    with dispatch.using(backend):
        one, again, other = (problem.gradients(1.0, start) for start in (0.25, 0.25, 0.75))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["table"], other["table"])


def test_draws_do_not_depend_on_the_number_of_threads(backend: str) -> None:
    problem = Problem(2000, small_field(num_conditions=2))
    module = dispatch.load(backend)
    results = []
    try:
        with dispatch.using(backend):
            for threads in (1, 2, 5):
                module.set_threads(threads)
                results.append(problem.gradients(1.0))
    finally:
        module.set_threads(dispatch.usable_cores())
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("share", [0.5, 4.0])
def test_a_single_sample(backend: str, share: float) -> None:
    """It is its own mean: kept up to a share of 1, beyond in one of ``share`` draws, times that."""
    rays = rays_through_cube(1)
    inputs = render_inputs(rays, full_occupancy())
    field = small_field(density_bias=-2.0)
    spec = RenderSpec(field=field, march=march(step=1.0, max_step=1.0, max_samples_per_ray=1))
    parameters, targets = parameters_of(field), targets_of(1)

    def solve(roulette: float) -> RenderGradients:
        specs = spec, LossSpec(delta=0.1, roulette=roulette)
        return ops.render_loss_gradients(inputs, targets, parameters, specs)[1]

    with dispatch.using(backend):
        exact, found = solve(0.0), solve(share)
    assert num_kept(exact) == 1
    factor = share if num_kept(found) else 0.0
    expected = exact.table.features.sum(1) * max(1.0, factor) if factor else torch.zeros(10)
    assert torch.allclose(found.table.features.sum(1), expected, rtol=0.02, atol=1e-7)
    assert factor or share > 1


def test_without_a_gradient_nothing_is_drawn(backend: str) -> None:
    problem = Problem(40, small_field())
    problem.targets = replace(problem.targets, weights=torch.zeros(40))
    with dispatch.using(backend):
        for share in (0.5, 1e30):
            loss = LossSpec(delta=0.1, roulette=share)
            given = problem.inputs, problem.targets, problem.parameters, (problem.spec, loss)
            seen, found = ops.render_loss_gradients(*given)
            assert seen.loss == 0 and int(seen.num_survived) > 0
            assert all(not value.any() for value in problem.dense(found).values())


@pytest.mark.parametrize("scale", [1e-43, 1e-38, 1e-30, 1e30, 1e38])
def test_gradients_at_the_ends_of_float32_stay_finite(backend: str, scale: float) -> None:
    """Where a limit has no reciprocal, or a sum is beyond all numbers, all samples stay."""
    problem = Problem(40, small_field())
    problem.targets = replace(problem.targets, weights=problem.targets.weights * scale)
    loss = LossSpec(delta=0.1, roulette=0.5)
    given = problem.inputs, problem.targets, problem.parameters, (problem.spec, loss)
    with dispatch.using(backend):
        exact = ops.render_loss_gradients(*given[:3], (problem.spec, LossSpec(delta=0.1)))[1]
        found = ops.render_loss_gradients(*given)[1]
    assert num_kept(exact) == 0 or num_kept(found) > 0
    for name in ("table", "density_weights", "color_weights"):
        one, other = getattr(exact, name), getattr(found, name)
        if name == "table":
            one, other = one.features, other.features
        assert one.isfinite().all() <= other.isfinite().all(), name


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_loss_that_has_diverged_is_told_as_without_roulette(backend: str, wrong: float) -> None:
    """Huber's slope to an infinite target is still finite; NaN reaches all weights."""
    problem = Problem(40, small_field())
    colors = problem.targets.colors.clone()
    colors[5] = wrong
    problem.targets = replace(problem.targets, colors=colors)
    with dispatch.using(backend):
        (exact, exact_gradients), (seen, found) = problem.solve(0.0), problem.solve(0.5)
    assert not seen.loss.isfinite() and not exact.loss.isfinite()
    assert found.color_weights.isnan().any() == exact_gradients.color_weights.isnan().any()


def zero_weight_for_all_but(num_rays: int, some: list[int]) -> ColorTargets:
    """Targets of which only some rays' count."""
    weights = torch.zeros(num_rays)
    weights[some] = 1.0
    return replace(targets_of(num_rays), weights=weights)


@pytest.mark.parametrize("some", [[1, 3, 5], [2], [1, 7]])
def test_a_draw_at_the_very_end_takes_no_sample_that_has_no_chance(
    backend: str, some: list[int]
) -> None:
    """1 - 2^-24 and a chance of 1 round to 2 in float32; what is left is no full draw."""
    problem = Problem(RAYS_OF_A_CHUNK, small_field(), full_occupancy())
    problem.targets = zero_weight_for_all_but(RAYS_OF_A_CHUNK, some)
    loss = LossSpec(delta=0.1, roulette=1e-6)
    inputs = problem.beginning_at(1 - 2**-24)
    with dispatch.using(backend):
        given = inputs, problem.targets, problem.parameters
        exact = ops.render_loss_gradients(*given, (problem.spec, LossSpec(delta=0.1)))[1]
        found = ops.render_loss_gradients(*given, (problem.spec, loss))[1]
        one, other = problem.dense(exact), problem.dense(found)
    for name, value in one.items():
        assert other[name].isfinite().all(), name
        assert distance(other[name], value) < 0.02 or not value.numel(), name


def test_rays_that_see_nothing_are_no_draw(backend: str) -> None:
    problem = Problem(16, small_field())
    rays = problem.inputs.rays
    away = replace(rays, origins=torch.full_like(rays.origins, 3.0), directions=rays.directions * 0)
    away.directions[:, 0] = 1
    inputs = replace(problem.inputs, rays=away)
    loss = LossSpec(delta=0.1, roulette=0.5)
    with dispatch.using(backend):
        given = inputs, problem.targets, problem.parameters, (problem.spec, loss)
        seen, found = ops.render_loss_gradients(*given)
        assert int(seen.num_survived) == 0 and found.table.points.shape == (0, 3)
        assert not problem.dense(found)["table"].any()


def test_gradients_to_rays_come_from_the_samples_that_stay(backend: str) -> None:
    """By autograd, which asks for them; their mean is exact too."""
    problem = Problem(60, small_field(num_conditions=2))
    found: list[Outputs] = []
    starts = [(i + 0.5) / 32 for i in range(32)]
    with dispatch.using(backend):
        for share, start in [(0.0, 0.5), *((2.0, start) for start in starts)]:
            found.append(to_rays(problem, share, start))
    average = mean(found[1:])
    for name, value in found[0].items():
        assert distance(average[name], value) < 0.05, name


def to_rays(problem: Problem, share: float, start: float) -> Outputs:
    """The gradients to origins, directions and conditions."""
    inputs = problem.beginning_at(start)
    leaves = {
        "origins": inputs.rays.origins.clone().requires_grad_(),
        "directions": inputs.rays.directions.clone().requires_grad_(),
        "conditions": inputs.conditions.clone().requires_grad_(),
    }
    rays = replace(inputs.rays, origins=leaves["origins"], directions=leaves["directions"])
    inputs = replace(inputs, rays=rays, conditions=leaves["conditions"])
    parameters = FieldParameters(**vars(problem.parameters))
    specs = problem.spec, LossSpec(delta=0.1, roulette=share)
    seen = ops.render_loss(inputs, problem.targets, parameters, specs)
    gradients = torch.autograd.grad(seen.loss, list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


def test_a_few_bright_paths_leave_the_others_in(backend: str) -> None:
    """One in 60 rays sees ten thousand times the light: by a plain mean, 6 in 1000 would stay."""
    rays = 2400
    problem = Problem(rays, small_field(radiance="exp"))
    even = replace(problem.targets, colors=torch.full((rays, 3), 0.1))
    bright = torch.where(torch.arange(rays)[:, None] % 60 == 7, 1e4, 1.0)
    uneven = replace(even, colors=even.colors * bright)
    loss = LossSpec(delta=0.1, relative=0.01, roulette=1.0)
    kept = []
    for targets in (even, uneven):
        with dispatch.using(backend):
            _, found = ops.render_loss_gradients(
                problem.inputs, targets, problem.parameters, (problem.spec, loss)
            )
        kept.append(num_kept(found))
    assert kept[1] > 0.05 * kept[0]
