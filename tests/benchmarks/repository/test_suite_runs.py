"""Runs of a test suite: what failed now and then is named, and more runs add up."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import records
from benchmarks.bars.records import Found
from benchmarks.bars.rows import house
from benchmarks.options import BenchmarkOptions
from benchmarks.repository import suite_runs
from benchmarks.repository.suite_runs import COMMAND, SuiteError, suite_run

ROOT = Path(__file__).resolve().parents[3]
# Each run finds its way by a file that the last one left: the first fails.
TESTS = """
from pathlib import Path
import pytest

MARK = Path(__file__).with_name("mark")

@pytest.mark.parametrize("number", [1, 2])
def test_that_passes(number): pass

def test_that_fails_once():
    seen = MARK.exists()
    MARK.touch()
    assert seen

@pytest.mark.skip(reason="to be counted")
def test_that_is_skipped(): pass
"""
HERE = ("-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.")


@pytest.fixture
def checkout(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with some tests and a first record; pytest runs alone there, which is fast."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    folder = kept.parent
    (folder / "test_it.py").write_text(TESTS)
    (folder / ".gitignore").write_text("__pycache__\nmark\n")
    (kept / "records").mkdir(parents=True)
    (kept / "records" / "tests.jsonl").touch()
    subprocess.run(["git", "-C", str(folder), "init", "-q"], check=True)
    commit_all(folder, "all")
    return folder


def commit_all(folder: Path, message: str) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder)]
    for words in (["add", "."], ["commit", "-q", "-m", message]):
        subprocess.run([*git, *words], check=True)


def test_what_failed_in_one_of_two_runs_is_named(checkout, monkeypatch, capsys):
    monkeypatch.setattr(suite_runs, "ROOT", checkout)
    monkeypatch.setattr(suite_run, "__defaults__", (HERE,))
    options = BenchmarkOptions(suite="tests", runs=1)
    suite_runs.run(options)
    first = capsys.readouterr().out
    assert "run 1 of 1: 2 passed, 1 failed, 1 skipped in " in first
    assert "failed in 1 of 1: test_it.py::test_that_fails_once" in first
    suite_runs.run(options)
    said = capsys.readouterr().out
    assert "run 1 of 1: 3 passed, 0 failed, 1 skipped in " in said
    assert f"2 runs at {records.commit()}: 1 tests failed in some of them; median " in said
    assert "failed in 1 of 2: test_it.py::test_that_fails_once" in said
    one, two = records.lines("tests")
    assert one["failed"] == ["test_it.py::test_that_fails_once"]
    assert (one["passed"], one["skipped"]) == (2, 1)
    assert two["failed"] == [] and len(two["slowest"]) == 4
    assert two["cpu_seconds"] > 0 and two["wall_seconds"] > 0


def test_new_records_are_no_other_code(checkout):
    clean = records.commit()
    (checkout / "benchmarks" / "records" / "tests.jsonl").write_text("{}\n")
    assert clean and records.commit() == clean
    commit_all(checkout, "records")
    assert records.commit() == clean
    (checkout / "test_it.py").write_text("")
    assert records.commit() == f"{clean}+"
    commit_all(checkout, "other tests")
    other = records.commit()
    assert other not in (clean, f"{clean}+", "")
    (checkout / "new.py").touch()
    assert records.commit() == f"{other}+", "git does not track it yet"


def test_a_record_is_of_the_code_with_which_its_measurement_began(checkout):
    def label(**more: str) -> str:
        records.append("x", "cpu", 1, {}, **more)
        return records.lines("x")[-1]["commit"]

    first = records.begin()
    assert first and label() == first
    (checkout / "test_it.py").write_text("")
    assert label() == f"{first}+"
    commit_all(checkout, "meanwhile")
    assert label() == f"{first}+", "not the commit that was made meanwhile"
    second = records.commit()
    assert second != first and label(began=second) == second
    assert label(began=f"{first}+") == f"{first}+"


def test_runs_add_up_where_their_code_is_known(kept, capsys):
    def made(commit: str, seconds: float, machine: str = "M") -> None:
        line = {"commit": commit, "machine": machine, "failed": [], "slowest": {"a": seconds}}
        line |= {"wall_seconds": seconds, "cpu_seconds": seconds}
        with (kept / "records/tests.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    (kept / "records").mkdir(parents=True)
    assert suite_runs.series() == []
    made("a", 60, machine="L")
    made("a+", 600)
    made("a", 120)
    made("b", 600)
    made("a", 240)
    assert [line["wall_seconds"] for line in suite_runs.series()] == [60, 120, 240]
    assert house.minutes(Found()) == 3, "of those on the machine of the newest one"
    suite_runs.show(suite_runs.series())
    assert "3 runs at a: 0 tests failed in some of them; median 180 s" in capsys.readouterr().out
    made("a+", 300)
    assert [line["wall_seconds"] for line in suite_runs.series()] == [300]


def test_a_suite_that_does_not_run_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    with pytest.raises(SuiteError, match=f"no test ran in {tmp_path}: pytest said .*nowhere"):
        suite_run(tmp_path, ("-m", "pytest", "nowhere"))


def test_the_command_is_the_one_of_the_readme():
    words = " ".join(("python", *COMMAND))
    assert words in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
