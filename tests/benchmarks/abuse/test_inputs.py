"""Broken inputs: what is judged bad, that chance is repeatable, and one real case or two."""

import json
import random
import sys
import time
from pathlib import Path

import pytest

from benchmarks.abuse import damage, inputs, serving
from benchmarks.abuse.cases import Answer, differences, faults_of, inventory
from benchmarks.abuse.serving import forked
from benchmarks.options import BenchmarkOptions
from neural_render.core.errors import SettingError

SERVES = """
import signal, time
from types import SimpleNamespace

COMMAND = "serve"
config = SimpleNamespace(main=lambda command, main: main())

def main():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("serving", flush=True)
    time.sleep(60)
    return 0
"""


def answer(code: int, errors: str) -> Answer:
    return Answer(code=code, output="", errors=errors, seconds=1.0, late=False, left=0)


@pytest.mark.parametrize(
    ("code", "errors", "faults"),
    [
        (2, "warning: so\nerror: a.json is empty\n", []),
        (0, "", []),
        (0, "Traceback (most recent call last):\n", ["a traceback"]),
        (-11, "error: a.json\n", ["exit code -11"]),
        (2, "error: a.json\nerror: more\n", ["2 lines on stderr and not one sentence"]),
        (2, "error: it is empty\n", ["it does not name what is wrong"]),
        (2, "error: a.json: KeyError\n", ["it says 'KeyError'"]),
        (2, f"error: a.json {'x' * 500}\n", ["514 letters"]),
    ],
)
def test_what_is_held_against_an_ending(code: int, errors: str, faults: list[str]) -> None:
    assert faults_of(answer(code, errors), ["a.json"], []) == faults


def test_what_is_lost_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").symlink_to("a")
    before = inventory(tmp_path)
    assert differences(before, inventory(tmp_path)) == []
    (tmp_path / "a").write_text("2")
    (tmp_path / "b").unlink()
    (tmp_path / "c").mkdir()
    assert differences(before, inventory(tmp_path)) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a.bin"])
def test_chance_is_repeatable_and_changes_something(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = json.dumps({"frames": [{"x": 1.5}, {"y": "z"}]}).encode()
    content += b"\0" * 90 if name.endswith("bin") else b""
    found = []
    for seed in (0, 1, 2, 0, 1, 2):
        path.write_bytes(content)
        damage.by_chance(path, random.Random(seed))
        found.append(path.read_bytes())
    assert found[:3] == found[3:]
    assert content not in found


def test_every_general_damage_leaves_something_else(tmp_path: Path) -> None:
    for name, harm in damage.WHOLE.items():
        path = tmp_path / name.replace("/", "_")
        path.write_text("content" * 40)
        before = inventory(tmp_path)
        harm(path, random.Random(0))
        assert differences(before, inventory(tmp_path)) == [path.name], name


def test_programs_end_in_processes_of_their_own(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "secret").touch(0)

    def refuse() -> int:
        print(Path.cwd().name)
        try:  # also by root
            Path("secret").read_text()
        except PermissionError as error:
            print(f"error: {error.filename}", file=sys.stderr)
        return 2

    done = forked(refuse, here)
    assert (done.code, done.output, done.errors) == (2, "here\n", "error: secret\n")
    assert not (done.late or done.left)
    assert list(tmp_path.iterdir()) == [here]


def test_who_does_not_end_is_ended(tmp_path: Path) -> None:
    done = forked(lambda: time.sleep(60) or 0, tmp_path, seconds=0.2)
    assert done.late and done.code < 0


@pytest.mark.parametrize(("told", "ends"), [("SIG_IGN", False), ("SIG_DFL", True)])
def test_who_does_not_end_when_told_to_is_ended(
    told: str, ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LATE", ())
    monkeypatch.setattr(serving, "SECONDS", 0.5)
    program, folder = tmp_path / "program.py", tmp_path / "here"
    program.write_text(SERVES.replace("SIG_DFL", told))
    folder.mkdir()
    with serving.serving(str(program), (), folder) as served:
        until = time.monotonic() + 20
        while "serving" not in served.output() and time.monotonic() < until:
            time.sleep(0.01)
        assert served.ended() is ends
    assert not served.alive()


def test_doors_that_are_not_there_are_told() -> None:
    with pytest.raises(SettingError, match="only=windows: give some of captures, runs"):
        inputs.run(BenchmarkOptions(only=("windows",)))


def test_without_entries_nothing_is_broken(tmp_path: Path) -> None:
    """As where the viewer alone is asked for, whose visits are no such inputs."""
    assert inputs.judged_all(tmp_path, (), seed=0, count=3) == []
