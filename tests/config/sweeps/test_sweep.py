"""Sweeps: jobs end alone, whatever starts them, and the table says how."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neural_render.config.jobs import (
    cancel_slurm_jobs,
    device_of_job,
    last_words,
    read_records,
    threads_of_job,
)
from neural_render.config.log import LastLine
from neural_render.config.sweep import check_installed, parsed_overrides, sweep_folder
from neural_render.core.errors import OutputError, SettingError
from neural_render.kernels.dispatch import usable_cores

REPOSITORY = Path(__file__).resolve().parents[3]
FOUND = (str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")]))
# A program whose jobs end in all ways: well, with a user's error, with a bug, killed, or never.
PROGRAM = f"""
import os, sys, time
from pathlib import Path
from neural_render.config import Command, Settings, main
from neural_render.core.errors import CaptureError
from neural_render.core.processes.sweeps import own_threads

command = Command(program={{program!r}}, summary='', examples=(), short={{{{}}}}, needs_run=False,
    sections=('outputs', 'name', 'seed', 'kernels', 'lights'),
    configs=Path({str(REPOSITORY / "configs")!r}))

def task(settings: Settings) -> None:
    print(os.getpid(), 'begins', flush=True)
    if settings.name == 'broken':
        raise CaptureError('photo 3\\nis gone.')
    if settings.name == 'bug':
        raise ZeroDivisionError('ours')
    if settings.name == 'killed':
        os.kill(os.getpid(), 9)
    if settings.name == 'endless':
        time.sleep(600)
    print(settings.name, settings.seed, own_threads(), settings.kernels.threads, settings.lights)

if __name__ == '__main__':
    sys.exit(main(command, task))
"""
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the program's sweep of some words, in an empty folder."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(program=str(program)), encoding="utf-8")
    (tmp_path / "here").mkdir()
    begun: list[subprocess.Popen] = []

    def call(*words: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, program, "-m", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(FOUND)},
            cwd=tmp_path / "here",
            text=True,
        )
        begun.append(process)
        return process

    yield call
    for process in begun:
        process.kill()
        process.communicate()


def rows_of(output: str) -> list[list[str]]:
    """The table at the end: number, state, what was swept and what was said."""
    lines = output.split("sweep: ")[1].splitlines()[1:]
    return [line.split(maxsplit=3) for line in lines]


def test_a_job_that_fails_ends_no_other(start: Start, tmp_path: Path) -> None:
    output, errors = (process := start("name=broken,bug,fine", "seed=1")).communicate()
    assert process.returncode == 2
    assert rows_of(output) == [
        ["0", "failed", "name='broken'", "photo 3 is gone."],
        ["1", "failed", "name='bug'", "ZeroDivisionError: ours"],
        ["2", "done", "name='fine'", "fine 1 0 0 {}"],
    ]
    assert "error: job 0 failed: photo 3 is gone.\n" in errors
    assert "Traceback" in errors and "in task" in errors
    assert errors.endswith("error: 2 of 3 jobs were not done: see the table.\n")
    (folder,) = (tmp_path / "here/outputs/sweeps").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"{number}.json" for number in range(3)),
        "multirun.yaml",
    ]
    assert json.loads((folder / "2.json").read_text())["words"] == ["name='fine'", "seed=1"]


@pytest.mark.skipif(os.name == "nt", reason="this system cannot kill")
def test_a_job_that_is_killed_ends_no_other(start: Start, tmp_path: Path) -> None:
    words = ("name=killed,größe", "outputs='o=1, [x]'", "lights.Größe 1=2", "launcher=joblib")
    output, errors = (process := start(*words)).communicate()
    assert process.returncode == 2, errors
    killed, done = rows_of(output)
    assert killed[:3] == ["0", "failed", "name='killed'"]
    assert killed[3].startswith("killed by SIGKILL (out of memory?), see ")
    threads = max(1, usable_cores() // 2)
    assert done == ["1", "done", "name='größe'", f"größe 0 {threads} 0 {{'Größe 1': 2.0}}"]
    assert errors.endswith("error: 1 of 2 jobs were not done: see the table.\n")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["o=1, [x]"]
    assert [path.name for path in (tmp_path / "here/o=1, [x]").iterdir()] == ["sweeps"]
    (folder,) = (tmp_path / "here/o=1, [x]/sweeps").iterdir()
    assert (folder / "1.out").read_text(encoding="utf-8").endswith(" {'Größe 1': 2.0}\n")


@pytest.mark.skipif(os.name == "nt", reason="this system has no signals between processes")
def test_ctrl_c_ends_all_jobs(start: Start, tmp_path: Path) -> None:
    process = start("name=endless", "seed=0,1,2", "launcher=joblib")
    outputs = tmp_path / "here/outputs"
    begun: dict[str, int] = {}
    while len(begun) < 2 and process.poll() is None:
        said = {path.name: path.read_text().split() for path in outputs.glob("sweeps/*/*.out")}
        begun = {name: int(words[0]) for name, words in said.items() if words}
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130, errors
    *running, last = rows_of(output)
    assert running == [
        ["0", "stopped", "seed=0", "interrupted"],
        ["1", "stopped", "seed=1", "interrupted"],
    ]
    # The last one may have been handed to a process that had no time to begin it.
    assert last in (["2", "waiting", "seed=2"], ["2", "stopped", "seed=2", "never begun"])
    for pid in begun.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [
        ("joblib", "hydra-joblib-launcher"),
        ("slurm", "hydra-submitit-launcher"),
        ("local", "hydra-submitit-launcher"),
        ("submitit_local", "hydra-submitit-launcher"),
    ],
)
def test_a_missing_plugin_is_named(
    launcher: str, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_installed("basic")
    check_installed(launcher)
    for name in [name for name in sys.modules if name.startswith("hydra_plugins.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hydra_plugins", None)
    check_installed("basic")
    sentence = rf'launcher={launcher} needs {plugin}, which is not .* pip install -e "\.\[sweeps\]"'
    with pytest.raises(SettingError, match=sentence):
        check_installed(launcher)


@pytest.mark.parametrize(
    ("launcher", "num_jobs", "threads"),
    [
        ({"_target_": "JoblibLauncher", "n_jobs": 2}, 5, 4),
        ({"_target_": "JoblibLauncher", "n_jobs": 20}, 3, 2),
        ({"_target_": "JoblibLauncher", "n_jobs": 20}, 30, 1),
        ({"_target_": "JoblibLauncher", "n_jobs": -1}, 30, 1),
        ({"_target_": "JoblibLauncher", "n_jobs": -1}, 2, 4),
        ({"_target_": "LocalLauncher", "cpus_per_task": None}, 4, 2),
        ({"_target_": "LocalLauncher", "cpus_per_task": 3}, 4, 3),
        ({"_target_": "SlurmLauncher", "cpus_per_task": 6}, 4, 6),
        ({"_target_": "SlurmLauncher", "cpus_per_task": None}, 4, 0),
    ],
)
def test_jobs_side_by_side_share_the_cores(
    launcher: dict[str, object], num_jobs: int, threads: int
) -> None:
    assert threads_of_job(launcher, num_jobs, cores=8) == threads


def test_jobs_side_by_side_take_gpus_in_turn() -> None:
    assert [device_of_job(number, "", 2) for number in range(3)] == ["0", "1", "0"]
    assert [device_of_job(number, "3,GPU-7", 8) for number in range(2)] == ["3", "GPU-7"]
    assert device_of_job(1, "5", 8) == "5"
    assert device_of_job(1, "", 1) == "" == device_of_job(1, "", 0)


def test_sweeps_that_begin_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    words = parsed_overrides([f"outputs='{tmp_path}'", "seed=0,1"])
    found = [sweep_folder(words) for _ in range(20)]
    assert len(set(found)) == 20 and all(folder.is_dir() for folder in found)
    assert {folder.parent for folder in found} == {tmp_path / "sweeps"}
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        sweep_folder(parsed_overrides([f"outputs='{tmp_path / 'file'}'"]))


def test_the_last_words_of_a_process_are_its_answer(tmp_path: Path) -> None:
    (tmp_path / "4.out").write_text("PSNR 30\noutputs/fox\n\n")
    (tmp_path / "4.err").write_text("warning: dark\nerror: it is gone.\n")
    assert last_words(tmp_path, 4, 0) == "outputs/fox"
    assert last_words(tmp_path, 4, 2) == "it is gone."
    assert last_words(tmp_path, 4, -15).startswith("killed by SIGTERM, see ")
    (tmp_path / "4.err").write_text("")
    assert last_words(tmp_path, 4, 1) == "ended without a word"


def test_the_last_line_is_remembered_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    output = LastLine(sys.stdout)
    print("one", "two", file=output)
    print("three\nfour\n", file=output)
    assert output.last == "four"
    assert output.encoding == sys.stdout.encoding and output.isatty() == sys.stdout.isatty()
    assert capsys.readouterr().out == "one two\nthree\nfour\n\n"


@pytest.mark.skipif(os.name == "nt", reason="this system runs no scripts without their program")
def test_jobs_are_taken_from_slurms_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("77", "77_0", "77_1", "%j", ".submission_file_1.sh"):
        (tmp_path / ".submitit" / name).mkdir(parents=True)
    scancel = tmp_path / "scancel"
    scancel.write_text(f"#!/bin/sh\necho $* > '{tmp_path}/cancelled'\n")
    scancel.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    cancel_slurm_jobs(tmp_path)
    assert (tmp_path / "cancelled").read_text() == "77 77_0 77_1\n"


def test_a_process_that_is_gone_has_stopped(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    known = {"number": 0, "words": [], "state": "running", "host": socket.gethostname()}
    (tmp_path / "0.json").write_text(json.dumps({**known, "pid": gone.pid}))
    (tmp_path / "0.err").write_text("saved\n")
    (tmp_path / "1.json").write_text(json.dumps({**known, "number": 1, "pid": os.getpid()}))
    found = read_records(tmp_path, (("seed=0",), ("seed=1",), ("seed=2",)))
    assert [record.state for record in found] == ["stopped", "running", "waiting"]
    assert found[0].said == "saved"
    assert [record.words for record in found] == [("seed=0",), ("seed=1",), ("seed=2",)]
