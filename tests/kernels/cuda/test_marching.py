"""Rays are marched near occupied cells alone, and lose no sample by it."""

import pytest

pytest.importorskip("triton", reason="Triton is not installed here")

import torch
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels import dispatch
from neural_render.kernels.cuda import rendering
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.specs import MORTON_RESOLUTION, MarchSpec, RenderSpec
from tests.kernels.cuda import on_device
from tests.kernels.problems import (
    full_occupancy,
    generator,
    march,
    parameters_of,
    rays_through_cube,
    render_inputs,
    small_field,
)

NUM_BYTES = MORTON_RESOLUTION**3 // 8
NUM_RAYS = 300


def few_occupied(cascades: int, count: int, seed: int) -> Tensor:
    """Some cells in so many places."""
    bits = torch.zeros(cascades * NUM_BYTES, dtype=torch.uint8)
    place = torch.randint(len(bits), (count,), generator=generator(seed))
    bits[place] = torch.randint(1, 256, (count,), generator=generator(seed + 1), dtype=torch.uint8)
    return bits.view(cascades, NUM_BYTES)


def rays_to(occupancy: Tensor, length: float) -> Rays:
    """Rays from within and from without, most of them to occupied cells; of such directions."""
    places = occupancy.flatten().nonzero()[:, 0]
    chosen = places[torch.randint(len(places), (NUM_RAYS,), generator=generator(3))]
    side = 2.0 ** (chosen // NUM_BYTES - len(occupancy) + 1)
    cell = morton_decode(chosen % NUM_BYTES * 8) + 0.5
    aims = (cell / MORTON_RESOLUTION - 0.5) * side[:, None] + 0.5
    origins = 3 * torch.rand(NUM_RAYS, 3, generator=generator(4)) - 1
    origins[: NUM_RAYS // 3] = torch.rand(NUM_RAYS // 3, 3, generator=generator(5))
    directions = torch.randn(NUM_RAYS, 3, generator=generator(6))
    directions[NUM_RAYS // 5 :] = (aims - origins)[NUM_RAYS // 5 :]
    directions = directions / directions.norm(dim=1, keepdim=True) * length
    return Rays(origins=origins, directions=directions, footprint=torch.zeros(NUM_RAYS))


@pytest.mark.parametrize("count", [5, 40, 2000])
@pytest.mark.parametrize(
    ("cascades", "step", "cone_angle", "length"),
    [(1, 0.002, 0.0, 1.0), (1, 0.05, 0.0, 0.7), (1, 0.01, 0.01, 1.0), (3, 0.01, 0.01, 1.0)],
)
def test_no_sample_is_lost(
    count: int, cascades: int, step: float, cone_angle: float, length: float
) -> None:
    occupancy = few_occupied(cascades, count, seed=count)
    rays, jitter = rays_to(occupancy, length), torch.rand(NUM_RAYS, generator=generator(7))
    spec = MarchSpec(step=step, near=0.05, cone_angle=cone_angle, max_step=0.3, cascades=cascades)
    given = rays, jitter, occupancy, spec, 1 << 17
    found, expected = on_device.march_rays(*given), dispatch.load("reference").march_rays(*given)
    assert expected.count > 0
    # A midpoint on a cell's border falls to either side.
    assert (found.offsets.diff() != expected.offsets.diff()).sum() <= 1
    apart = found.t_near[: found.count].sum() - expected.t_near[: expected.count].sum()
    assert abs(apart) <= 1e-4 * expected.t_near.sum()


def test_pieces_hold_all_rays_and_begin_at_aligned_addresses() -> None:
    """Few rays are divided all the same: else they would never fit."""
    for count in (2, 3, 64, 65, 127, 128, 129, 130, 200, 1000, 100_001):
        for pieces in (2, 3, 7):
            slices = rendering.slices_of(count, pieces)
            assert 2 <= len(slices) <= pieces
            assert [ray for here in slices for ray in range(count)[here]] == list(range(count))
            if count > 64 * pieces:
                assert all(here.start % 64 == 0 for here in slices)


@pytest.mark.parametrize("num_rays", [20, 150])
def test_samples_that_do_not_fit_together_come_one_after_another(
    num_rays: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = small_field()
    inputs = render_inputs(rays_through_cube(num_rays), full_occupancy())
    spec = RenderSpec(field=field, march=march(step=0.05), min_weight=0.1)
    given = inputs, parameters_of(field), spec, False
    whole, _ = on_device.render_rays(*given)
    monkeypatch.setattr(rendering, "MOST_MARCHED", 3 * num_rays)
    pieces, _ = on_device.render_rays(*given)
    for name in ("values", "opacity", "distance", "num_survived"):
        assert torch.allclose(getattr(pieces, name), getattr(whole, name), atol=1e-6), name
