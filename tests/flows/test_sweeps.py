"""Many scenes with one command: a run for each capture, here and through a launcher."""

import sys
from pathlib import Path

import pytest

from tests.flows.programs import SMALL, run, run_here
from tests.tiny_capture import write_blender_capture

FEW = (*SMALL[:-1], "training.num_steps=3", "render.output=none")


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of captures, one of which is empty, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("a, [b]", "größe=1"):
        write_blender_capture(tmp_path / "photos" / name, num_train=4, num_test=1, size=16)
    (tmp_path / "photos/empty").mkdir()
    return tmp_path / "photos"


@pytest.mark.usefixtures("collection")
def test_a_collection_is_a_run_for_each_capture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", "capture.path=photos/*", *FEW)
    done = run_here("train.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 2
    assert done.errors.endswith("error: 1 of 3 jobs were not done: see the table.\n")
    head, first, empty, last = done.output.splitlines()[-4:]
    assert head.startswith("sweep: 2 done, 1 failed (outputs/sweeps/")
    assert first.startswith("  0  done    capture.path='photos/a, [b]'   outputs/a, [b]/")
    assert empty.startswith("  1  failed  capture.path='photos/empty'    capture.path=")
    assert "is in no known capture format" in empty
    assert last.startswith("  2  done    capture.path='photos/größe=1'  outputs/größe=1/")
    for name in ("a, [b]", "größe=1"):
        (found,) = (tmp_path / "outputs" / name).iterdir()
        assert (found / "evaluation/metrics.json").is_file()
    names = sorted(path.name for path in (tmp_path / "outputs").iterdir())
    assert names == ["a, [b]", "größe=1", "latest", "sweeps"]


@pytest.mark.usefixtures("collection")
def test_runs_go_through_submitit(tmp_path: Path) -> None:
    words = ("-m", "capture.path=photos/[ae]*", "launcher=local", *FEW)
    done = run("train.py", *words, folder=tmp_path)
    assert done.code == 2
    assert done.errors == "error: 1 of 2 jobs were not done: see the table.\n"
    *_, head, first, empty = done.output.splitlines()
    assert head.startswith("sweep: 1 done, 1 failed (outputs/sweeps/")
    (found,) = (tmp_path / "outputs/a, [b]").iterdir()
    assert first.endswith(f"  outputs/a, [b]/{found.name}")
    assert (found / "evaluation/metrics.json").is_file()
    assert empty.startswith("  1  failed  capture.path='photos/empty'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs", "photos"]
    (folder,) = (tmp_path / "outputs/sweeps").iterdir()
    assert "is in no known capture format" in (folder / "1.err").read_text(encoding="utf-8")
    assert len(list(folder.glob(".submitit/*/*_log.out"))) == 2


@pytest.mark.parametrize(
    ("word", "blocked", "sentence"),
    [
        ("hydra.launcher.n_jobs=0", "", "launcher=joblib: n_jobs == 0 in Parallel has no meaning"),
        ("launcher=slurm", "", 'launcher=slurm: Could not detect "srun"'),
        ("launcher=joblib", "hydra_plugins", "launcher=joblib needs hydra-joblib-launcher, which"),
        ("hydra.launcher.partition=gpu", "", "Could not override 'hydra.launcher.partition'"),
    ],
)
def test_a_launcher_that_cannot_start_is_one_sentence(
    word: str,
    blocked: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", "")  # as it was, afterwards
    if blocked:
        for name in [name for name in sys.modules if name.startswith(f"{blocked}.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, blocked, None)
    words = ("-m", "seed=0,1", word, *("launcher=joblib",) * word.startswith("hydra.launcher.n"))
    done = run_here("train.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 2
    assert done.errors.startswith(f"error: {sentence}") and done.errors.count("\n") == 1
    assert list(tmp_path.glob("outputs/*/*")) == []


def test_jobs_that_film_one_run_keep_each_others_films(
    trained_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained_run)
    words = (f"run={trained_run}", "path=test", "output=frames", "size=8x8", "render.backdrop=")
    words = ("-m", *words[:-1], f"{words[-1]}black,white")
    done = run_here("render.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 0, done.errors
    films = sorted(path for path in (trained_run / "renders").iterdir() if path.name[:1].isdigit())
    assert [path.name for path in films] == [
        "0_render.backdrop=_black",
        "1_render.backdrop=_white",
    ]
    pictures = [(film / "test_8x8/color_0000.png").read_bytes() for film in films]
    assert pictures[0] != pictures[1]


def test_jobs_that_would_measure_one_run_are_refused(
    trained_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained_run)
    words = ("-m", f"run={trained_run}", "evaluation.fit=none,pose")
    done = run_here("scripts/evaluate.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 2
    assert "2 jobs of evaluate.py would write into" in done.errors
