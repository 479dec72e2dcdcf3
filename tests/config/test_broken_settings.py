"""Stored settings and words that nobody can read are named in one sentence."""

import sys
from pathlib import Path

import pytest

from neural_render.config import Command, Settings, main
from neural_render.config.composition import load_settings, yaml_of
from neural_render.core.errors import CheckpointError

BOMB = "a: &a [x]\nb: &b [*a,*a]\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "it has aliases"),
        ("[" * 2000, "nested too deeply"),
        ("learning_rate: 3", "learning_rate is none of them"),
        ("render: {null: 1}", "one of its names is null"),
        ("evaluation: null", "evaluation is no group of settings"),
        ("field: {grid: 3}", "field.grid is no group of settings"),
        ("- 1", "what it holds is no group of settings"),
        ("seed: many", "seed: Value 'many'"),
        ("run: !!python/object/apply:os.system ['touch owned']", "could not determine"),
        ("\0", "special characters"),
        ("", "it is empty"),
        ("# all of it was a remark\n", "it is empty"),
    ],
)
def test_settings_that_are_not_ours_are_one_sentence(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not hold the settings of a run") as raised:
        load_settings(path)
    assert reason in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [
        ("field.width=${x",),
        ("seed=${oc.env:NOT_THERE}",),
        ("-m", "seed=range(1,2,0)"),
        ("-m", "seed=glob(x)"),
        ("seed=" + "9" * 30,),
        ("--cfg", "joob"),
        ("--cfg",),
    ],
)
def test_what_hydra_cannot_read_is_named(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    assert main(command, lambda settings: None) == 2
    said = capsys.readouterr().err
    assert words[-1].partition("=")[0] in said and said.count("\n") == 1
    assert "Exception" not in said and "KeyError" not in said


def test_paths_that_cannot_be_are_one_short_sentence(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    for path in ("x" * 5000, "/dev/null/x"):
        assert main(command, lambda settings, path=path: print(Path(path).stat())) == 2
        said = capsys.readouterr().err
        assert "cannot be used" in said and len(said) < 250


def test_a_wrong_value_of_a_run_is_told_with_its_file(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who typed none of it looks there; what is typed instead is taken."""
    run = tmp_path / "run"
    (run / "checkpoints/1").mkdir(parents=True)
    stored = yaml_of(Settings()).replace("max_side: 1024", "max_side: -1")
    (run / "config.yaml").write_text(stored, encoding="utf-8")
    found: list[Settings] = []
    monkeypatch.setattr(sys, "argv", ["train.py", f"run={run}"])
    assert main(command, found.append) == 2 and found == []
    assert f"{run / 'config.yaml'} holds what cannot be: export.splats" in capsys.readouterr().err
    (run / "config.yaml").write_text(
        stored.replace("max_side: -1", "max_side: " + "1" * 400), encoding="utf-8"
    )
    assert main(command, found.append) == 2 and found == []
    assert "is too large; give at most" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["train.py", f"run={run}", "export.splats.max_side=64"])
    assert main(command, found.append) == 0 and found[0].export.splats.max_side == 64
    monkeypatch.setattr(sys, "argv", ["train.py", f"run={run}", "export.splats.max_side=3"])
    assert main(command, found.append) == 2
    assert "config.yaml" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stored", "words", "refused"),
    [
        (0, "capture.holdout_every=10", True),  # what training saw is no test
        (10, "capture.holdout_every=5", True),
        (10, "capture.holdout_every=0", False),
        (0, "views.test=16", True),
        (0, "views.kind=shell", True),
        (0, "views.reference_samples=512", False),
    ],
)
def test_what_a_run_has_held_out_stays(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stored: int,
    words: str,
    refused: bool,
) -> None:
    begun = Settings()
    begun.capture.holdout_every = stored
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml_of(begun), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["train.py", f"run={run}", words])
    assert main(command, lambda settings: None) == (2 if refused else 0)
    assert (f"{words} cannot be had in a run" in capsys.readouterr().err) == refused
