"""The lattice along rays, which of its intervals are samples, and how these are packed."""

import math

import pytest
import torch
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels import ops
from neural_render.kernels.morton import morton_encode
from neural_render.kernels.records import PackedSamples
from neural_render.kernels.reference.marching import (
    is_occupied,
    lattice_coordinate,
    lattice_distance,
)
from neural_render.kernels.specs import MarchSpec
from tests.kernels.problems import (
    STEP,
    ball,
    empty_occupancy,
    full_occupancy,
    generator,
    march,
    occupancy_of,
    one_ray,
    rays_through_cube,
)
from tests.kernels.tolerances import CLOSED_FORM, assert_close

CLOSE = CLOSED_FORM[torch.float64]
CLOSE_ISH = CLOSED_FORM[torch.float32]  # differences of nearly equal numbers
GROWING = MarchSpec(step=0.001, near=0.02, cone_angle=1 / 256, max_step=0.004)


def samples_of(
    rays: Rays, occupancy: Tensor, spec: MarchSpec, jitter: float = 0.0
) -> PackedSamples:
    """All samples of rays of equal jitter."""
    offsets = torch.full_like(rays.footprint, jitter)
    return ops.march_rays(rays, offsets, occupancy, spec, capacity=1 << 16)


def test_constant_steps() -> None:
    """Without a cone, ``near + s * step``."""
    s = torch.tensor([0.0, 0.5, 10.0], dtype=torch.float64)
    distance = lattice_distance(s, MarchSpec(step=0.25, near=1.0))
    assert distance.tolist() == [1.0, 1.125, 3.5]


def test_growing_steps_join_smoothly_and_stay_in_bounds() -> None:
    """Steps are 0.001 until t = 0.256, grow by 1/256 of t until t = 1.024, then stay 0.004."""
    s = torch.arange(0.0, 1200.0, 0.5, dtype=torch.float64)
    t = lattice_distance(s, GROWING)
    slopes = t.diff() / 0.5
    early = t[1:] < 0.256
    assert_close(slopes[early], torch.full_like(slopes[early], 0.001), CLOSE_ISH)
    assert slopes.min() > 0.001 - 1e-9 and slopes.max() < 0.004 + 1e-9
    assert (slopes.diff() > -1e-9).all()
    between = (t[:-1] > 0.26) & (t[1:] < 1.02)
    ratio = t[1:][between] / t[:-1][between]
    assert_close(ratio, torch.full_like(ratio, math.exp(0.5 / 256)), CLOSE)
    late = t[:-1] > 1.03
    assert_close(slopes[late], torch.full_like(slopes[late], 0.004), CLOSE_ISH)


@pytest.mark.parametrize("near", [0.0, 0.02, 0.5, 3.0])
@pytest.mark.parametrize("cone_angle", [0.0, 1 / 256])
def test_the_inverse_of_the_lattice(near: float, cone_angle: float) -> None:
    """Also where the rays begin beyond the point at which steps begin, or cease, to grow."""
    spec = MarchSpec(step=0.001, near=near, cone_angle=cone_angle, max_step=0.004)
    s = torch.rand(500, generator=generator(0), dtype=torch.float64) * 1500
    t = lattice_distance(s, spec)
    assert t.min() >= near
    assert_close(lattice_coordinate(t, spec), s, CLOSE)


def test_an_axis_ray_has_a_sample_per_midpoint_in_the_cube() -> None:
    """Midpoints at (k + 1/2) / 100 along x from -0.2 on: 100 of them lie in [0, 1)."""
    rays = one_ray([-0.2, 0.5, 0.5], [1, 0, 0])
    samples = samples_of(rays, full_occupancy(), MarchSpec(step=0.01))
    assert samples.count.item() == samples.num_wanted.item() == 100
    assert samples.offsets.tolist() == [0, 100]
    k = torch.arange(20, 120).double()
    assert_close(samples.t_near[:100], k * 0.01, CLOSE)
    assert_close(samples.t_far[:100], (k + 1) * 0.01, CLOSE)
    assert samples.t_near[100:].abs().max() == 0.0


def test_jitter_shifts_the_lattice() -> None:
    """By a fraction of a step; k starts at 0 also where the ray starts inside."""
    rays = one_ray([0.5, 0.5, 0.5], [1, 0, 0])
    samples = samples_of(rays, full_occupancy(), MarchSpec(step=0.01, near=0.1), jitter=0.25)
    assert samples.t_near[0].item() == pytest.approx(0.1025)
    assert samples.count.item() == 40


def test_empty_space_skipping_changes_nothing_else() -> None:
    """The samples in a ball are those of the full cube whose midpoint's cell is occupied."""
    rays = rays_through_cube(40, torch.float64)
    everything = samples_of(rays, full_occupancy(), march())
    some = samples_of(rays, occupancy_of(ball(0.3)), march())
    count = int(everything.count)
    ray = everything.ray_index[:count]
    middle = 0.5 * (everything.t_near + everything.t_far)[:count]
    points = rays.origins[ray] + rays.directions[ray] * middle[:, None]
    cells = (points * 128).floor()
    inside = ((cells + 0.5) / 128 - 0.5).norm(dim=-1) < 0.3
    assert 0 < int(inside.sum()) < count
    assert torch.equal(some.t_near[: int(some.count)], everything.t_near[:count][inside])
    assert torch.equal(some.ray_index[: int(some.count)], ray[inside])


@pytest.mark.parametrize(
    ("origin", "direction", "count"),
    [
        ([-1.0, 0.5, 0.5], [1, 0, 0], 100),  # two zero components
        ([-1.0, 0.5, 0.5], [1, -0.0, 0.0], 100),
        ([0.5, 2.0, 0.5], [0, -1, 0], 100),
        ([-1.0, 1.5, 0.5], [1, 0, 0], 0),  # parallel to a face, outside
        ([-1.0, -0.5, 0.5], [1, 0, 0], 0),
        ([-1.0, 0.0, 0.5], [1, 0, 0], 100),  # in the lower face: inside by definition
        ([-1.0, 1.0, 0.5], [1, 0, 0], 0),  # in the upper face: outside
        ([-1.0, 0.5, 0.5], [-1, 0, 0], 0),  # looking away
        ([0.5, 0.5, 0.5], [0, 0, 1], 50),  # from within
        ([-1.0, -1.0, 0.5], [1, -1, 0], 0),
        ([-1.0, 1.1, 0.5], [1, -1, 0], 14),  # cuts an edge
    ],
)
def test_special_rays(origin: list[float], direction: list[float], count: int) -> None:
    """Zero components, faces, edges, misses."""
    rays = one_ray(origin, direction)
    samples = samples_of(rays, full_occupancy(), MarchSpec(step=0.01), jitter=0.2)
    assert samples.count.item() == count


def test_rays_that_are_not_finite_have_no_samples() -> None:
    """Rather than endless ones."""
    rays = rays_through_cube(3)
    broken = Rays(
        origins=rays.origins,
        directions=torch.tensor([[torch.nan] * 3, [0.0] * 3, rays.directions[2].tolist()]),
        footprint=rays.footprint,
    )
    samples = samples_of(broken, full_occupancy(), march())
    assert samples.offsets[2] == 0 < samples.count


def test_nothing_occupied_and_no_rays() -> None:
    """Nothing comes out."""
    rays = rays_through_cube(5)
    assert samples_of(rays, empty_occupancy(), march()).count.item() == 0
    none = samples_of(rays[:0], full_occupancy(), march())
    assert (none.count.item(), none.offsets.tolist()) == (0, [0])


def test_a_ray_keeps_its_first_samples() -> None:
    """``max_samples_per_ray`` cuts the far end off."""
    rays = one_ray([-0.2, 0.5, 0.5], [1, 0, 0])
    whole = samples_of(rays, full_occupancy(), MarchSpec(step=0.01))
    cut = samples_of(rays, full_occupancy(), MarchSpec(step=0.01, max_samples_per_ray=7))
    assert cut.count.item() == cut.num_wanted.item() == 7
    assert torch.equal(cut.t_near[:7], whole.t_near[:7])


def test_the_last_rays_lose_what_exceeds_the_capacity() -> None:
    """And ``num_wanted`` tells."""
    rays = rays_through_cube(20)
    jitter = torch.zeros(20)
    whole = ops.march_rays(rays, jitter, full_occupancy(), march(), 4000)
    wanted = int(whole.count)
    small = ops.march_rays(rays, jitter, full_occupancy(), march(), wanted - 5)
    assert (int(small.count), int(small.num_wanted)) == (wanted - 5, wanted)
    assert small.t_near.shape == (wanted - 5,)
    assert torch.equal(small.t_near, whole.t_near[: wanted - 5])
    assert small.offsets.tolist()[:-1] == whole.offsets.tolist()[:-1]
    assert int(small.offsets[-1]) == wanted - 5


def test_occupied_cells_one_by_one() -> None:
    """Bit i of byte j is the cell at place 8 j + i of the Morton order; x is its lowest bit."""
    occupancy = empty_occupancy()
    cell = torch.tensor([[3, 64, 127]])
    code = int(morton_encode(cell))
    occupancy[0, code // 8] = 1 << code % 8
    points = (cell.double() + torch.tensor([[0.01], [0.5], [0.99], [1.01]])) / 128
    found = is_occupied(points[:, :3], torch.full((4,), 1e-3).double(), occupancy, 1)
    assert found.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("x", "length", "cascade"),
    [
        (0.55, 0.001, 0),  # within 1/8 of the centre: the innermost of three
        (0.62, 0.001, 0),
        (0.63, 0.001, 1),
        (0.76, 0.001, 2),
        (0.999, 0.001, 2),
        (0.55, 0.25 / 128, 0),  # as long as a cell of cascade 0
        (0.55, 0.26 / 128, 1),
        (0.55, 0.51 / 128, 2),
        (0.55, 0.5, 2),
    ],
)
def test_the_cascade_of_a_sample(x: float, length: float, cascade: int) -> None:
    """The finest that contains the midpoint and whose cells are not smaller than the interval."""
    point = torch.tensor([[x, 0.5, 0.5]], dtype=torch.float64)
    for occupied in range(3):
        occupancy = empty_occupancy(3)
        occupancy[occupied] = 255
        found = is_occupied(point, torch.tensor([length], dtype=torch.float64), occupancy, 3)
        assert found.item() == (occupied == cascade)


def test_cells_of_an_inner_cascade() -> None:
    """Cascade 0 of two spans [0.25, 0.75]: its first cell is 1/256 wide and begins at 0.25."""
    occupancy = empty_occupancy(2)
    occupancy[0, 0] = 1
    inside = torch.full((1, 3), 0.2501, dtype=torch.float64)
    length = torch.tensor([1e-3], dtype=torch.float64)
    assert is_occupied(inside, length, occupancy, 2).item()
    assert not is_occupied(inside + 1 / 256, length, occupancy, 2).item()


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rays may be marched in parts."""
    rays = rays_through_cube(30)
    spec = march(step=STEP, cone_angle=1 / 256, cascades=3, max_step=0.02)
    occupancy = occupancy_of(ball(0.4), 3)
    whole = samples_of(rays, occupancy, spec)
    monkeypatch.setattr("neural_render.kernels.reference.marching.CHUNK", 7000)
    parts = samples_of(rays, occupancy, spec)
    assert torch.equal(whole.t_far, parts.t_far)
    assert torch.equal(whole.ray_index, parts.ray_index)
