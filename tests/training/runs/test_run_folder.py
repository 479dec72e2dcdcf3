"""Run folders: made, found, pruned, locked; files that appear as a whole."""

import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from neural_render.config import Settings, load_settings
from neural_render.config.composition import yaml_of
from neural_render.core.errors import CheckpointError, OutputError, SettingError
from neural_render.training.runs.atomic import PARTIAL, write_folder
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.metrics import MetricsLog


@contextmanager
def largest_file(num_bytes):
    """Writing past ``num_bytes`` fails inside, as on a full disk (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_created_runs_never_share_a_folder_and_latest_points_to_the_last_that_began(tmp_path):
    runs = [RunFolder.create(tmp_path, "fox") for _ in range(3)]
    assert len({run.path for run in runs}) == 3
    assert not (tmp_path / "latest").exists()
    for run in runs[:2]:
        run.begin("seed: 0", {}, is_over=False)
        assert (tmp_path / "latest").resolve() == run.path.resolve()
    runs[0].begin("seed: 0", {}, is_over=False)  # which goes on
    assert (tmp_path / "latest").resolve() == runs[1].path.resolve()
    runs[0].make_latest()
    assert (tmp_path / "latest").resolve() == runs[0].path.resolve()


def test_a_run_that_never_began_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder.begun("", str(tmp_path), "fox") as run:
        (run.path / "views.json").write_text("{}")
        raise KeyboardInterrupt
    assert not os.listdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), RunFolder.begun("", str(tmp_path), "fox") as run:
        run.begin("seed: 0", {}, is_over=False)
        raise KeyboardInterrupt
    assert (tmp_path / "latest").resolve() == run.path.resolve()
    with pytest.raises(KeyboardInterrupt), RunFolder.begun(str(run.path), "", "") as again:
        raise KeyboardInterrupt
    assert again.path == run.path.resolve() and run.config_path.is_file()


def test_what_is_remembered_of_photos_is_that_of_the_last_training(tmp_path):
    run = RunFolder.create(tmp_path, "fox")
    for photos, is_over in (({"a": 1}, False), ({"a": 2}, True), ({}, False)):
        run.begin("seed: 0", photos, is_over=is_over)
        assert json.loads(run.photos_path.read_text()) == {"a": 1}
    run.begin("seed: 0", {"a": 3}, is_over=False)
    assert json.loads(run.photos_path.read_text()) == {"a": 3}


@pytest.mark.parametrize("name", ["1e5", "12", "-1E3", "0x1f", ".5e1", "no", "ü: #1"])
def test_names_that_look_like_numbers_stay_names(tmp_path, name):
    """OmegaConf, which reads settings, takes more for numbers than what wrote them."""
    run = RunFolder.create(tmp_path, "run")
    stored = Settings(name=name)
    stored.capture.path, stored.training.learning_rate = name, 1e-5
    run.write_config(yaml_of(stored), is_over=False)
    stored.training.learning_rate, stored.rendering.antialias = 1e-4, True
    run.write_config(yaml_of(stored), is_over=True)
    found = load_settings(run.config_path)
    assert not found.rendering.antialias
    assert (found.name, found.capture.path, found.training.learning_rate) == (name, name, 1e-5)


def test_latest_is_a_file_where_the_system_has_no_links(tmp_path, monkeypatch):
    def no_links(self, target, target_is_directory=False):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    run = RunFolder.create(tmp_path, "ball")
    run.begin("seed: 0", {}, is_over=False)
    assert (tmp_path / "latest").is_file()
    assert RunFolder.open(tmp_path / "latest").path == run.path.resolve()


@pytest.mark.parametrize("name", ["", "..", "a/b", "latest", "n" * 300])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(SettingError, match="cannot name a run"):
        RunFolder.create(tmp_path, name)


def test_outputs_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file.*cannot be written"):
        RunFolder.create(tmp_path / "file", "fox")


def test_a_real_folder_called_latest_is_left_alone(tmp_path, caplog):
    (tmp_path / "latest" / "precious").mkdir(parents=True)
    RunFolder.create(tmp_path, "fox").begin("seed: 0", {}, is_over=False)
    assert (tmp_path / "latest" / "precious").is_dir()
    assert "does not point to this run" in caplog.text


def test_opening_what_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"run=.*nowhere is not there"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is not a run folder: it has neither config"):
        RunFolder.open(tmp_path)
    run = RunFolder.create(tmp_path, "fox")
    run.config_path.write_text("seed: 0")
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        RunFolder.open(run.path).last_checkpoint()


def test_the_last_two_checkpoints_are_kept_in_numeric_order(tmp_path):
    run = RunFolder.create(tmp_path, "fox")
    for step in (900, 1000, 80):
        write_folder(run.checkpoint_path(step), {}, {})
    (run.checkpoints_path / f"70{PARTIAL}").mkdir()
    run.prune_checkpoints()
    assert [path.name for path in run.checkpoints()] == ["900", "1000"]
    assert sorted(os.listdir(run.checkpoints_path)) == ["1000", "900"]


def test_a_checkpoint_that_was_being_replaced_is_taken_back(tmp_path, monkeypatch):
    """Whoever kills a program between its two renames finds either one or the other."""
    run = RunFolder.create(tmp_path, "fox")
    folder = run.checkpoint_path(70)
    write_folder(folder, {}, {"of": "before"})
    rename, left = Path.rename, []

    def seen(path: Path, target: Path) -> Path:
        found = rename(path, target)
        left.append(shutil.copytree(run.checkpoints_path, tmp_path / f"left_{len(left)}"))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", seen)
        write_folder(folder, {}, {"of": "now"})
    assert len(left) == 2
    for instant, wanted in zip(left, ("before", "now"), strict=True):
        shutil.rmtree(run.checkpoints_path)
        instant.rename(run.checkpoints_path)
        run.prune_checkpoints()
        assert os.listdir(run.checkpoints_path) == ["70"]
        assert json.loads((folder / "state.json").read_text()) == {"of": wanted}


def test_a_folder_is_read_back_as_it_was_written(tmp_path):
    tensors = {
        "float": torch.rand(3, 4),
        "double": torch.rand(2, dtype=torch.float64),
        "count": torch.tensor(7),
        "bytes": torch.arange(9, dtype=torch.uint8).view(3, 3),
        "flags": torch.tensor([True, False]),
        "nothing": torch.zeros(0, 2),
        "turned": torch.rand(4, 3).T,
    }
    write_folder(tmp_path / "5", tensors, {"step": 5})
    found = load_file(tmp_path / "5" / "weights.safetensors")
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert json.loads((tmp_path / "5" / "state.json").read_text()) == {"step": 5}


def test_a_full_disk_leaves_the_old_folder_and_nothing_else(tmp_path):
    folder = tmp_path / "5"
    write_folder(folder, {"old": torch.ones(4)}, {})
    with (
        largest_file(10000),
        pytest.raises(
            OutputError, match=r"5 cannot be written \(File too large\): free some space"
        ),
    ):
        write_folder(folder, {"new": torch.ones(100000)}, {})
    assert os.listdir(tmp_path) == ["5"]
    assert list(load_file(folder / "weights.safetensors")) == ["old"]


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    run = RunFolder.create(tmp_path, "fox")
    code = (
        "import pathlib, sys\n"
        "from neural_render.training.runs.folder import RunFolder\n"
        "with RunFolder(path=pathlib.Path(sys.argv[1])).locked():\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(OutputError, match="is being trained by another process"),
            run.locked(),
        ):
            pass
        other.stdin.close()
        other.wait()
    with run.locked():
        pass


LINE = {name: 0.5 for name in ("loss", "psnr", "learning_rate", "samples_per_ray")}
LINE |= {"rays_per_second": 1.0, "occupied": 0.1}


def test_metrics_of_a_killed_run_are_dropped_beyond_its_checkpoint(tmp_path):
    run = RunFolder.create(tmp_path, "fox")
    with MetricsLog(run, resumed_step=0, tensorboard=False) as metrics:
        for step in (10, 20, 30):
            metrics.write(LINE | {"step": step})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 40, "lo')
    with MetricsLog(run, resumed_step=20, tensorboard=True) as metrics:
        metrics.write(LINE | {"step": 25})
    steps = [json.loads(line)["step"] for line in run.metrics_path.read_text().splitlines()]
    assert steps == [10, 20, 25]
    assert any(run.tensorboard_path.iterdir())


def test_metrics_that_another_program_spoilt_stand_in_nobodys_way(tmp_path):
    run = RunFolder.create(tmp_path, "fox")
    run.metrics_path.write_bytes(b'{"step": 1, "x": "\xff"}\n' + b"[" * 100_000 + b"\n")
    with MetricsLog(run, resumed_step=20, tensorboard=False) as metrics:
        metrics.write(LINE | {"step": 25})
    first, last = run.metrics_path.read_bytes().splitlines()
    assert b"\xff" in first and json.loads(last)["step"] == 25


@pytest.mark.parametrize(
    "change",
    [
        {"machine": 3.0},
        {"protocol": None},
        {"views": [{"name": 3, "psnr": 1.0, "flip": 0.1, "image": "", "width": 1, "height": 1}]},
        {"views": [{"name": "a", "psnr": "x", "flip": 0.1, "image": "", "width": 1, "height": 1}]},
        {"views": [7]},
    ],
)
def test_measures_of_other_kinds_are_told(tmp_path, change):
    run = RunFolder.create(tmp_path, "fox")
    run.evaluation_path.mkdir()
    path = run.evaluation_path / "metrics.json"
    path.write_text(json.dumps({"protocol": {}, "views": []}), encoding="utf-8")
    assert run.measures() == {"protocol": {}, "machine": {}, "views": []}
    path.write_text(json.dumps({"protocol": {}, "views": []} | change), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"metrics\.json is missing or broken: measure"):
        run.measures()


def test_metrics_on_a_full_disk(tmp_path):
    run = RunFolder.create(tmp_path, "fox")
    with (
        pytest.raises(OutputError, match=r"metrics\.jsonl cannot be written"),
        MetricsLog(run, resumed_step=0, tensorboard=False) as metrics,
        largest_file(1),
    ):
        metrics.write(LINE | {"step": 1})
