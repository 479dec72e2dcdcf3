"""Suite ``kills``: what ends programs, and what tells that something went wrong."""

import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.abuse import kills
from benchmarks.abuse.enemies import disks, programs, trainings
from benchmarks.abuse.enemies.material import Material, made_once
from benchmarks.abuse.enemies.programs import Case, Ended, leftovers, start, tree
from benchmarks.abuse.enemies.writers import changed
from benchmarks.options import BenchmarkOptions, parsed
from neural_render.core.errors import SettingError

PARENT = """
import subprocess, sys, time
words = [sys.executable, "-c", "import time; time.sleep(60)"]
subprocess.Popen(words, start_new_session=True)
print("begun", flush=True)
time.sleep(60)
"""


def ended(**what: object) -> Ended:
    return Ended(**{"code": 0, "output": "", "errors": "", "seconds": 1.0, **what})


def test_what_outlives_a_killed_program_is_found_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "END_SECONDS", 0.1)
    (tmp_path / "parent.py").write_text(PARENT)
    program = start([tmp_path / "parent.py"], folder=tmp_path)
    assert program.when(lambda _: program.files[0].read_text() == "begun\n")
    program.send(signal.SIGKILL)
    done = program.ended()
    assert (done.code, done.output) == (-signal.SIGKILL, "begun\n")
    (fault,) = done.faults(-signal.SIGKILL)
    assert fault.startswith("left a process: ")
    assert programs.left_behind(program.mark) == ()
    assert not any(path.exists() for path in program.files)


def test_a_folder_that_goes_while_it_is_looked_through_is_no_error(tmp_path: Path) -> None:
    link, looking = tmp_path / "latest.partial", True
    (tmp_path / "run" / "a" / "b").mkdir(parents=True)

    def come_and_go() -> None:
        while looking:
            link.symlink_to("run")
            link.replace(tmp_path / "latest")

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(come_and_go)
        try:
            for _ in range(3000):
                assert not trainings.is_there(tmp_path, "*/*/gone/*")
        finally:
            looking = False
        going.result()
    assert trainings.is_there(tmp_path, "*/*/b")


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ({"code": 1, "errors": "error: no"}, r"exit code 1, not \(0, 2\): error: no"),
        ({"code": 2, "errors": "error: no\nerror: again"}, "2 sentences of error"),
        ({"code": 2}, "0 sentences of error"),
        ({"errors": "Traceback\n  more"}, "said 'Traceback' and 1 more lines"),
        ({"left": ("shared memory",)}, "left shared memory"),
    ],
)
def test_faults_are_told(what: dict[str, object], fault: str) -> None:
    assert ended(code=2, errors="error: one sentence.").faults(0, 2) == []
    assert ended(errors="warning: odd\n").faults(0) == []
    (found,) = ended(**what).faults(0, 2)
    assert re.fullmatch(fault, found)


def test_files_that_are_left_over_are_told(tmp_path: Path) -> None:
    for name in ("metrics.jsonl", ".lock", "60/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert leftovers(tmp_path) == []
    (tmp_path / "60/.0.a.png").write_text("")
    (tmp_path / "80.partial").mkdir()
    assert leftovers(tmp_path) == ["left over: 60/.0.a.png", "left over: 80.partial"]
    assert sorted(tree(tmp_path)) == [".lock", "60/.0.a.png", "60/a.png", "metrics.jsonl"]


def test_what_was_there_and_is_another_is_told(tmp_path: Path) -> None:
    for name in ("config.yaml", "renders/orbit/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = tree(tmp_path)
    (tmp_path / "renders/orbit/b.png").touch()
    assert changed(before, tmp_path) == changed(before, tmp_path, ()) == []
    (tmp_path / "renders/orbit/a.png").write_text("2")
    assert changed(before, tmp_path) == []
    assert changed(before, tmp_path, ()) == ["renders/orbit/a.png was changed"]
    (tmp_path / "config.yaml").unlink()
    assert changed(before, tmp_path) == ["config.yaml was changed"]


def test_reports_that_do_not_rise_are_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    steps = [10, 20, 20]
    lines = [{"step": n, "seconds": n, "rays": n, "samples": n} for n in steps]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    assert trainings.metrics_faults(path, 20) == []
    assert trainings.metrics_faults(path, 30) == ["metrics.jsonl ends before step 30"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "step in metrics.jsonl does not rise" in trainings.metrics_faults(path, 20)
    path.write_text('{"step": 1')
    assert trainings.metrics_faults(path, 20)[0].startswith("metrics.jsonl is broken")


def test_attacks_are_spread_over_a_life_and_depend_on_the_seed_alone(tmp_path: Path) -> None:
    found = trainings.attacks(30, 1, 10.0)
    names = [attack.name for attack in found]
    assert names == [attack.name for attack in trainings.attacks(30, 1, 10.0)]
    assert names != [attack.name for attack in trainings.attacks(30, 2, 10.0)]
    assert {attack.signal for attack in found} == set(trainings.SIGNALS)
    waiting = next(attack for attack in found if attack.name.endswith("/checkpoints/*.partial"))
    due = waiting.due(tmp_path)
    assert not due(1.0) and due(100.0)
    (tmp_path / "tiny/run/checkpoints/20.partial").mkdir(parents=True)
    assert due(1.0)


def test_what_two_cases_ask_for_at_once_is_made_once() -> None:
    """``cached_property`` alone has no lock from Python 3.12 on."""

    class Slow:
        num_made = 0

        @made_once
        def thing(self) -> int:
            self.num_made += 1
            time.sleep(0.05)
            return self.num_made

    slow = Slow()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: slow.thing, range(2))) == [1, 1]


def test_parts_of_another_suite_are_refused() -> None:
    with pytest.raises(SettingError, match=r"^parts=moving is not one of training, .*, clocks\."):
        kills.run(parsed(BenchmarkOptions, ["suite=kills", "parts=moving"]))


def test_cases_are_counted_shown_and_kept(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cases(material: Material) -> kills.Cases:
        good, bad = Case(part="disks", name="a"), Case(part="disks", name="b", faults=("lost",))
        return [lambda: good, lambda: bad, lambda: good]

    monkeypatch.setitem(kills.OTHERS, "disks", cases)
    kills.run(parsed(BenchmarkOptions, ["suite=kills", "parts=disks"]))
    shown = capsys.readouterr().out
    assert "disks: b: lost" in shown and "disks      3     2    1" in shown
    (line,) = (kept / "records/kills.jsonl").read_text().splitlines()
    assert json.loads(line)["cases"] == {"disks": [2, 1]}
    assert json.loads(line)["faults"] == ["disks: b: lost"]


def test_a_case_that_breaks_off_is_a_bad_one_and_the_others_go_on() -> None:
    def broken() -> Case:
        raise OSError("no room")

    good = Case(part="disks", name="a")
    first, second = kills.attempted("disks", [broken, lambda: good])
    assert (first.part, first.name, first.faults) == (
        "disks",
        "case 1 broke off",
        ("OSError: no room",),
    )
    assert second == good


def test_who_may_not_start_here_is_no_good_case(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(disks, "AS_NOBODY", ("false",))
    assert not disks.nobody_may_start()
    assert "disks: a user without a home: left out, since" in capsys.readouterr().out
