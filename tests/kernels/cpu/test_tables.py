"""The rounded copy of a table is always that of this table in this state."""

import gc
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.cpu import modules, tables
from neural_render.kernels.records import FactoredGradient, FieldParameters, RenderInputs
from neural_render.kernels.specs import AdamSpec, HashGridSpec, RenderSpec
from neural_render.rendering import OccupancyGrid
from neural_render.training.ema import AveragedWeights
from neural_render.training.runs.checkpoint import open_checkpoint, restore
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.runs.state import Progress, TrainingState
from neural_render.training.sampling.error_map import new_error_map
from neural_render.training.stepping.optimizer import new_moments
from tests.kernels.comparison import instruction_set, strided
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
)
from tests.training.problems import CPU, StripedBall, new_run, settings_for, tiny_field, train_ball

ROUNDING = "avx512bf16"
RUNNABLE = () if dispatch.unavailable_reason("cpu") else modules.runnable()
pytestmark = pytest.mark.skipif(
    ROUNDING not in RUNNABLE, reason="this processor has no bfloat16, or there are no kernels"
)
GRID = small_grid()
FIELD = small_field()


@pytest.fixture(autouse=True)
def rounding() -> Iterator[None]:
    """The module that rounds, with no copy from before."""
    tables._copies.clear()
    with instruction_set(ROUNDING), dispatch.using("cpu"):
        yield
    tables._copies.clear()


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a copy is made anew."""
    made: list[int] = []
    native = modules.native()
    original = native.round_table

    def counted(*arguments: object) -> None:
        made.append(1)
        original(*arguments)

    monkeypatch.setattr(native, "round_table", counted)
    return made


def table_of(seed: int, spec: HashGridSpec = GRID) -> Tensor:
    return torch.rand(spec.num_rows, spec.features, generator=generator(seed)) - 0.5


def rounded(table: Tensor, spec: HashGridSpec) -> Tensor:
    """By PyTorch: each level's rows, its first row again, and room that nobody reads."""
    spare = modules.native().SPARE_ROWS
    parts = []
    for level in spec.level_layout():
        rows = table.detach()[level.offset : level.offset + level.rows]
        parts += [rows, rows[:1], rows.new_zeros(spare - 1, spec.features)]
    return torch.cat(parts).bfloat16().flatten()


def is_current(table: Tensor, spec: HashGridSpec = GRID) -> bool:
    """Whether the module in use would read this table in this state."""
    return torch.equal(tables.table_entries(table, spec), rounded(table, spec))


def adam_step(table: Tensor, second: Tensor, step: int = 1) -> None:
    """On a few of the rows, whole levels' first ones among them."""
    points = torch.cat([torch.zeros(1, 3), torch.rand(40, 3, generator=generator(step))])
    features = torch.randn(GRID.num_outputs, 41, generator=generator(10 + step))
    gradient = FactoredGradient(points=points, features=features)
    adam = AdamSpec(learning_rate=0.1, step=step)
    ops.table_adam_step(table, second, gradient, GRID, adam)


def fresh(table: Tensor) -> Tensor:
    """A second moment for each row."""
    return torch.zeros(len(table))


@pytest.mark.parametrize("features", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("log2_rows", [0, 3, 10])
def test_a_copy_is_rounded_to_nearest_even(features: int, log2_rows: int) -> None:
    spec = small_grid(features=features, log2_rows=log2_rows)
    table = table_of(1, spec)
    table.view(-1)[:4] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1e-40, -0.0])
    assert is_current(table, spec)


def test_a_copy_follows_adam_row_by_row(rounds: list[int]) -> None:
    table = table_of(1)
    second = fresh(table)
    for step in range(1, 6):
        before = table.clone()
        tables.table_entries(table, GRID)
        adam_step(table, second, step)
        assert 0 < (table != before).any(dim=1).sum() < len(table)
        assert is_current(table)
    assert len(rounds) == 1


def test_a_table_that_was_never_looked_up_has_no_copy_to_follow(rounds: list[int]) -> None:
    table = table_of(1)
    adam_step(table, fresh(table))
    assert not tables._copies and not rounds
    assert is_current(table)


def double(table: Tensor) -> None:
    table.mul_(2)


def set_a_row(table: Tensor) -> None:
    table[3] = 5.0


def change_a_view(table: Tensor) -> None:
    table.detach()[7:9].add_(1)


def copy_another(table: Tensor) -> None:
    table.copy_(table_of(2))


def step_densely(table: Tensor) -> None:
    moments = torch.zeros_like(table), torch.zeros_like(table)
    adam = AdamSpec(learning_rate=0.1, step=1)
    ops.adam_step(table, moments, torch.ones_like(table), adam)


def step_rows(table: Tensor) -> None:
    adam = AdamSpec(learning_rate=0.1, step=1)
    ops.row_adam_step(table, fresh(table), torch.ones_like(table), adam)


@pytest.mark.parametrize(
    "change",
    [double, set_a_row, change_a_view, copy_another, step_densely, step_rows],
    ids=lambda f: f.__name__,
)
def test_a_copy_is_made_anew_after_any_other_change(change: Callable[[Tensor], None]) -> None:
    table = torch.nn.Parameter(table_of(1))
    before = tables.table_entries(table, GRID).clone()
    with torch.no_grad():
        change(table)
    assert not torch.equal(rounded(table, GRID), before)
    assert is_current(table)


def test_a_change_before_a_step_of_adam_is_not_forgotten() -> None:
    """The step follows only a copy that was up to date."""
    table = table_of(1)
    tables.table_entries(table, GRID)
    table.mul_(2)
    adam_step(table, fresh(table))
    assert is_current(table)


def test_a_copy_is_kept_as_long_as_nothing_changes(rounds: list[int]) -> None:
    table = torch.nn.Parameter(table_of(1))
    for same in (table, table.detach(), table.view_as(table)):
        assert is_current(same)
    assert len(rounds) == 1


def test_other_modules_steps_are_seen() -> None:
    table = table_of(1)
    second = fresh(table)
    tables.table_entries(table, GRID)
    for number, name in enumerate(modules.runnable(), 1):
        with instruction_set(name):
            adam_step(table, second, number)
        assert is_current(table), name


@pytest.mark.parametrize("name", [n for n in RUNNABLE if modules.PRECISIONS[n] == "float32"])
def test_float32_modules_read_the_table_itself(name: str) -> None:
    table = torch.nn.Parameter(table_of(1))
    with instruction_set(name):
        entries = tables.table_entries(table, GRID)
    assert entries.data_ptr() == table.data_ptr() and not tables._copies


def test_tables_are_never_confused() -> None:
    """More of them than copies are kept, in turn, each changed now and then."""
    several = [table_of(seed) for seed in range(tables.MAX_COPIES + 2)]
    for turn in range(3):
        for number, table in enumerate(several):
            assert is_current(table)
            if (turn + number) % 2:
                table.neg_()
    assert len(tables._copies) == tables.MAX_COPIES


def test_a_new_table_in_a_freed_ones_place_is_another() -> None:
    places = set()
    for seed in range(30):
        table = table_of(seed)
        places.add(table.data_ptr())
        assert is_current(table)
        del table
    gc.collect()
    assert len(places) < 30, "no memory was used again: the test has become blind"
    tables._find(table_of(0), GRID)
    assert not tables._copies, "the copies of tables that are gone are dropped"


def test_two_tables_in_one_memory_and_one_table_as_two() -> None:
    both = torch.cat([table_of(1), table_of(2)])
    assert is_current(both[: GRID.num_rows]) and is_current(both[GRID.num_rows :])
    linear, xor = small_grid(log2_rows=4), small_grid(log2_rows=4, hash="xor")
    table = table_of(3, max(linear, xor, key=lambda spec: spec.num_rows))
    for spec in (linear, xor, linear):
        assert is_current(table[: spec.num_rows], spec)
    matrix = torch.rand(GRID.num_rows, GRID.num_rows, generator=generator(1))[:, :2]
    assert is_current(matrix) and is_current(strided(table_of(1)))


def test_tables_of_inference_mode_have_no_versions_and_are_always_rounded_anew() -> None:
    with torch.inference_mode():
        table = table_of(1)
        assert is_current(table)
        table.mul_(2)
        assert is_current(table)
        adam_step(table, fresh(table))
        assert is_current(table)


@pytest.mark.parametrize("name", RUNNABLE)
def test_steps_of_adam_are_seen_by_autograd(name: str) -> None:
    table = torch.nn.Parameter(table_of(1))
    weights = torch.nn.Parameter(torch.ones(5))
    points = torch.rand(4, 3, generator=generator(2))
    with instruction_set(name):
        features = ops.hash_encode(points, table, GRID)
        versions = table._version, weights._version
        adam_step(table, fresh(table))
        step_densely(weights)
        step_rows(table)
        assert (table._version, weights._version) == (versions[0] + 2, versions[1] + 1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            features.sum().backward()


def with_rays_to_move() -> RenderInputs:
    inputs = render_inputs(rays_through_cube(200), occupancy_of(ball(0.4)))
    inputs.rays.origins.requires_grad_()
    return inputs


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.parametrize("layout", [Tensor.clone, strided], ids=["contiguous", "strided"])
def test_what_backward_reads_again_outlives_everything(
    name: str, layout: Callable[[Tensor], Tensor]
) -> None:
    """Gradients to rays look the table up: other tables may have taken its copy's place by then."""
    given, spec = parameters_of(FIELD), RenderSpec(field=FIELD, march=march())
    found = []
    with instruction_set(name):
        for disturbed in (False, True):
            inputs = with_rays_to_move()
            parameters = FieldParameters(**{**vars(given), "table": layout(given.table)})
            seen = ops.render_rays(inputs, parameters, spec)
            others = [table_of(seed) * 9 for seed in range(2 * tables.MAX_COPIES)] * disturbed
            entries = [tables.table_entries(strided(other), GRID).clone() for other in others]
            seen.values.sum().backward()
            del entries  # until here, so that no memory is given back by chance
            found.append(inputs.rays.origins.grad)
    assert found[0] is not None and found[0].any()
    assert torch.equal(found[0], found[1])


def test_a_restored_checkpoint_and_averaged_weights_are_looked_up(tmp_path) -> None:
    """Into a field whose table was looked up before: by resuming, and by opening to render."""
    run = new_run(tmp_path)
    train_ball(run, settings_for(5))
    scene = load_for_rendering(run, CPU)
    spec = scene.field.spec.grid
    assert is_current(scene.field.table, spec)

    field = tiny_field()
    before = tables.table_entries(field.table, spec).clone()
    state = TrainingState(
        field=field,
        occupancy=OccupancyGrid(1, CPU),
        moments=new_moments(field),
        average=AveragedWeights(field, 0.9),
        errors=new_error_map(StripedBall(), settings_for(5)),
        progress=Progress(),
    )
    restore(open_checkpoint(run.last_checkpoint()), state)
    assert not torch.equal(rounded(field.table, spec), before)
    assert is_current(field.table, spec)
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            parameter.copy_(state.average.average[name])
    assert is_current(field.table, spec)
    assert torch.equal(field.table, scene.field.table)
