"""``scripts/package.py``, and what ``render.py`` makes of its file on a machine without photos."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import records
from benchmarks.files import package as suite
from benchmarks.options import BenchmarkOptions, parsed
from neural_render.kernels import dispatch
from neural_render.training.packages.opening import open_scene
from tests.flows.programs import REPOSITORY, Finished, run_here


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A program in an empty folder: words in, what it said out."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Finished:
        program, *others = map(str, words)
        return run_here(program, *others, monkeypatch=monkeypatch, capsys=capsys)

    return run


def pictures(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) / 255 for path in sorted(folder.glob("color_*.png"))]


def test_a_run_becomes_a_file_that_renders_without_it(call, trained_run, tmp_path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "outputs/tiny/run")
    done = call("scripts/package.py", f"run={run}", "max_loss_db=0.2", "package.views=2")
    assert done.code == 0, done.errors
    package = run / "tiny.nrpack"
    assert done.last_line == str(package)
    assert re.search(r"^package +0\.\d\d MB, \d+\.\d times smaller", done.output, re.MULTILINE)
    assert re.search(r"^loss +-?0\.\d{3} dB on 3 test views$", done.output, re.MULTILINE)
    words = "path=test", "output=frames"
    assert call("render.py", f"run={run}", *words).code == 0
    moved = package.rename(tmp_path / "moved.nrpack")
    own = pictures(run / "renders/test_40x40")
    shutil.rmtree(run)
    done = call("render.py", f"run={moved.name}", *words)
    assert done.code == 0, done.errors
    assert done.last_line == str(tmp_path / "moved_renders/test_40x40/color_0000.png")
    packed = pictures(tmp_path / "moved_renders/test_40x40")
    assert len(packed) == len(own) == 3
    for one, other in zip(packed, own, strict=True):
        assert np.abs(one - other).mean() < 0.01


def test_orbits_and_spirals_need_no_photos(call, packaged, tmp_path) -> None:
    package = shutil.copy(packaged, tmp_path)
    for path in ("orbit", "spiral", "auto"):
        done = call(
            "render.py", f"run={package}", f"path={path}", "output=frames", "frames=1", "size=16x12"
        )
        assert done.code == 0, done.errors
    made = sorted(folder.name for folder in (tmp_path / f"{packaged.stem}_renders").iterdir())
    assert made == ["orbit_16x12", "spiral_16x12"]


@pytest.mark.parametrize(
    ("program", "words"),
    [("train.py", ()), ("scripts/package.py", ()), ("scripts/evaluate.py", ())],
)
def test_what_needs_a_run_says_so_of_a_package(call, packaged, program, words) -> None:
    done = call(program, f"run={packaged}", *words)
    assert done.code == 2
    (line,) = [line for line in done.errors.splitlines() if line.startswith("error: ")]
    assert "is a file, and what is asked for needs a run's whole folder" in line


def test_a_broken_package_is_one_sentence(call, packaged, tmp_path) -> None:
    broken = tmp_path / "broken.nrpack"
    broken.write_bytes(packaged.read_bytes()[:-100])
    done = call("render.py", f"run={broken}")
    assert done.code == 2
    assert done.errors.splitlines()[-1].startswith(f"error: Package {broken} cannot be used: ")
    assert not (tmp_path / "broken_renders").exists()


def test_the_documented_reader_reads(packaged) -> None:
    """The lines in docs/package_format.md give the table that the program opens."""
    text = (REPOSITORY / "docs/package_format.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = code.replace('"lego.nrpack"', "path") + "        found.append(entries)\n"
    found: list[np.ndarray] = []
    exec(code, {"path": packaged, "found": found})
    table = open_scene(packaged, torch.device("cpu")).scene.field.table
    assert np.allclose(np.concatenate(found), table.numpy().ravel(), rtol=1e-6)


def test_the_benchmark_records_sizes_and_losses(trained_run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(records, "ROOT", tmp_path)
    monkeypatch.setattr(suite, "LOSSES", (0.1,))
    threads = torch.get_num_threads()
    suite.run(parsed(BenchmarkOptions, ["suite=package", f"run={trained_run}", "threads=2"]))
    dispatch.select("auto")
    torch.set_num_threads(threads)
    (line,) = (tmp_path / "benchmarks/records/package.jsonl").read_text().splitlines()
    found = json.loads(line)["packages"]["0.1"]
    assert found["views"] == "3 test views"
    assert found["bytes"] < 100_000
    assert found["loss_db"] == pytest.approx(found["psnr_run"] - found["psnr_package"])
    assert "packages of größe=1, [x] 写真" in capsys.readouterr().out


def test_nonsense_is_refused(call, trained_run, tmp_path) -> None:
    for word in ("max_loss_db=0", "package.views=0", f"output={tmp_path}"):
        done = call("scripts/package.py", f"run={trained_run}", word)
        assert done.code == 2
        assert word.partition("=")[0].rpartition(".")[2] in done.errors
