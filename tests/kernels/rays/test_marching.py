"""Every backend's marching against the reference where it is easily wrong: borders, cascades, k."""

import math

import pytest
import torch
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels import dispatch, ops
from neural_render.kernels.morton import morton_encode
from neural_render.kernels.records import PackedSamples
from neural_render.kernels.specs import MORTON_RESOLUTION, MarchSpec
from tests.kernels.comparison import remembered
from tests.kernels.problems import (
    STEP,
    empty_occupancy,
    full_occupancy,
    generator,
    rays_through_cube,
)
from tests.kernels.tolerances import FLOAT32, SAME_SAMPLES

CAPACITY = 1 << 20
INTERVALS_OF_FLOAT32 = 1 << 24  # beyond, neighbours have the same distance
WORDS = MORTON_RESOLUTION**3 // 64


def marched(rays: Rays, occupancy: Tensor, spec: MarchSpec, backend: str) -> PackedSamples:
    """Samples of rays with random jitter, all of them."""
    jitter = torch.rand(len(rays), generator=generator(1)) * 0.999
    with dispatch.using(backend):
        samples = ops.march_rays(rays, jitter, occupancy, spec, CAPACITY)
    assert samples.num_wanted <= CAPACITY
    return samples


def counts_of(samples: PackedSamples) -> Tensor:
    """Samples of each ray."""
    return samples.offsets.long().diff()


def assert_same_samples(actual: PackedSamples, expected: PackedSamples, let_off: int) -> None:
    """All but ``let_off`` rays have the same intervals; those have one more or less."""
    counts = counts_of(expected)
    difference = (counts_of(actual) - counts).abs()
    assert difference.max() <= 1 and difference.count_nonzero() <= let_off, difference.nonzero()
    kept = (difference == 0).repeat_interleave(counts)
    ours = (difference == 0).repeat_interleave(counts_of(actual))
    found, wanted = (samples.t_near[: int(samples.count)] for samples in (actual, expected))
    tolerance = FLOAT32["distances"]
    far = (found[ours] - wanted[kept]).abs() > tolerance.relative * wanted[kept].abs()
    assert actual.ray_index[: int(actual.count)][ours][far].unique().numel() <= let_off


def scattered_words(cascades: int) -> Tensor:
    """A few 4x4x4 blocks, half filled, unlike in each cascade: long leaps and short ones."""
    chosen = torch.rand(cascades, WORDS, 1, generator=generator(5)) < 0.03
    filled = torch.randint(0, 256, (cascades, WORDS, 8), generator=generator(6))
    return (filled * chosen).to(torch.uint8).view(cascades, -1)


def marching(
    cascades: int, cone_angle: float, max_step: float = 1 / MORTON_RESOLUTION
) -> MarchSpec:
    """Steps as for a scene of so many cascades."""
    return MarchSpec(
        step=STEP * 2.0 ** (1 - cascades),
        near=0.02 if cone_angle else 0.0,
        cone_angle=cone_angle,
        max_step=max_step,
        cascades=cascades,
    )


@pytest.mark.parametrize("cascades", [1, 2, 3, 4])
@pytest.mark.parametrize("cone_angle", [0.0, 1 / 256, 1 / 32], ids=["constant", "slow", "fast"])
def test_scattered_cells(backend: str, cascades: int, cone_angle: float) -> None:
    """No leap over emptiness misses a cell."""
    rays = rays_through_cube(1500)
    occupancy = scattered_words(cascades)
    spec = marching(cascades, cone_angle, max_step=0.05 if cone_angle else 1.0)
    results = (
        marched(rays, occupancy, spec, backend),
        remembered(lambda: marched(rays, occupancy, spec, "reference")),
    )
    assert results[1].count > 500
    assert_same_samples(*results, let_off=int(len(rays) * (1 - SAME_SAMPLES)))


def cells_far_apart(cascades: int) -> tuple[Tensor, Tensor]:
    """A dozen cells of each cascade, two of them in its corners, and the centres of all of them."""
    n = MORTON_RESOLUTION
    occupancy, centers = empty_occupancy(cascades), []
    for cascade in range(cascades):
        cells = torch.randint(0, n, (12, 3), generator=generator(20 + cascade))
        cells[0], cells[1] = 0, n - 1
        code = morton_encode(cells)
        for at in code.tolist():
            occupancy[cascade, at // 8] |= 1 << at % 8
        centers.append(0.5 + ((cells + 0.5) / n - 0.5) * 2.0 ** (cascade - cascades + 1))
    return occupancy, torch.cat(centers)


@pytest.mark.parametrize("cascades", [1, 2, 3])
def test_the_longest_leaps_end_before_the_next_cell(backend: str, cascades: int) -> None:
    """From all eight octants, and along each axis, towards single cells in an empty cube."""
    occupancy, centers = cells_far_apart(cascades)
    sides = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)
    sides = sides[sides.any(1)]
    bent = sides + 0.3 * torch.rand(len(sides), 3, generator=generator(8)) * sides
    directions = torch.nn.functional.normalize(torch.cat([sides, bent]), dim=1)
    origins = (centers[:, None] - 1.7 * directions).view(-1, 3)
    directions = directions.repeat(len(centers), 1)
    rays = Rays(origins=origins, directions=directions, footprint=torch.zeros(len(origins)))
    spec = marching(cascades, 0.0, max_step=1.0)
    results = (
        marched(rays, occupancy, spec, backend),
        remembered(lambda: marched(rays, occupancy, spec, "reference")),
    )
    assert counts_of(results[1]).count_nonzero() > 0.8 * len(rays)
    assert_same_samples(*results, let_off=int(len(rays) * (1 - SAME_SAMPLES)))


def test_changed_cells_are_seen(backend: str) -> None:
    """What is known of the cells that were asked for last is not said of others."""
    rays = Rays(
        origins=torch.tensor([[0.001, 0.001, -1.0], [0.999, 0.999, -1.0]]),
        directions=torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]),
        footprint=torch.zeros(2),
    )
    occupancy, spec = empty_occupancy(1), marching(1, 0.0)
    assert counts_of(marched(rays, occupancy, spec, backend)).tolist() == [0, 0]
    occupancy[0, 0] = 1
    first = counts_of(marched(rays, occupancy, spec, backend))
    assert first[0] > 0 and first[1] == 0
    occupancy[0, 0], occupancy[0, -1] = 0, 128
    last = counts_of(marched(rays, occupancy, spec, backend))
    assert last[0] == 0 and last[1] > 0
    assert counts_of(marched(rays, empty_occupancy(2), marching(2, 0.0), backend)).sum() == 0


@pytest.mark.parametrize("cascades", [2, 3, 4])
@pytest.mark.parametrize("empty", [0, 1])
def test_leaps_end_where_another_cascade_begins(backend: str, cascades: int, empty: int) -> None:
    """Steps outgrow the cells of an empty cascade in the midst of its blocks."""
    occupancy = full_occupancy(cascades)
    occupancy[empty] = 0
    spec = marching(cascades, 1 / 64)
    rays = rays_through_cube(500)
    results = (
        marched(rays, occupancy, spec, backend),
        remembered(lambda: marched(rays, occupancy, spec, "reference")),
    )
    assert_same_samples(*results, let_off=int(len(rays) * (1 - SAME_SAMPLES)))


@pytest.mark.parametrize("cascades", [2, 3])
def test_midpoints_on_the_border_of_a_finer_cascade(backend: str, cascades: int) -> None:
    """They belong to the coarser one; what lies behind belongs to the finer."""
    occupancy = empty_occupancy(cascades)
    occupancy[: cascades - 1] = 255
    origins = torch.tensor([[0.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.0, 0.25, 0.25]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    rays = Rays(origins=origins, directions=directions, footprint=torch.zeros(3))
    spec = MarchSpec(step=1 / 512, cascades=cascades)
    jitter = torch.full((3,), 0.5)  # midpoints are multiples of the step
    counts = []
    for name in (backend, "reference"):
        with dispatch.using(name):
            counts.append(counts_of(ops.march_rays(rays, jitter, occupancy, spec, 4000)))
    assert torch.equal(*counts), counts
    assert counts[1][0] == 255


def nasty_rays() -> Rays:
    """Components that are 0, -0 or tiny; origins on faces, edges, borders of cells, and far off."""
    border = 37 / MORTON_RESOLUTION
    pairs = [
        ([-1.0, 0.0, 0.5], [1.0, 0.0, 0.0]),
        ([-1.0, 0.0, 0.5], [1.0, -0.0, -0.0]),
        ([0.0, 0.0, 0.0], [-0.0, -0.0, 1.0]),
        ([1.0, 0.5, 0.5], [0.0, 0.0, 1.0]),
        ([1.0, 0.5, 2.0], [-0.0, 0.0, -1.0]),
        ([1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
        ([border, border, -2.0], [0.0, 0.0, 1.0]),
        ([border, border, 3.0], [-0.0, -0.0, -1.0]),
        ([0.25, 0.75, -2.0], [0.0, 0.0, 1.0]),
        ([0.5, 0.5, -2.0], [1e-30, -1e-30, 1.0]),
        ([0.5, 0.5, -2.0], [1e-12, -1e-12, 1.0]),
        ([0.5, 0.5, -2.0], [1e-42, -1e-42, 1.0]),
        ([0.503, border, -2.0], [1e-8, -1e-8, 1.0]),
        ([-1e-7, 0.503, -1.0], [1e-7, 0.0, 1.0]),
        ([-1.0, -1.0, 0.507], [1.0, 1.0, 0.0]),
        ([-1.0, 1.0, 0.507], [1.0, -1.0, 0.0]),
        ([-30.0, 0.503, 0.507], [1.0, 0.0, 0.0]),
        ([0.503, 0.507, 0.511], [0.0, 3.0, -4.0]),
        ([0.503, 0.507, 0.511], [0.0, 0.03, -0.04]),
    ]
    origins, directions = (torch.tensor(values) for values in zip(*pairs, strict=True))
    return Rays(origins=origins, directions=directions, footprint=torch.zeros(len(pairs)))


@pytest.mark.parametrize("cone_angle", [0.0, 1 / 256], ids=["constant", "growing"])
@pytest.mark.parametrize("cascades", [1, 3])
@pytest.mark.parametrize("occupied", ["full", "words", "one_corner", "empty"])
def test_nasty_rays(backend: str, occupied: str, cascades: int, cone_angle: float) -> None:
    """Exactly the reference's samples, but for one that rounding may give or take."""
    occupancy = empty_occupancy(cascades)
    if occupied == "words":
        occupancy = scattered_words(cascades)
    elif occupied == "full":
        occupancy = full_occupancy(cascades)
    elif occupied == "one_corner":
        occupancy[-1, 0] = 1
    rays, spec = nasty_rays(), marching(cascades, cone_angle)
    results = (
        marched(rays, occupancy, spec, backend),
        remembered(lambda: marched(rays, occupancy, spec, "reference")),
    )
    assert_same_samples(*results, let_off=1)
    if occupied == "empty":
        assert results[0].count == 0


def test_more_samples_than_one_round_brings(backend: str) -> None:
    """A ray keeps its first samples, however many there are."""
    rays = rays_through_cube(20)
    for limit in (1, 1023, 1025, 2500, 1 << 30):
        spec = MarchSpec(step=STEP / 4, max_samples_per_ray=limit)
        results = (
            marched(rays, full_occupancy(), spec, backend),
            remembered(lambda spec=spec: marched(rays, full_occupancy(), spec, "reference")),
        )
        assert counts_of(results[1]).max() == min(limit, int(counts_of(results[1]).max()))
        assert_same_samples(*results, let_off=0 if limit <= 1025 else 1)
    assert counts_of(results[1]).max() > 2500


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("component", range(6))
def test_rays_that_are_not_finite_see_nothing(backend: str, bad: float, component: int) -> None:
    """Wherever it is; and their neighbours see all."""
    numbers = torch.tensor([[-1.0, 0.503, 0.507, 1.0, 0.0, 0.0]]).repeat(40, 1)
    numbers[::2, component] = bad
    rays = Rays(origins=numbers[:, :3], directions=numbers[:, 3:], footprint=torch.zeros(40))
    counts = counts_of(marched(rays, full_occupancy(), marching(1, 0.0), backend))
    assert (counts[::2] == 0).all() and (counts[1::2] > 500).all()


def test_a_cube_beyond_all_intervals_is_not_seen(backend: str) -> None:
    """Where float32 cannot count the intervals any more, a ray ends, and soon."""
    distances = torch.tensor([2.0, 2e8, 1e12, 1e25]) * INTERVALS_OF_FLOAT32 * STEP
    origins = torch.full((4, 3), 0.503)
    origins[:, 0] = -distances
    directions = torch.tensor([1.0, 0.0, 0.0]).expand(4, 3)
    rays = Rays(origins=origins, directions=directions, footprint=torch.zeros(4))
    occupancy = full_occupancy(2)
    for cone_angle in (0.0, 1 / 256):
        spec = marching(2, cone_angle, max_step=STEP)
        assert marched(rays, occupancy, spec, backend).count == 0
