"""Random rays through random occupied space: every module beside the reference."""

import dataclasses
from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels import dispatch, ops
from neural_render.kernels.cpu import modules
from neural_render.kernels.records import (
    FactoredGradient,
    FieldParameters,
    PackedSamples,
    RenderInputs,
)
from neural_render.kernels.specs import FieldSpec, LossSpec, MarchSpec, RenderSpec
from tests.kernels.comparison import Outputs, differentiate, instruction_set
from tests.kernels.cpu.fuzzing import (
    LAYOUTS,
    allowed,
    assert_all_close,
    expanded,
    fields,
    marches,
    misaligned,
    on_all,
    transposed,
)
from tests.kernels.problems import (
    ball,
    generator,
    march,
    occupancy_of,
    packed_samples,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    targets_of,
)
from tests.kernels.tolerances import FLOAT32, assert_close

pytestmark = pytest.mark.skipif(
    bool(dispatch.unavailable_reason("cpu")), reason="the native kernels are not installed here"
)
Layout = Callable[[Tensor], Tensor]
OCCUPANCIES: dict[str, Callable[[Tensor], Tensor]] = {
    "empty": lambda points: torch.zeros(len(points), dtype=torch.bool),
    "full": lambda points: torch.ones(len(points), dtype=torch.bool),
    "ball": ball(0.3),
    "corner": lambda points: (points < 0.125).all(-1),
    "last_cell": lambda points: (points > 0.992).all(-1),
}


@cache
def occupancy_called(name: str, cascades: int) -> Tensor:
    return occupancy_of(OCCUPANCIES[name], cascades)


# Exact in float32, on the borders of cells, blocks, cascades and the cube, and off all of them.
PLACES = st.sampled_from([0.0, 1.0, 0.5, 0.25, 0.125, 1 / 128, -0.0, -1.0, 2.0, 0.3, 0.77])
SLOPES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.37, 1e-12, -1e-12, 1e-40])
BROKEN = st.sampled_from([torch.nan, torch.inf, -torch.inf, 1e38])


@st.composite
def nasty_rays(draw: st.DrawFn) -> Rays:
    """Rays along axes, edges and diagonals, from anywhere."""
    triple = st.tuples(PLACES, PLACES, PLACES)
    slopes = st.tuples(SLOPES, SLOPES, SLOPES).filter(lambda d: max(map(abs, d)) > 0.1)
    pairs = draw(st.lists(st.tuples(triple, slopes), min_size=0, max_size=20))
    origins = torch.tensor([origin for origin, _ in pairs]).view(-1, 3)
    directions = torch.tensor([direction for _, direction in pairs]).view(-1, 3)
    return Rays(
        origins=origins,
        directions=torch.nn.functional.normalize(directions, dim=-1),
        footprint=torch.full((len(pairs),), draw(st.sampled_from([0.0, 0.01, 10.0]))),
    )


def laid_out(rays: Rays, layout: Layout) -> Rays:
    return Rays(**{name: layout(tensor) for name, tensor in vars(rays).items()})


def jitter_of(rays: Rays) -> Tensor:
    return torch.rand(len(rays), generator=generator(9)) * 0.999  # as `render_inputs` has it


def marched(rays: Rays, occupancy: Tensor, spec: MarchSpec) -> Outputs:
    return vars(ops.march_rays(rays, jitter_of(rays), occupancy, spec, 1 << 17))


def of_ray(samples: Outputs, ray: int) -> Tensor:
    return samples["t_near"][samples["offsets"][ray] : samples["offsets"][ray + 1]]


def same_samples(actual: Outputs, expected: Outputs) -> Tensor:
    """Of which rays two marches found the same samples."""
    relative = FLOAT32["distances"].relative
    same = []
    for ray in range(len(expected["offsets"]) - 1):
        a, b = of_ray(actual, ray), of_ray(expected, ray)
        same.append(a.shape == b.shape and bool(((a - b).abs() <= relative * b.abs()).all()))
    return torch.tensor(same, dtype=torch.bool)


def decided(rays: Rays, occupancy: Tensor, spec: MarchSpec) -> Tensor:
    """Of which rays the samples do not hang on a coordinate's last bits, so that all must agree.

    Moved a little along the axes along which they travel (on the others arithmetic is exact, also
    on a border) they have as many samples as before.
    """
    corners = ((0, 0, 0), (1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1), (-1, -1, -1))
    moves = 1e-5 * (rays.directions.abs() > 1e-6)
    counts = []
    with dispatch.using("reference"):
        for signs in corners:
            moved = dataclasses.replace(rays, origins=rays.origins + moves * torch.tensor(signs))
            counts.append(marched(moved, occupancy, spec)["offsets"].diff())
    return (torch.stack(counts) == counts[0]).all(0)


@settings(max_examples=30)
@given(nasty_rays(), marches(), st.sampled_from(sorted(OCCUPANCIES)), LAYOUTS)
def test_march_nasty_rays(rays: Rays, spec: MarchSpec, occupied: str, layout: Layout) -> None:
    """The same samples, but for rays that graze by rounding; theirs are within the cube too."""
    occupancy = occupancy_called(occupied, spec.cascades)
    everything, expected = on_all(lambda: marched(laid_out(rays, layout), layout(occupancy), spec))
    clear = decided(rays, occupancy, spec)
    for name, actual in everything.items():
        wrong = (clear & ~same_samples(actual, expected)).nonzero()[:, 0]
        assert not len(wrong), f"{name}: {rays[wrong]}"
        count = int(actual["count"])
        ray, middle = actual["ray_index"][:count], (actual["t_near"] + actual["t_far"])[:count] / 2
        points = rays.origins[ray] + rays.directions[ray] * middle[:, None]
        assert ((points - 0.5).abs() <= 0.50001).all()


@settings(max_examples=30)
@given(marches(), st.sampled_from(sorted(OCCUPANCIES)))
def test_march_through_the_cube(spec: MarchSpec, occupied: str) -> None:
    """Many rays, in general position."""
    rays, occupancy = rays_through_cube(150), occupancy_called(occupied, spec.cascades)
    everything, expected = on_all(lambda: marched(rays, occupancy, spec))
    clear = decided(rays, occupancy, spec)
    assert clear.double().mean() > 0.8, "the test has become blind"
    for name, actual in everything.items():
        wrong = (clear & ~same_samples(actual, expected)).nonzero()[:, 0]
        assert not len(wrong), f"{name}: {rays[wrong]}"


@settings(max_examples=30)
@given(
    st.tuples(BROKEN, st.integers(0, 5), st.integers(0, 8)),
    marches(),
    st.sampled_from(["full", "ball"]),
)
def test_a_broken_ray_has_no_samples_and_harms_no_other(
    broken: tuple[float, int, int], spec: MarchSpec, occupied: str
) -> None:
    """NaN, infinite or astronomically far: it ends, and sees nothing but the background."""
    value, component, at = broken
    rays, occupancy = rays_through_cube(9), occupancy_called(occupied, spec.cascades)
    both = torch.cat([rays.origins, rays.directions], dim=1)
    both[at, component] = value
    odd = dataclasses.replace(rays, origins=both[:, :3], directions=both[:, 3:])
    others = torch.arange(9) != at
    for name in modules.runnable():
        with instruction_set(name), dispatch.using("cpu"):
            actual, whole = marched(odd, occupancy, spec), marched(rays, occupancy, spec)
            field = small_field()
            inputs = render_inputs(odd, occupancy)
            seen = ops.render_rays(
                inputs, parameters_of(field), RenderSpec(field=field, march=spec)
            )
        assert not len(of_ray(actual, at)), name
        assert all(torch.equal(of_ray(actual, r), of_ray(whole, r)) for r in others.nonzero()[:, 0])
        assert torch.equal(seen.values[at], inputs.background[at]) and seen.opacity[at] == 0


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([0, 0, 1, 2, 7, 200]), max_size=300),
    st.integers(1, 9),
    st.sampled_from([0.0, 30.0, 1e4]),
    st.integers(0, 6),
    LAYOUTS,
)
def test_composite(
    counts: list[int], channels: int, thickness: float, room: int, layout: Layout
) -> None:
    """Rays with and without samples, of glass and of stone; junk behind the last sample."""
    capacity = sum(counts) + room
    samples: PackedSamples = packed_samples(counts, capacity)

    def compute() -> Outputs:
        density = torch.rand(capacity, generator=generator(1)) * thickness
        radiance = torch.rand(capacity, channels, generator=generator(2))
        density[capacity - room :], radiance[capacity - room :] = 1e30, -1e30
        leaves = {
            "density": density,
            "radiance": radiance,
            "background": torch.rand(len(counts), channels, generator=generator(3)),
        }
        leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
        outputs = dict(vars(ops.composite(samples=samples, **leaves)))
        return {**outputs, **differentiate(outputs, leaves)}

    # Behind stone there is no light, but for the roundings of terms that cancel.
    assert_all_close(compute, precision="float32", floor=1e-9)


SEEN = ("values", "opacity", "distance", "distortion")
VALUES, GRADIENTS = "render of narrow networks", "render gradients of narrow networks"


def rendered(inputs: RenderInputs, field: FieldSpec, spec: MarchSpec, layout: Layout) -> Outputs:
    """What the rays see, and gradients to all that may have one."""
    names = ("background", "conditions")
    leaves = {
        "origins": inputs.rays.origins,
        "directions": inputs.rays.directions,
        **{name: getattr(inputs, name) for name in names},
        **vars(parameters_of(field)),
    }
    leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
    footprint = layout(inputs.rays.footprint)
    rays = Rays(origins=leaves["origins"], directions=leaves["directions"], footprint=footprint)
    given = dataclasses.replace(inputs, rays=rays, **{name: leaves[name] for name in names})
    weights = FieldParameters(**{name: leaves[name] for name in vars(parameters_of(field))})
    output = ops.render_rays(given, weights, RenderSpec(field=field, march=spec))
    assert output.num_survived <= output.num_marched
    outputs = {name: getattr(output, name) for name in SEEN}
    return {**outputs, **differentiate(outputs, leaves)}


@pytest.mark.parametrize("occupied", ["ball", "full"])
@settings(max_examples=12)
@given(
    field=fields(),
    spec=marches(),
    rays=st.one_of(st.sampled_from([30, 129, 1]).map(rays_through_cube), nasty_rays()),
    layout=st.sampled_from([Tensor.clone, transposed, misaligned]),
)
def test_render_rays(
    field: FieldSpec, spec: MarchSpec, rays: Rays, occupied: str, layout: Layout
) -> None:
    """Values and gradients of rays whose samples do not hang on the last bit."""
    occupancy = occupancy_called(occupied, spec.cascades)
    inputs = render_inputs(rays, occupancy, field.num_channels, field.num_conditions)
    clear = decided(rays, occupancy, spec)
    chosen = {name: getattr(inputs, name)[clear] for name in ("jitter", "background", "conditions")}
    inputs = dataclasses.replace(inputs, rays=rays[clear], **chosen)
    everything, expected = on_all(lambda: rendered(inputs, field, spec, layout))
    for name, actual in everything.items():
        for what, value in expected.items():
            tolerance = allowed(name, VALUES if what in SEEN else GRADIENTS).of_whole()
            # A table of one row has no slope, but for the roundings of terms that cancel.
            floor = 1e-4 if what in ("to_origins", "to_directions") else 0.0
            parts = max(1, len(inputs.rays))
            assert_close(actual[what], value, tolerance, f"{name}, {what}", floor, parts)


def test_render_rays_of_expanded_tensors() -> None:
    """One background, one condition, one footprint for all."""
    field = small_field(num_conditions=2)
    inputs = render_inputs(rays_through_cube(70), occupancy_called("ball", 1), 3, 2)
    rays = dataclasses.replace(inputs.rays, footprint=torch.tensor(0.01).expand(70))
    one = {name: expanded(getattr(inputs, name)) for name in ("background", "conditions", "jitter")}
    inputs = dataclasses.replace(inputs, rays=rays, **one)
    everything, expected = on_all(lambda: rendered(inputs, field, march(), Tensor.detach))
    for name, actual in everything.items():
        for what, value in expected.items():
            tolerance = allowed(name, "render" if what in SEEN else GRADIENTS)
            assert_close(actual[what], value, tolerance.of_whole(), f"{name}, {what}")


@settings(max_examples=20)
@given(
    fields(),
    marches(),
    st.sampled_from([1, 3, 40, 300]),
    st.sampled_from(["full", "ball"]),
    st.sampled_from([0.1, 1.0, 8.0]),
)
def test_roulette_keeps_samples_whole(
    field: FieldSpec, spec: MarchSpec, num_rays: int, occupied: str, share: float
) -> None:
    """What stays are samples of the exact gradient, in their order, times one over their chance."""
    occupancy = occupancy_called(occupied, spec.cascades)
    inputs = render_inputs(
        rays_through_cube(num_rays), occupancy, field.num_channels, field.num_conditions
    )
    parameters, targets = parameters_of(field), targets_of(num_rays, field.num_channels)
    for name in modules.runnable():
        found = []
        for roulette in (0.0, share):
            specs = RenderSpec(field=field, march=spec), LossSpec(delta=0.1, roulette=roulette)
            with instruction_set(name), dispatch.using("cpu"):
                found.append(ops.render_loss_gradients(inputs, targets, parameters, specs))
                gradient = found[-1][1].table
                assert gradient.features.isfinite().all() and gradient.points.isfinite().all()
        (exact_loss, exact), (loss, drawn) = found
        assert torch.equal(exact_loss.loss, loss.loss), name
        assert torch.equal(exact_loss.squared, loss.squared), name
        if modules.PRECISIONS[name] == "float32":
            assert_drawn_from(drawn.table, exact.table)


def assert_drawn_from(drawn: FactoredGradient, exact: FactoredGradient) -> None:
    """Each sample that has a gradient is one of the exact ones, made longer."""
    kept, all_of_them = drawn.features.any(0), exact.features.any(0)
    points, features = exact.points[all_of_them], exact.features[:, all_of_them]
    place = {tuple(point): i for i, point in enumerate(points.tolist())}
    at = torch.tensor([place[tuple(point)] for point in drawn.points[kept].tolist()]).long()
    if len(place) < len(points):
        return  # two samples in one place cannot be told apart
    assert (at.diff() > 0).all()
    one, other = drawn.features[:, kept], features[:, at]
    if not len(at):
        return
    lengths = other.norm(dim=0)
    clear = lengths > 1e-6 * features.norm(dim=0).max()
    longer = one.norm(dim=0)[clear] / lengths[clear]
    assert (longer > 1 - 1e-3).all()
    apart = (one[:, clear] - longer * other[:, clear]).norm(dim=0)
    assert (apart < 1e-3 * one[:, clear].norm(dim=0)).all()
