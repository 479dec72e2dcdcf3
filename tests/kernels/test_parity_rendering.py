"""Every backend against the reference: marching and the fused render."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FieldParameters, PackedSamples, RenderInputs
from neural_render.kernels.specs import FieldSpec, MarchSpec, RenderSpec
from tests.kernels.comparison import Outputs, differentiate, on_both, remembered, strided
from tests.kernels.problems import (
    STEP,
    ball,
    empty_occupancy,
    full_occupancy,
    generator,
    march,
    occupancy_of,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
    small_grid,
)
from tests.kernels.tolerances import (
    FLOAT32,
    SAME_SAMPLES,
    assert_close,
    assert_close_for_most,
    parity,
)

UNBOUNDED = {"cascades": 3, "cone_angle": 1 / 256, "max_step": 0.02, "step": STEP / 4, "near": 0.02}


def shells(points: Tensor) -> Tensor:
    """Onion skins, so that rays leave and enter occupied space many times."""
    return ((points - 0.5).norm(dim=-1) * 20).floor() % 2 == 0


def specks(points: Tensor) -> Tensor:
    """Single cells, far apart."""
    return torch.rand(points.shape[0], generator=generator(0)) < 0.002


OCCUPANCIES: dict[str, Callable[[int], Tensor]] = {
    "empty": empty_occupancy,
    "full": full_occupancy,
    "ball": lambda cascades: occupancy_of(ball(0.3), cascades),
    "shells": lambda cascades: occupancy_of(shells, cascades),
    "specks": lambda cascades: occupancy_of(specks, cascades),
}


def special_rays() -> Rays:
    """Rays along axes, in planes, from within, past the cube, grazing faces, edges and corners."""
    pairs = [
        ([-1.0, 0.503, 0.507], [1.0, 0.0, 0.0]),
        ([0.503, 2.0, 0.507], [0.0, -1.0, 0.0]),
        ([0.503, 0.507, 0.511], [0.0, 0.0, 1.0]),
        ([0.503, 0.507, 0.511], [-0.0, 0.0, -1.0]),
        ([-1.0, 0.503, 0.2], [1.0, 0.0, 0.31]),
        ([-1.0, 0.503, 0.2], [1.0, 1e-12, -0.07]),
        ([-1.0, 1.503, 0.507], [1.0, 0.0, 0.0]),
        ([-1.0, 0.503, 0.507], [-1.0, 0.0, 0.0]),
        ([-1.0, 0.0003, 0.507], [1.0, 0.0, 0.0]),
        ([-1.0, 0.9997, 0.507], [1.0, 0.0, 0.0]),
        ([-1.0, 1.0003, 0.507], [1.0, 0.0, 0.0]),
        ([-1.0, 1.1003, 0.507], [1.0, -1.0, 0.0]),
        ([-1.0, 0.9003, 0.507], [1.0, 1.0, 0.0]),
        ([-1.003, -1.0, -1.007], [1.0, 1.0, 1.0]),
        ([0.0, 0.0, 0.0], [1.0, 0.93, 0.87]),
        ([5.0, 40.0, -3.0], [-4.49, -39.5, 3.51]),
    ]
    origins, directions = (torch.tensor(values) for values in zip(*pairs, strict=True))
    return Rays(
        origins=origins,
        directions=torch.nn.functional.normalize(directions, dim=-1),
        footprint=torch.zeros(len(pairs)),
    )


def join(first: Rays, second: Rays) -> Rays:
    """All rays of both."""
    return Rays(
        origins=torch.cat([first.origins, second.origins]),
        directions=torch.cat([first.directions, second.directions]),
        footprint=torch.cat([first.footprint, second.footprint]),
    )


def marched(
    rays: Rays, occupancy: Tensor, spec: MarchSpec, capacity: int, backend: str
) -> PackedSamples:
    """Samples of rays with random jitter."""
    jitter = torch.rand(len(rays), generator=generator(1)) * 0.999
    with dispatch.using(backend):
        return ops.march_rays(rays, jitter, occupancy, spec, capacity)


def check_packing(samples: PackedSamples, num_rays: int) -> None:
    """Counts, offsets and ray numbers agree with each other."""
    count = int(samples.count)
    offsets = samples.offsets.long()
    assert offsets.shape == (num_rays + 1,) and offsets[0] == 0 and offsets[-1] == count
    numbers = torch.arange(num_rays).repeat_interleave(offsets.diff())
    assert torch.equal(samples.ray_index[:count].long(), numbers)
    assert (samples.t_near[:count] < samples.t_far[:count]).all()


@pytest.mark.parametrize("occupied", OCCUPANCIES)
@pytest.mark.parametrize(
    "spec",
    [march(), march(cone_angle=1 / 256, max_step=0.02, near=0.05), MarchSpec(**UNBOUNDED)],
    ids=["constant", "growing", "cascades"],
)
def test_march_rays(backend: str, occupied: str, spec: MarchSpec) -> None:
    """The same samples of nearly all rays; what differs are single samples at cells' borders."""
    rays = join(rays_through_cube(600), special_rays())
    occupancy = OCCUPANCIES[occupied](spec.cascades)
    actual = marched(rays, occupancy, spec, 1 << 19, backend)
    expected = remembered(lambda: marched(rays, occupancy, spec, 1 << 19, "reference"))
    check_packing(actual, len(rays))
    assert actual.num_wanted == actual.count
    numbers = [samples.offsets.long().diff() for samples in (actual, expected)]
    same = numbers[0] == numbers[1]
    assert same[-16:].all() or occupied == "specks", numbers
    relative = FLOAT32["distances"].relative
    for ray in same.nonzero()[:, 0].tolist():
        parts = [
            samples.t_near[samples.offsets[ray] : samples.offsets[ray + 1]]
            for samples in (actual, expected)
        ]
        same[ray] = bool(((parts[0] - parts[1]).abs() <= relative * parts[1].abs()).all())
    assert same.double().mean() >= SAME_SAMPLES
    assert (numbers[0] - numbers[1]).abs().max() <= 2


@pytest.mark.parametrize("num_rays", [0, 1, 40])
@pytest.mark.parametrize("layout", [Tensor.clone, strided], ids=["contiguous", "strided"])
def test_march_limits(backend: str, num_rays: int, layout) -> None:
    """Few samples per ray, and a capacity that is too small."""
    rays = rays_through_cube(num_rays)
    rays = Rays(
        origins=layout(rays.origins),
        directions=layout(rays.directions),
        footprint=layout(rays.footprint),
    )
    for capacity, limit in ((1 << 14, 7), (100, 1024), (0, 1024), (3, 2)):
        spec = march(max_samples_per_ray=limit)
        results = [
            marched(rays, layout(full_occupancy()), spec, capacity, name)
            for name in (backend, "reference")
        ]
        actual, expected = results
        check_packing(actual, num_rays)
        assert actual.count == expected.count and actual.num_wanted == expected.num_wanted
        assert torch.equal(actual.offsets.long(), expected.offsets)
        assert actual.t_near.shape == (capacity,)


def test_rays_that_are_not_finite_have_no_samples(backend: str) -> None:
    """And end."""
    rays = rays_through_cube(4)
    directions = rays.directions.clone()
    directions[:3] = torch.tensor([[torch.nan] * 3, [0.0] * 3, [torch.inf, 0.0, 0.0]])
    broken = dataclasses.replace(rays, directions=directions)
    samples = marched(broken, full_occupancy(), march(), 4000, backend)
    assert samples.offsets[3] == 0 < samples.count


SEEN = ("values", "opacity", "distance", "distortion")


def rendered(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, layout=Tensor.clone
) -> Outputs:
    """What the rays see, and gradients to all that may have one."""
    leaves = {
        "origins": inputs.rays.origins,
        "directions": inputs.rays.directions,
        "background": inputs.background,
        "conditions": inputs.conditions,
        **vars(parameters),
    }
    leaves = {name: layout(leaf).requires_grad_() for name, leaf in leaves.items()}
    rays = Rays(
        origins=leaves["origins"],
        directions=leaves["directions"],
        footprint=layout(inputs.rays.footprint),
    )
    given = dataclasses.replace(
        inputs,
        rays=rays,
        background=leaves["background"],
        conditions=leaves["conditions"],
        jitter=layout(inputs.jitter),
    )
    weights = FieldParameters(**{name: leaves[name] for name in vars(parameters)})
    output = ops.render_rays(given, weights, spec)
    assert output.num_survived <= output.num_marched
    outputs = {name: getattr(output, name) for name in SEEN}
    return {**outputs, **differentiate(outputs, leaves), "survived": output.num_survived}


def assert_render_parity(
    backend: str,
    inputs: RenderInputs,
    field: FieldSpec,
    spec: MarchSpec,
    layout: Callable[[Tensor], Tensor] = Tensor.clone,
) -> None:
    """Rays agree but for the few that flip a sample; so do the gradients."""
    render = RenderSpec(field=field, march=spec)
    parameters = parameters_of(field)
    actual, expected = on_both(backend, lambda: rendered(inputs, parameters, render, layout))
    of_rays = {*SEEN, "to_origins", "to_directions", "to_background", "to_conditions"}
    survived = float(expected.pop("survived"))
    assert abs(float(actual.pop("survived")) - survived) <= 0.002 * survived
    for name, value in expected.items():
        tolerance = parity(backend, "render" if name in SEEN else "render gradients")
        check = assert_close_for_most if name in of_rays else assert_close
        check(actual[name], value, tolerance, name)


RENDERS = {
    "plain": (small_field(), march()),
    "xor": (small_field(grid=small_grid(hash="xor")), march()),
    "fine_steps": (small_field(density_bias=4.0), march(step=STEP)),
    "fog": (small_field(density_bias=0.0), march(min_transmittance=0.0)),
    "wall": (small_field(density_bias=9.0), march()),
    "unbounded": (small_field(), MarchSpec(**UNBOUNDED)),
    "lights": (small_field(num_channels=6, num_conditions=4, radiance="exp"), march()),
    "four_features": (small_field(grid=small_grid(features=4), sh_degree=2), march()),
    "reflections": (small_field(reflection_degree=2, num_conditions=2), march()),
    "short_rays": (small_field(), march(max_samples_per_ray=9)),
}


@pytest.mark.parametrize("name", RENDERS)
def test_render_rays(backend: str, name: str) -> None:
    """Values, and gradients to rays, background, conditions and all parameters."""
    field, spec = RENDERS[name]
    rays = join(rays_through_cube(100), special_rays())
    footprint = torch.rand(len(rays), generator=generator(3)) * 0.01
    occupancy = occupancy_of(ball(0.4), spec.cascades)
    inputs = render_inputs(
        dataclasses.replace(rays, footprint=footprint),
        occupancy,
        field.num_channels,
        field.num_conditions,
    )
    assert_render_parity(backend, inputs, field, spec)


@pytest.mark.parametrize("num_rays", [0, 1, 5])
@pytest.mark.parametrize("occupied", ["empty", "full"])
def test_render_few_rays(backend: str, num_rays: int, occupied: str) -> None:
    """Nothing to see, and nobody to see it."""
    inputs = render_inputs(rays_through_cube(num_rays), OCCUPANCIES[occupied](1))
    assert_render_parity(backend, inputs, small_field(), march())


def test_render_strided_tensors(backend: str) -> None:
    """Memory layout is the backend's affair."""
    inputs = render_inputs(rays_through_cube(30), full_occupancy(), 3, 2)
    assert_render_parity(backend, inputs, small_field(num_conditions=2), march(), strided)


def test_render_without_gradients_is_the_same_image(backend: str) -> None:
    """The gradient-free mode may take another way; it leads to the same values."""
    field = small_field()
    parameters = parameters_of(field)
    inputs = render_inputs(rays_through_cube(100), occupancy_of(ball(0.4)))
    spec = RenderSpec(field=field, march=march())
    with dispatch.using(backend):
        with torch.no_grad():
            free = ops.render_rays(inputs, parameters, spec)
        parameters.table.requires_grad_()
        kept = ops.render_rays(inputs, parameters, spec)
    for name in SEEN:
        tolerance = parity(backend, "render")
        assert_close(getattr(free, name), getattr(kept, name).detach(), tolerance, name)


@pytest.mark.parametrize("num_conditions", [0, 2])
def test_gathered_colours(backend: str, num_conditions: int) -> None:
    """Fewer colours, nearly the same picture; and each backend gathers as the reference does."""
    field = small_field(num_conditions=num_conditions, density_bias=4.5)
    parameters = parameters_of(field)
    occupancy = occupancy_of(ball(0.4))
    inputs = render_inputs(rays_through_cube(200), occupancy, 3, num_conditions)
    exact = RenderSpec(field=field, march=march(min_transmittance=0.03))
    spec = dataclasses.replace(exact, min_weight=0.02)
    with torch.no_grad():
        with dispatch.using("reference"):
            every, expected = (ops.render_rays(inputs, parameters, one) for one in (exact, spec))
        with dispatch.using(backend):
            found = ops.render_rays(inputs, parameters, spec)
    assert int(found.num_survived) < int(every.num_survived)
    assert abs(int(found.num_survived) / int(expected.num_survived) - 1) < 0.05
    for name in SEEN:
        # Where the last bit decides, another sample is asked, or a ray stops one sample later.
        error = (getattr(found, name) - getattr(expected, name)).abs()
        assert error.quantile(0.9) < 5e-3 and error.max() < 0.06, name
    assert (found.values - every.values).abs().max() < 0.05
    # What is stopped is opaque.
    stopped = every.opacity > 0.9701
    assert stopped.any() and (found.opacity[stopped] > 0.9999).all()


def test_gathering_is_for_pictures_alone(backend: str) -> None:
    """Where a gradient is kept each sample has its own colour."""
    field = small_field()
    parameters = parameters_of(field)
    parameters.table.requires_grad_()
    inputs = render_inputs(rays_through_cube(50), occupancy_of(ball(0.4)))
    spec = RenderSpec(field=field, march=march())
    with dispatch.using(backend):
        one, two = (
            ops.render_rays(inputs, parameters, dataclasses.replace(spec, min_weight=weight))
            for weight in (0.0, 0.1)
        )
    assert torch.equal(one.values, two.values) and one.values.requires_grad


def test_factored_gradients_are_understood_by_all(backend: str) -> None:
    """A backend's factored gradient, scattered by the reference, is its own dense gradient."""
    field = small_field()
    parameters = parameters_of(field)
    parameters.table.requires_grad_()
    rays = rays_through_cube(60)
    rays = dataclasses.replace(rays, footprint=torch.full((60,), 0.01))
    inputs = render_inputs(rays, occupancy_of(ball(0.4)))
    spec = RenderSpec(field=field, march=march())
    sink = ops.TableGradientSink()
    with dispatch.using(backend):
        ops.render_rays(inputs, parameters, spec, sink).values.sum().backward()
        ops.render_rays(inputs, parameters, spec).values.sum().backward()
    assert sink.gradient is not None and parameters.table.grad is not None
    scatter = dispatch.load("reference").scatter_table_gradient
    dense = scatter(sink.gradient, parameters.table.detach(), field.grid)
    assert_close(dense, parameters.table.grad, parity(backend, "gradients", "float32"))


def test_results_do_not_depend_on_the_number_of_threads(backend: str) -> None:
    """Bit for bit: partial sums belong to chunks, never to threads."""
    if backend in dispatch.ON_GPU:
        pytest.skip("a GPU has threads of its own")
    field = small_field(num_conditions=2)
    inputs = render_inputs(rays_through_cube(2000), occupancy_of(ball(0.4)), 3, 2)
    spec = RenderSpec(field=field, march=march())
    module = dispatch.load(backend)
    results = []
    try:
        with dispatch.using(backend):
            for threads in (1, 2, 5):
                module.set_threads(threads)
                results.append(rendered(inputs, parameters_of(field), spec))
    finally:
        module.set_threads(dispatch.usable_cores())
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(value, other[name]), name
