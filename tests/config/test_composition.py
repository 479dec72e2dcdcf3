"""Settings from defaults, presets, stored runs and the command line; errors to exit codes."""

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neural_render.config import (
    Command,
    Settings,
    changed_settings,
    completed,
    differing_settings,
    main,
    yaml_of,
)
from neural_render.config.composition import load_settings
from neural_render.config.settings import list_settings, typed
from neural_render.core.errors import CaptureError
from neural_render.core.processes.signals import Terminated
from neural_render.training.stopping import TrainingInterrupted

Compose = Callable[..., list[Settings]]


@pytest.fixture
def compose(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compose:
    """The settings of each job that some words ask for."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*words: str, needs_run: bool = False) -> list[Settings]:
        found: list[Settings] = []
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        assert main(replace(command, needs_run=needs_run), found.append) == 0
        return found

    return call


def store_run(folder: Path, settings: Settings) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml_of(settings), encoding="utf-8")
    return folder


def test_without_words_the_defaults_stand_and_nothing_is_written(
    compose: Compose, tmp_path: Path
) -> None:
    assert compose() == [Settings()]
    assert list((tmp_path / "here").iterdir()) == []


def test_words_beat_presets_and_presets_beat_defaults(compose: Compose) -> None:
    (settings,) = compose("preset=short", "seed=3", "path=spiral")
    assert (settings.training.max_seconds, settings.seed) == (30.0, 3)
    assert settings.render.path == "spiral"
    (settings,) = compose("preset=short", "training.max_seconds=7")
    assert settings.training.max_seconds == 7.0


def test_words_for_hydra_change_no_setting(compose: Compose) -> None:
    """With them Hydra's own program composes, which gets the presets' folder in another way."""
    words = "preset=short", "seed=3", "name=a b"
    assert compose(*words, "hydra.verbose=false") == compose(*words)


def test_a_sweep_has_a_job_for_each_combination(compose: Compose) -> None:
    jobs = compose("-m", "seed=0,1", "name=a b,c")
    assert [(job.seed, job.name) for job in jobs] == [(0, "a b"), (0, "c"), (1, "a b"), (1, "c")]


@pytest.mark.parametrize("stated", ["../photos", "~/photos", "'~/photos'"])
def test_paths_of_what_is_learned_are_stored_absolute(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str
) -> None:
    """What is quoted (or stands in a preset) may begin with the home folder too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    keys = "capture.path", "scene.path", "scene.environment"
    (settings,) = compose(*(f"{key}={stated}" for key in keys))
    assert changed_settings(settings) == dict.fromkeys(keys, str(tmp_path / "photos"))


def test_a_run_finds_its_scene_from_anywhere(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings,) = compose("scene.path=ball.xml", "scene.environment=sky.exr")
    run = store_run(tmp_path / "run", settings)
    monkeypatch.chdir(tmp_path)
    for words in ([], ["scene.path=here/ball.xml", "scene.environment=here/sky.exr"]):
        (again,) = compose(f"run={run}", *words)
        assert again.scene == settings.scene


def test_a_run_from_before_paths_were_stored_absolute_goes_on_where_it_was_begun(
    compose: Compose, tmp_path: Path
) -> None:
    stored = Settings()
    stored.scene.path, stored.scene.environment = "ball.xml", "sky.exr"
    run = store_run(tmp_path / "run", stored)
    (again,) = compose(f"run={run}")
    (retyped,) = compose(f"run={run}", "scene.path=ball.xml", "scene.environment=sky.exr")
    assert retyped.scene == again.scene
    assert again.scene.path == str(tmp_path / "here/ball.xml")


def test_a_run_keeps_its_settings_until_words_change_them(compose: Compose, tmp_path: Path) -> None:
    stored = completed(Settings(seed=5), name="fox", log2_rows=17)
    run = store_run(tmp_path / "run", stored)
    (settings,) = compose(f"run={run}", "preset=short", "kernels.threads=1")
    changed = changed_settings(settings)
    assert changed.pop("run") == str(run.resolve())
    assert changed == {
        "name": "fox",
        "seed": "5",
        "field.grid.log2_rows": "17",
        "training.max_seconds": "30",
        "kernels.threads": "1",
    }


def test_a_budget_in_seconds_is_one_after_one_in_steps(compose: Compose, tmp_path: Path) -> None:
    stored = Settings()
    stored.training.num_steps = 500
    run = store_run(tmp_path / "run", stored)
    for words, steps in {"seed=0": 500, "training.max_seconds=60": 0, "preset=short": 0}.items():
        (found,) = compose(f"run={run}", words)
        assert found.training.num_steps == steps


def test_runs_differ_in_settings_that_do_not_name_them() -> None:
    runs = [Settings(name="a", outputs="x"), Settings(name="b", run="y", seed=3)]
    runs[0].field.grid.log2_rows = 17
    assert differing_settings(runs) == {"seed": ["0", "3"], "field.grid.log2_rows": ["17", "0"]}
    assert differing_settings(runs[:1] * 2) == {}


def test_a_run_from_before_points_were_found_goes_on_without(
    command: Command,
    compose: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = store_run(tmp_path / "run", Settings(seed=5))
    config = run / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("  find_points: true\n", ""))
    assert config.read_text() != text
    (settings,) = compose(f"run={run}")
    assert settings.seed == 5 and not settings.capture.find_points
    monkeypatch.setattr(sys, "argv", ["train.py", f"run={run}", "capture.find_points=true"])
    assert main(command, lambda settings: None) == 2
    assert "capture.find_points=true cannot be had in a run" in capsys.readouterr().err


@pytest.mark.parametrize("needs_run", [False, True])
def test_lights_have_any_name_and_are_numbers_or_colours(
    compose: Compose, tmp_path: Path, needs_run: bool
) -> None:
    store_run(tmp_path / "here/outputs/latest", Settings(seed=8))
    names = ["key", "Area Light.001", "größe, 写真", "true", "7", "it's [a]{b}:c", "hex_41", "-x"]
    words = [f"lights.{name}={value}" for value, name in enumerate(names)]
    (settings,) = compose(*words, "lights.sky=[0.2, .3,6e-1]", needs_run=needs_run)
    assert settings.lights == {name: float(value) for value, name in enumerate(names)} | {
        "sky": [0.2, 0.3, 0.6]
    }


def test_lights_can_be_swept(compose: Compose) -> None:
    found = compose("-m", "lights.a b=1,[0,1,0]", "lights.key=2", "seed=0,1")
    dials = [{"a b": 1.0, "key": 2.0}] * 2 + [{"a b": [0.0, 1.0, 0.0], "key": 2.0}] * 2
    assert [settings.lights for settings in found] == dials


def test_the_place_of_a_light_is_a_list(compose: Compose) -> None:
    (settings,) = compose("render.light_at=[0,-1,0.5]")
    assert settings.render.light_at == [0.0, -1.0, 0.5]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("lights.key=-2", "lights.key=-2.0 must be finite and nowhere below 0"),
        ("lights.key=nan", "lights.key=nan must be finite"),
        ("lights.key=[1,inf,1]", "lights.key=[1.0,inf,1.0] must be finite"),
        ("lights.key=[1,2]", "lights.key=[1.0,2.0] is not a brightness or a colour: give a number"),
        ("render.light_at=[1,2]", "render.light_at=[1.0, 2.0] is not a place or a direction: give"),
        ("render.light_at=[1,nan,0]", "is not a place or a direction: give three finite numbers"),
        ("render.light_at=up", "render.light_at"),
        ("render.exr=double", "render.exr=double is not one of half, float"),
        ("render.backdrop=blue", "render.backdrop=blue is not one of auto, environment, black"),
    ],
)
def test_what_is_no_light_is_one_sentence(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
    sentence: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", word])
    assert main(command, lambda settings: None) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_settings_survive_yaml(tmp_path: Path) -> None:
    """All of them; but for ``run``, which is where they lie."""
    settings = Settings(name="写真: [x], 'y'", outputs="a=b", run="here")
    run = store_run(tmp_path / "run", settings)
    assert load_settings(run / "config.yaml") == replace(settings, run="")


@pytest.mark.parametrize("link", [True, False])
def test_the_latest_run_is_found_through_a_link_or_a_file(
    compose: Compose, tmp_path: Path, link: bool
) -> None:
    store_run(tmp_path / "here/outputs/fox/one", Settings(seed=8))
    if link:
        Path("outputs/latest").symlink_to("fox/one", target_is_directory=True)
    else:
        Path("outputs/latest").write_text("fox/one\n", encoding="utf-8")
    (settings,) = compose(needs_run=True)
    assert (settings.seed, Path(settings.run)) == (8, tmp_path / "here/outputs/fox/one")


def test_open_settings_are_completed_and_others_kept() -> None:
    done = completed(Settings(), name="fox", log2_rows=17)
    assert (done.name, done.field.grid.log2_rows) == ("fox", 17)
    assert completed(done, name="bear", log2_rows=19) == done


def test_help_names_every_setting_preset_and_example(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    monkeypatch.setenv("COLUMNS", "80")
    assert main(command, lambda settings: None) == 0
    page = capsys.readouterr().out
    for setting in list_settings(Settings):
        assert f"\n  {typed(setting).partition('=')[0]}=" in page
        assert setting.metadata["help"].split()[0] in page
        words = [word for word in setting.metadata.get("choices", ()) if isinstance(word, str)]
        assert not [word for word in words if word not in setting.metadata["help"]], setting.key
    assert "  preset=short  " in page and "thirty seconds" in page
    assert "\n  path=" in page and "render.path=\n" in page
    assert "python train.py\n" in page
    assert max(map(len, page.splitlines())) <= 80


def test_what_a_command_has_no_use_for_is_neither_taken_nor_listed(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = replace(command, without=("evaluation.fit",))
    monkeypatch.setattr(sys, "argv", ["train.py", "evaluation.fit=pose"])
    assert main(few, lambda settings: None) == 2
    assert "evaluation.fit is a setting of another command" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    assert main(few, lambda settings: None) == 0
    page = capsys.readouterr().out
    assert "evaluation.fit_steps=" in page and "evaluation.fit=" not in page


def test_presets_are_for_training(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["render.py", "preset=short"])
    looks, compares = replace(command, needs_run=True), replace(command, sections=("runs",))
    for trains_nothing in (looks, compares):
        assert main(trains_nothing, lambda settings: None) == 2
        assert capsys.readouterr().err.startswith("error: preset is not a setting of train.py")


def test_the_version_is_said(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--version"])
    assert main(command, lambda settings: None) == 0
    assert capsys.readouterr().out.startswith("neural_render 0.")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CaptureError("photo 3\nis gone."), 2, "error: photo 3 is gone.\n"),
        (TrainingInterrupted("Stopped at step 3.", exit_code=143), 143, "Stopped at step 3.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Terminated(), 143, "terminated\n"),
        (MemoryError("3 GB"), 2, "error: Out of memory (3 GB): halve training.samples_per_step"),
        (MemoryError(), 2, "error: Out of memory: halve training.samples_per_step"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
            2,
            "error: The GPU's memory is full (2.00 GiB): halve training.samples_per_step",
        ),
        (OSError(errno.ENOSPC, "", "a/b"), 2, "error: a/b cannot be written: No space left"),
    ],
)
def test_errors_become_a_line_and_an_exit_code(
    error: BaseException,
    code: int,
    said: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def task(settings: Settings) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert main(command, task) == code
    assert capsys.readouterr().err.startswith(said)


def test_torch_without_memory_is_a_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert main(command, lambda settings: print(torch.empty(1 << 60, dtype=torch.uint8)[0])) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: Out of memory (1152921504606846976 bytes): halve training.")


def test_a_bug_is_not_hidden(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def task(settings: Settings) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(command, task)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.max_seconds=nan"], "training.max_seconds=nan is not a finite number"),
        (["name=${oc.env:NOT_THERE}"], "Environment variable 'NOT_THERE' not found"),
        (["field.width=${nowhere}"], "Interpolation key 'nowhere' not found"),
        (["hydra.foo=3"], "Key 'foo' not in 'HydraConf'"),
    ],
)
def test_what_hydra_has_to_say_is_one_line(
    words: list[str],
    said: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    assert main(command, lambda settings: None) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.startswith("error: ") and errors.count("\n") == 1


def test_messages_go_to_stdout_and_warnings_to_stderr(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(settings: Settings) -> None:
        logging.getLogger("neural_render").info("opened %d photos", 3)
        logging.getLogger("neural_render").warning("one is dark")

    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert main(command, task) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("opened 3 photos\n", "warning: one is dark\n")


@pytest.mark.skipif(os.name == "nt", reason="this system has no pipes to close")
def test_a_reader_that_closes_the_pipe_is_no_error(tmp_path: Path) -> None:
    """As with ``| head -1``: exit code 141, nothing on stderr."""
    script = tmp_path / "program.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom neural_render.config import Command, main\n"
        "command = Command(program='p', summary='', examples=(), sections=('seed',), short={},"
        " configs=Path('configs'), needs_run=False)\n"
        "sys.exit(main(command, print))\n",
        encoding="utf-8",
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
