"""Checkpoints: whole ones come back, broken ones are told in one sentence, none is executed."""

import json
import math
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neural_render.core.errors import CheckpointError
from neural_render.core.projection import IDENTITY
from neural_render.fields import GridSettings
from neural_render.kernels import dispatch
from neural_render.rendering import OccupancyGrid
from neural_render.training.ema import AveragedWeights
from neural_render.training.runs.checkpoint import open_checkpoint, restore
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.runs.state import Progress, TrainingState
from neural_render.training.sampling.error_map import new_error_map
from neural_render.training.stepping.optimizer import new_moments
from tests.training.problems import (
    CPU,
    DividedBall,
    StripedBall,
    new_run,
    settings_for,
    tiny_field,
    train_ball,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = new_run(tmp_path_factory.mktemp("finished"))
    train_ball(run, settings_for(3))
    return run


def test_the_kernels_precision_is_stored_and_before_that_all_was_float32(run):
    path = run.last_checkpoint()
    assert (
        open_checkpoint(path).record.precision
        == dispatch.load(dispatch.resolve("auto")).precision()
    )
    document = json.loads((path / "state.json").read_text())
    assert document["version"] == 8
    del document["run"]["precision"]
    (path / "state.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="run lacks precision"):
        open_checkpoint(path)
    make_version_2(path)
    edit_state(path, "version", value=1)
    assert open_checkpoint(path).record.precision == "float32"
    edit_state(path, "run", value=[])
    with pytest.raises(CheckpointError, match="run must be an object"):
        open_checkpoint(path)


@pytest.fixture
def run(finished, tmp_path):
    return RunFolder(path=Path(shutil.copytree(finished.path, tmp_path / "run")))


def edit_state(path, *keys, value):
    document = json.loads((path / "state.json").read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (path / "state.json").write_text(json.dumps(document))


def cut(path, num_bytes):
    path.write_bytes(path.read_bytes()[:num_bytes])


def edit_tensors(path, name, tensor):
    tensors = load_file(path / "weights.safetensors")
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    save_file(tensors, path / "weights.safetensors")


def num_rows(path):
    return len(load_file(path / "weights.safetensors")["field.table"])


def make_version_2(path):
    """As that program wrote it: two moments for each entry of the table. The second ones' means."""
    means = load_file(path / "weights.safetensors")["moment2.table"]
    apart = means[:, None] * torch.tensor([0.5, 1.5])
    edit_tensors(path, "moment2.table", apart)
    edit_tensors(path, "moment1.table", torch.full_like(apart, 7.0))
    edit_state(path, "version", value=2)
    return means


BREAKS = {
    "no state": (lambda p: (p / "state.json").unlink(), "state.json is missing"),
    "no weights": (lambda p: (p / "weights.safetensors").unlink(), "safetensors is missing"),
    "empty weights": (lambda p: cut(p / "weights.safetensors", 0), "truncated or broken"),
    "cut weights": (lambda p: cut(p / "weights.safetensors", 100_000), "truncated or broken"),
    "garbage": (
        lambda p: (p / "weights.safetensors").write_bytes(b"garbage" * 999),
        "truncated or broken",
    ),
    "cut state": (lambda p: cut(p / "state.json", 200), "state.json is truncated or not JSON"),
    "a list": (lambda p: (p / "state.json").write_text("[]"), "not written by this program"),
    "not ours": (lambda p: edit_state(p, "format", value="x"), "not written by this program"),
    "no run": (
        lambda p: (p / "state.json").write_text(
            json.dumps({"format": "neural_render checkpoint", "version": 1})
        ),
        "state.json lacks progress, run",
    ),
    "a missing number": (
        lambda p: edit_state(p, "progress", value={"step": 3}),
        "progress lacks train_seconds",
    ),
    "a wrong type": (
        lambda p: edit_state(p, "run", "field", "width", value="wide"),
        r"run\.field\.width must be of type int, not 'wide'",
    ),
    "no size": (
        lambda p: edit_state(p, "run", "frame", "world_from_field", "scale", value=0.0),
        "its frame has no size",
    ),
    "no end": (
        lambda p: edit_state(p, "run", "march", "step", value=1e-30),
        "its march is none that ends",
    ),
    "no number": (
        lambda p: edit_state(p, "run", "march", "step", value=math.inf),
        r"its record\.march\.step holds a number that is not finite",
    ),
    "no rays": (
        lambda p: edit_state(p, "progress", "survivors_per_ray", value=0.0),
        "its progress holds a number that none can have",
    ),
    "no time": (
        lambda p: edit_state(p, "progress", "train_seconds", value=math.nan),
        r"its progress\.train_seconds holds a number that is not finite",
    ),
    "no matrix": (
        lambda p: edit_state(p, "run", "frame", "projection", "matrix", value=[1.0]),
        "its projection is no matrix of 16 numbers",
    ),
    "no way back": (
        lambda p: edit_state(p, "run", "frame", "projection", "matrix", value=[0.0] * 16),
        "its projection is a matrix that has no inverse",
    ),
    "more than all": (
        lambda p: (
            edit_state(p, "run", "frame", "projection", "matrix", value=[2.0, *IDENTITY[1:]]),
            edit_state(p, "run", "field", "far_rows", value=4),
        ),
        "cascades=1 and far_rows=4 for a scene behind a projection",
    ),
    "four dimensions": (
        lambda p: edit_state(p, "run", "field", "grid", "dims", value=4),
        "none of three dimensions",
    ),
    "a wrong choice": (
        lambda p: edit_state(p, "run", "field", "grid", "hash", value="md5"),
        r"run\.field\.grid\.hash must be one of",
    ),
    "a number beyond all": (
        lambda p: edit_state(p, "run", "frame", "near", value=10**400),
        r"run\.frame\.near=1000\d*\.\.\. is too large",
    ),
    "an absurd number": (
        lambda p: edit_state(p, "run", "field", "grid", "log2_rows", value=60),
        "log2_rows=60, which is out of range",
    ),
    "another grid": (
        lambda p: edit_state(p, "run", "field", "grid", "log2_rows", value=14),
        r"holds field\.table as \[\d+, 2\], but field\.grid in its state\.json asks for \[\d+, 2\]",
    ),
    "another network": (
        lambda p: edit_state(p, "run", "field", "width", value=16),
        r"holds field\.density_weights as .* asks for",
    ),
    "a lost moment": (
        lambda p: edit_tensors(p, "moment2.color_weights", None),
        r"holds moment2\.color_weights as None",
    ),
    "moments of the version before": (
        lambda p: edit_tensors(p, "moment2.table", torch.zeros(num_rows(p), 2)),
        r"holds moment2\.table as \[\d+, 2\], but field\.grid in its state\.json asks for \[\d+\]",
    ),
    "moments of a later version": (
        lambda p: edit_state(p, "version", value=2),
        r"holds moment1\.table as None, but field\.grid .* asks for \[\d+, 2\]",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_checkpoint_is_told_in_one_sentence(run, name):
    damage, words = BREAKS[name]
    path = run.last_checkpoint()
    damage(path)
    with pytest.raises(CheckpointError, match=words) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)
    assert "delete that folder" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError, match=words):
        train_ball(run, settings_for(5))
    with pytest.raises(CheckpointError, match=words):
        load_for_rendering(run, CPU)


def new_state():
    field = tiny_field()
    return TrainingState(
        field=field,
        occupancy=OccupancyGrid(1, CPU),
        moments=new_moments(field),
        average=AveragedWeights(field, 0.9),
        errors=new_error_map(StripedBall(), settings_for(5)),
        progress=Progress(),
    )


def test_what_is_saved_is_what_is_restored(run):
    state = new_state()
    restore(open_checkpoint(run.last_checkpoint()), state)
    saved, restored = load_file(run.last_checkpoint() / "weights.safetensors"), state.tensors()
    assert saved.keys() == restored.keys()
    assert all(torch.equal(tensor, restored[name]) for name, tensor in saved.items())
    assert saved["moment2.table"].shape == saved["field.table"].shape[:1]
    assert saved["moment2.table"].any() and "moment1.table" not in saved


@pytest.mark.parametrize(("version", "name"), [(5, "reflection_degree"), (6, "far_rows")])
def test_up_to_a_version_fields_had_nothing_of_what_came_later(run, version, name):
    path = run.last_checkpoint()
    document = json.loads((path / "state.json").read_text())
    del document["run"]["field"][name]
    (path / "state.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=f"field lacks {name}"):
        open_checkpoint(path)
    edit_state(path, "version", value=version)
    assert getattr(open_checkpoint(path).record.field, name) == 0


def test_the_far_picture_is_as_large_as_the_record_says(run):
    path = run.last_checkpoint()
    edit_state(path, "run", "field", "far_rows", value=8)
    with pytest.raises(CheckpointError, match=r"holds field\.far as None, but field\.far_rows"):
        open_checkpoint(path)


def test_version_2_had_two_moments_for_each_entry_of_the_table(run):
    """The second ones' mean is taken over, the first ones are dropped, and training goes on."""
    path = run.last_checkpoint()
    means = make_version_2(path)
    state = new_state()
    restore(open_checkpoint(path), state)
    torch.testing.assert_close(state.moments["moment2.table"], means)
    assert "moment1.table" not in state.moments
    assert load_for_rendering(run, CPU).field.table.any()
    progress, _ = train_ball(run, settings_for(5))
    assert progress.step == 5
    written = run.last_checkpoint()
    assert json.loads((written / "state.json").read_text())["version"] == 8
    assert "moment1.table" not in load_file(written / "weights.safetensors")


def test_settings_of_training_stay_where_nothing_is_trained(run):
    run.config_path.write_text("seed: 7\ntraining:\n  num_steps: 3\n")
    assert train_ball(run, settings_for(3))[0].step == 3
    assert run.config_path.read_text() == "seed: 5\ntraining:\n  num_steps: 3\n"
    assert train_ball(run, settings_for(5))[0].step == 5
    assert run.config_path.read_text() == "seed: 5\n"


def test_version_1_is_as_version_2(run):
    path = run.last_checkpoint()
    means = make_version_2(path)
    edit_state(path, "version", value=1)
    state = new_state()
    restore(open_checkpoint(path), state)
    torch.testing.assert_close(state.moments["moment2.table"], means)


def test_a_newer_format_asks_for_an_update(run):
    edit_state(run.last_checkpoint(), "version", value=999)
    with pytest.raises(
        CheckpointError, match=r"newer program \(format version 999, .*: update neural_render"
    ):
        open_checkpoint(run.last_checkpoint())


@pytest.mark.parametrize("version", [None, "7", 0, True])
def test_a_format_that_is_none_is_damage(run, version):
    edit_state(run.last_checkpoint(), "version", value=version)
    with pytest.raises(CheckpointError, match=r"has the format version .*, which is none"):
        open_checkpoint(run.last_checkpoint())


def test_a_lost_occupancy_grid_is_told(run):
    edit_tensors(run.last_checkpoint(), "occupancy.values", torch.zeros(2, 128**3))
    for use in (lambda: train_ball(run, settings_for(5)), lambda: load_for_rendering(run, CPU)):
        with pytest.raises(CheckpointError, match=r"occupancy\.values as \[2, .* 1 cascades"):
            use()


def test_an_error_map_of_other_photos_is_told(tmp_path):
    run, settings = new_run(tmp_path), settings_for(3, error_sampling=0.5)
    train_ball(run, settings_for(2, error_sampling=0.5), source=DividedBall())
    edit_tensors(run.last_checkpoint(), "errors.seen", torch.zeros(7))
    with pytest.raises(
        CheckpointError, match=r"errors\.seen as \[7\], but .* ask for \[10\]"
    ) as told:
        train_ball(run, settings, source=DividedBall())
    assert str(run.last_checkpoint()) in str(told.value)
    edit_tensors(run.last_checkpoint(), "errors.seen", torch.zeros(10))
    assert train_ball(run, settings, source=DividedBall())[0].step == 3


def test_resuming_with_another_field_names_the_settings(run):
    other = tiny_field(grid=GridSettings(levels=8, log2_rows=14, finest=128))
    before = (run.last_checkpoint() / "state.json").read_bytes()
    with pytest.raises(
        CheckpointError,
        match=r"field\.grid\.log2_rows is 13 there and 14 here; drop those settings",
    ):
        train_ball(run, settings_for(5), field=other)
    assert [path.name for path in run.checkpoints()] == ["3"]
    assert (run.last_checkpoint() / "state.json").read_bytes() == before


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_opening_executes_nothing(run, tmp_path):
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    pickle.loads(trap)
    assert sprung.exists()
    sprung.unlink()
    for name in ("weights.safetensors", "state.json"):
        (run.last_checkpoint() / name).write_bytes(trap)
        with pytest.raises(CheckpointError):
            open_checkpoint(run.last_checkpoint())
    assert not sprung.exists()


def test_the_checkpoint_before_a_broken_one_serves(run):
    train_ball(run, settings_for(6))
    cut(run.last_checkpoint() / "weights.safetensors", 1000)
    with pytest.raises(CheckpointError, match="go on from the one before it"):
        train_ball(run, settings_for(6))
    shutil.rmtree(run.last_checkpoint())
    progress, _ = train_ball(run, settings_for(6))
    assert progress.step == 6
