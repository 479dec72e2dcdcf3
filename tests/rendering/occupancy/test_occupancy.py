import pytest
import torch
from torch import Tensor

from neural_render.kernels.cells import NUM_CELLS, inner_cells, pack_bits, unpack_bits
from neural_render.kernels.morton import morton_decode, morton_encode
from neural_render.rendering import OccupancyGrid
from neural_render.rendering.occupancy import NUM_STRIPES
from tests.rendering.analytic import CPU, SphereField

STEP = 2e-3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cell_centers(side: float) -> Tensor:
    """Of a cascade, in Morton order."""
    cells = morton_decode(torch.arange(NUM_CELLS))
    return 0.5 + ((cells + 0.5) / 128 - 0.5) * side


def test_everything_is_occupied_at_first() -> None:
    grid = OccupancyGrid(2, CPU)
    assert grid.fraction == 1.0
    assert (grid.bits == 255).all() and grid.bits.shape == (2, NUM_CELLS // 8)


@pytest.mark.parametrize("cascades", [1, 2])
def test_update_finds_a_sphere(cascades: int) -> None:
    grid = OccupancyGrid(cascades, CPU)
    grid.update(SphereField(0.2, 50.0, None), step=STEP, generator=generator(), full=True)
    for cascade in range(cascades):
        side = grid.side(cascade)
        distance = (cell_centers(side) - 0.5).norm(dim=-1)
        reach = side / 128 * 3**0.5 / 2
        occupied = unpack_bits(grid.bits)[cascade]
        assert occupied[distance < 0.2 - reach].all()
        assert not occupied[distance > 0.2 + 2 * reach].any()


def test_values_are_opacities_of_a_step() -> None:
    grid = OccupancyGrid(1, CPU)
    grid.update(SphereField(2.0, 3.0, None), step=STEP, generator=generator(), full=True)
    torch.testing.assert_close(grid.values, torch.full_like(grid.values, 3.0 * STEP))


def test_cells_far_out_are_judged_by_their_longer_steps() -> None:
    grid = OccupancyGrid(3, CPU)
    field = SphereField(2.0, 3.0, None)
    grid.update(field, step=STEP, cone_angle=0.04, generator=generator(), full=True)
    outer = torch.ones(NUM_CELLS, dtype=torch.bool)
    outer[inner_cells(CPU)] = False
    # A camera in the middle meets cascade 1 at 1/8 and cascade 2 at 1/4 of the cube's side.
    steps = [STEP, 0.04 / 8, 0.04 / 4]
    for cascade, step in enumerate(steps):
        torch.testing.assert_close(
            grid.values[cascade][outer], torch.full((int(outer.sum()),), 3.0 * step)
        )


def test_threshold_is_the_mean_while_all_is_thin() -> None:
    """Fog of half the cells that is far below the threshold still counts as something."""
    grid = OccupancyGrid(1, CPU, threshold=0.01)

    class Ramp(SphereField):
        def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
            return points[:, 0]

    grid.update(Ramp(1.0, 1.0, None), step=STEP, generator=generator(), full=True)
    assert grid.fraction == pytest.approx(0.5, abs=0.01)
    right = cell_centers(1.0)[:, 0] > 0.51
    assert unpack_bits(grid.bits)[0][right].all()


def test_threshold_follows_the_density_not_the_opacity() -> None:
    """A fresh field, equally dense everywhere, is not emptied where steps are short."""
    grid = OccupancyGrid(3, CPU)

    class Fresh(SphereField):
        def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
            return 1 + 0.01 * torch.sin(500 * points[:, 0])

    grid.update(Fresh(1, 1.0, None), step=STEP, cone_angle=0.04, generator=generator(), full=True)
    per_cascade = unpack_bits(grid.bits).float().mean(dim=1)
    assert per_cascade[:2].tolist() == pytest.approx([0.5, 0.5], abs=0.1)


def test_stripes_reach_every_cell_and_the_occupied_more_often() -> None:
    grid = OccupancyGrid(1, CPU)
    field = SphereField(0.2, 50.0, None)
    grid.update(field, step=STEP, generator=generator(), full=True)
    inside = unpack_bits(grid.bits)[0].clone()
    field.num_asked = 0
    grid.update(field, step=STEP, generator=generator(1), full=False)
    stripe = NUM_CELLS // NUM_STRIPES
    assert field.num_asked == stripe + min(stripe, int(inside.sum()))
    wide = SphereField(0.3, 50.0, None)
    for seed in range(NUM_STRIPES):
        grid.update(wide, step=STEP, generator=generator(seed), full=False)
    distance = (cell_centers(1.0) - 0.5).norm(dim=-1)
    assert unpack_bits(grid.bits)[0][distance < 0.29].all()


def test_first_update_is_full() -> None:
    grid = OccupancyGrid(1, CPU)
    field = SphereField(0.2, 50.0, None)
    grid.update(field, step=STEP, generator=generator(), full=False)
    assert field.num_asked == NUM_CELLS


def test_cells_forget_by_the_decay() -> None:
    grid = OccupancyGrid(1, CPU, decay=0.5)
    grid.update(SphereField(2.0, 50.0, None), step=STEP, generator=generator(), full=True)
    grid.update(SphereField(0.0, 0.0, None), step=STEP, generator=generator(), full=True)
    torch.testing.assert_close(grid.values, torch.full_like(grid.values, 0.5 * 50 * STEP))
    for _ in range(4):
        grid.update(SphereField(0.2, 50.0, None), step=STEP, generator=generator(), full=True)
    assert grid.fraction < 0.05


def test_inner_cells_of_outer_cascades_follow_the_finer_ones() -> None:
    grid = OccupancyGrid(2, CPU)
    field = SphereField(0.1, 50.0, None)
    grid.update(field, step=STEP, generator=generator(), full=True)
    assert field.num_asked == NUM_CELLS + NUM_CELLS * 7 // 8
    fine, coarse = unpack_bits(grid.bits)
    # Cell (40, 40, 40) of the outer cube consists of the cells (16..17)^3 of the inner one.
    corners = torch.tensor([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    for cell in ([40, 40, 40], [64, 64, 64], [63, 60, 66], [70, 64, 64], [76, 64, 64]):
        outer = morton_encode(torch.tensor([cell]))
        children = morton_encode(2 * (torch.tensor(cell) - 32) + corners)
        assert bool(coarse[outer]) == bool(fine[children].any())


@pytest.mark.parametrize("cascades", [1, 2])
def test_the_same_on_any_number_of_threads(cascades: int) -> None:
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        grid = OccupancyGrid(cascades, CPU)

        class Noise(SphereField):
            def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
                return (points * 1e4).sin().sum(-1).abs() * 1e-3

        for seed, full in ((3, True), (4, False), (5, False)):
            field = Noise(1.0, 1.0, None)
            grid.update(field, step=STEP, generator=generator(seed), full=full)
        results.append((grid.values, grid.bits))
    torch.set_num_threads(before)
    for values, bits in results[1:]:
        assert torch.equal(values, results[0][0]) and torch.equal(bits, results[0][1])


def test_a_resumed_grid_continues_bit_for_bit() -> None:
    field = SphereField(0.2, 50.0, None)
    whole, resumed = OccupancyGrid(1, CPU), OccupancyGrid(1, CPU)
    whole.update(field, step=STEP, generator=generator(1), full=True)
    whole.update(field, step=STEP, generator=generator(2), full=False)
    resumed.load_state({name: tensor.clone() for name, tensor in whole.state().items()})
    assert torch.equal(resumed.bits, whole.bits) and resumed.fraction == whole.fraction
    for grid in (whole, resumed):
        grid.update(SphereField(0.3, 50.0, None), step=STEP, generator=generator(3), full=False)
    assert torch.equal(resumed.values, whole.values) and torch.equal(resumed.bits, whole.bits)


def test_a_grid_of_other_cascades_is_refused() -> None:
    with pytest.raises(AssertionError, match="another number of cascades"):
        OccupancyGrid(1, CPU).load_state(OccupancyGrid(2, CPU).state())


def test_bits_lie_in_morton_order_lowest_first() -> None:
    occupied = torch.zeros((1, NUM_CELLS), dtype=torch.bool)
    occupied[0, [0, 9, 18, 7]] = True
    packed = pack_bits(occupied)
    assert packed[0, :3].tolist() == [0b10000001, 0b10, 0b100]
    assert torch.equal(unpack_bits(packed), occupied)


def test_settling_brings_back_what_chance_has_missed() -> None:
    sphere, step = SphereField(0.2, 50.0, None), STEP
    grid = OccupancyGrid(1, CPU)
    for seed in range(3):
        grid.update(sphere, step=step, generator=generator(seed), full=True)
    before = grid.bits.clone()
    grid.settle(sphere, step=step, generator=generator(3))
    # Nothing is forgotten, and the cells that the surface only grazes are found.
    assert torch.equal(grid.bits & before, before)
    assert not torch.equal(grid.bits, before)
    assert grid.decay == 0.75


def test_settling_asks_nothing_of_cells_that_are_occupied() -> None:
    everywhere, grid = SphereField(2.0, 50.0, None), OccupancyGrid(1, CPU)
    grid.update(everywhere, step=STEP, generator=generator(), full=True)
    assert everywhere.num_asked == NUM_CELLS and grid.fraction == 1
    grid.settle(everywhere, step=STEP, generator=generator())
    assert everywhere.num_asked == NUM_CELLS


def test_held_cells_are_empty_until_they_are_released() -> None:
    grid = OccupancyGrid(1, CPU)
    unseen, outside = torch.zeros(2, 1, NUM_CELLS, dtype=torch.bool)
    unseen[:, :1000] = True
    outside[:, : NUM_CELLS // 2] = True
    grid.mark_empty(unseen)
    grid.hold(outside)
    everywhere = SphereField(2.0, 50.0, None)
    for _ in range(2):
        grid.update(everywhere, step=0.01, generator=generator(), full=True)
        occupied = unpack_bits(grid.bits)
        assert not occupied[outside].any() and occupied[~outside].all()
    resumed = OccupancyGrid(1, CPU)
    resumed.load_state(grid.state())
    assert grid.holds and resumed.holds
    for held in (grid, resumed):
        held.release()
        assert not held.holds
        held.update(everywhere, step=0.01, generator=generator(), full=True)
        assert torch.equal(unpack_bits(held.bits), ~unseen)
    assert torch.equal(grid.values, resumed.values)
