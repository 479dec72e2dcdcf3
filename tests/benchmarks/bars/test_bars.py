"""Suite ``bars``: commands are run as they stand, and the table says what was seen."""

import math
import re
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks import records
from benchmarks.bars import places, suite
from benchmarks.bars.records import Asked, Found, Row, number_at, passes, passes_tests, value_at
from benchmarks.bars.rows import house
from benchmarks.bars.rows.photographs import lost_to_photos
from benchmarks.bars.table import into_readme, table_of
from benchmarks.options import KILL_PARTS, BenchmarkOptions, parsed
from benchmarks.records import ROOT
from neural_render.core.errors import SettingError, UserError

PSNR = Asked(what="PSNR", figure=value_at("psnr"), at_least=30)
EARLIER = """python -c '
import json, time
line = {{"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "psnr": {}}}
open("benchmarks/records/x.jsonl", "a").write(json.dumps(line) + chr(10))
print("benchmarks/records/x.jsonl")'"""


def places_at(folder: Path, **more: str) -> places.Places:
    options = BenchmarkOptions(outputs=str(folder / "out"), **more)  # type: ignore[arg-type]
    return places.Places.of(options, {})


def test_figures_come_from_what_a_command_records(kept: Path, tmp_path: Path) -> None:
    (kept / "records").mkdir(parents=True)
    (kept / "records/x.jsonl").write_text('{"time": "2000", "psnr": 99.0}\n')
    row = Row(name="x", command=EARLIER.format(31.5), asked=(PSNR,))
    found = suite.measured(row, places_at(tmp_path))
    assert found["figures"] == {"PSNR": 31.5}
    assert found["wall"] > 0 and found["cpu"] > 0 and found["run"] == ""


def test_figures_come_from_the_run_that_a_command_names(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs/run/evaluation").mkdir(parents=True)
    (tmp_path / "outputs/run/evaluation/metrics.json").write_text('{"psnr": 12.0}')
    row = Row(name="x", command="python -c 'print(\"outputs/run\")'", asked=(PSNR,))
    found = suite.measured(row, places_at(tmp_path))
    assert (found["figures"], found["run"]) == ({"PSNR": 12.0}, "outputs/run")


def test_a_command_that_fails(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is kept, as what was good before is no longer so; its cost is no figure."""
    time = Asked(what="its time", figure=lambda found: found.wall, at_most=100)
    command = EARLIER.format(31.5)[:-1] + "; raise SystemExit(3)'"
    row = Row(name="x", command=command, asked=(passes("all"), PSNR, time))
    (kept / "records").mkdir(parents=True)
    found = suite.measured(row, places_at(tmp_path))
    assert found["figures"] == {"all": 3, "PSNR": None, "its time": None}
    assert found["failed"] == 3
    assert re.search(
        r"x: the command failed \(exit code 3\): see .*x\.log", capsys.readouterr().out
    )
    line = {"commit": "abc", "machine": "M", "threads": 2, "backend": "cpu", **found}
    table = table_of([row], {"x": line})
    assert "| x: all | passes | **fails, missed** |" in table
    assert "| x: PSNR | >= 30 dB | **failed (exit code 3)** |" in table
    (mesh,) = suite.chosen(("mesh",))
    figures = suite.measured(replace(mesh, command=row.command), places_at(tmp_path))["figures"]
    assert figures == {"PSNR": None, "watertight": None}


def test_a_run_of_a_command_that_failed_stands_for_nothing(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs/run/evaluation").mkdir(parents=True)
    (tmp_path / "outputs/run/evaluation/metrics.json").write_text('{"psnr": 12.0}')
    command = "python -c 'print(\"outputs/run\"); raise SystemExit(1)'"
    found = suite.measured(Row(name="x", command=command, asked=(PSNR,)), places_at(tmp_path))
    assert (found["figures"], found["run"]) == ({"PSNR": None}, "")


@pytest.mark.parametrize("ending", ["raise SystemExit(130)", "import os; os.kill(os.getpid(), 15)"])
def test_a_command_that_is_stopped_is_no_measurement(
    ending: str, kept: Path, tmp_path: Path
) -> None:
    row = Row(name="x", command=f"python -c '{ending}'", asked=(passes("all"),))
    with pytest.raises(places.BarError, match=r"was stopped \(exit code .*nothing is kept: see"):
        suite.measured(row, places_at(tmp_path))


@pytest.mark.parametrize(
    ("tests", "figures"),
    [
        ("def test_a(): pass\ndef test_b(): skip()", {"all": 0, "skipped": 1}),
        ("def test_b(): skip()", {"all": None, "skipped": 1}),
        ("def test_a(): pass", {"all": 0, "skipped": 0}),
        ("def test_a(): assert 0", {"all": 1, "skipped": None}),
    ],
)
def test_tests_of_which_none_ran_pass_nothing(
    tests: str, figures: dict[str, float], kept: Path, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(f"from pytest import skip\n{tests}\n")
    command = "python -m pytest -q -p no:cacheprovider --rootdir=. test_it.py"
    row = Row(name="x", command=command, asked=passes_tests("all"))
    assert suite.measured(row, places_at(tmp_path))["figures"] == figures


def test_every_row_of_tests_says_how_many_it_skipped() -> None:
    rows = [row for row in suite.ROWS if "-m pytest" in row.command]
    assert rows
    for row in rows:
        assert any(bar.what == "skipped" for bar in row.asked), row.name


def test_commands_are_told_where_captures_lie(kept: Path, tmp_path: Path) -> None:
    (kept / "records").mkdir(parents=True)
    text = f"import os; raise SystemExit(os.environ['NEURAL_RENDER_DATA'] != {str(tmp_path)!r})"
    (tmp_path / "asks.py").write_text(text)
    row = Row(name="x", command="python DATA/asks.py", asked=(passes("all"),))
    assert suite.measured(row, places_at(tmp_path, data=str(tmp_path)))["figures"] == {"all": 0}


def test_what_is_known_of_commands_that_only_have_to_end_well() -> None:
    """No figure of theirs needs a record."""
    for row in suite.ROWS:
        if any(bar.is_exit_code for bar in row.asked):
            found = [bar.figure(Found(code=3)) for bar in row.asked]
            assert any(value == 3 for value in found), row.name


def test_a_mesh_is_watertight_where_its_record_says_so() -> None:
    (mesh,) = suite.chosen(("mesh",))
    bar = next(bar for bar in mesh.asked if bar.what == "watertight")
    shown = {}
    for record in ({"closed": True}, {"closed": False}, {}):
        shown[str(record)] = bar.shown(bar.figure(Found(record=record)))
    assert list(shown.values()) == ["passes", "fails", "fails"]


def memory_of(command: str, folder: Path) -> float:
    """The memory of a row that runs ``command``, its records left in ``folder``."""
    records.ROOT = folder
    bar = Asked(what="memory", figure=lambda found: found.peak_gib, unit="GiB")
    row = Row(name="x", command=command, asked=(bar,))
    return suite.measured(row, places_at(folder))["figures"]["memory"]


def test_memory_is_that_of_the_command_alone(tmp_path: Path) -> None:
    """Asked in a new process: a command has at least what the one that starts it has, and this one
    has what other tests left."""
    commands = ["python -c 'b = bytearray(b\"x\") * (900 << 20)'", "python -c 0"]
    with get_context("spawn").Pool(1) as pool:
        large, small = pool.starmap(memory_of, [(command, tmp_path) for command in commands])
    assert large > 0.87 > small > 0


def test_what_a_row_needs_is_said(tmp_path: Path) -> None:
    here = places_at(tmp_path)
    for word, needs in [
        ("DATA/fox", "data=DIR"),
        ("PROTOTYPE", "prototype=DIR"),
        ("RUN(lego-300)", "bars=lego-300"),
    ]:
        with pytest.raises(places.BarError, match=needs):
            here.filled(word)


def test_places_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "in/photos").mkdir(parents=True)
    (tmp_path / "in/photos/a.txt").write_text("a")
    here = places_at(tmp_path, data=str(tmp_path / "in"), run=str(tmp_path))
    assert here.filled("path=DATA/photos") == f"path={tmp_path}/in/photos"
    assert here.filled("run=RUN(lego-1200)") == f"run={tmp_path}"
    copy = Path(here.filled("COPY(photos)"))
    (copy / "left").touch()
    assert Path(here.filled("COPY(photos)")) == copy
    assert sorted(path.name for path in copy.iterdir()) == ["a.txt"]


def test_the_table_says_what_was_seen(tmp_path: Path) -> None:
    rows = [
        Row(name="good", command="python a", asked=(PSNR,)),
        Row(name="bad", command="python b", asked=(PSNR,), missed="it is hard"),
        Row(name="new", command="python c", asked=(passes("runs"),), protocol="alone"),
    ]
    line = {"commit": "abc", "machine": "M", "threads": 2, "backend": "cpu", "wall": 3.2}
    newest = {
        "good": {**line, "figures": {"PSNR": 30.004}},
        "bad": {**line, "machine": "L", "figures": {"PSNR": 29.9}},
        "gone": {**line, "machine": "A"},
    }
    table = table_of(rows, newest)
    assert "| good: PSNR | >= 30 dB | 30.00 dB | `good` | abc | 3 s | 2 |" in table
    assert "| **29.90 dB, missed** | `bad` | abc | 3 s | 1 |" in table
    assert "- `bad`: it is hard." in table and "`python c` (alone)" in table
    assert "| new: runs | passes | not measured | `new` |  |  |  |" in table
    assert "1: L, 2 threads, `cpu`; 2: M, 2 threads, `cpu`." in table
    page = tmp_path / "README.md"
    page.write_text("a\n<!-- bars -->\nold\n<!-- end of bars -->\nz\n")
    into_readme(page, rows, newest)
    assert page.read_text() == f"a\n<!-- bars -->\n{table}\n<!-- end of bars -->\nz\n"
    page.write_text("a\n")
    with pytest.raises(UserError, match="has no lines <!-- bars -->"):
        into_readme(page, rows, newest)


def test_the_table_says_of_which_code_a_run_is(kept: Path, tmp_path: Path) -> None:
    (kept / "records").mkdir(parents=True)
    (tmp_path / "old").mkdir()
    newest = {"lego-1200": {"run": str(tmp_path / "old"), "commit": "def"}}
    options = BenchmarkOptions(outputs=str(tmp_path / "out"))
    row = Row(name="x", command="python -c 0 RUN(lego-1200)", asked=(passes("all"),))
    line = {"commit": "abc", "machine": "M", "threads": 2, "backend": "cpu"}
    shown = {}
    for name, told in (("of a row", options), ("given", replace(options, run=str(tmp_path)))):
        values = suite.measured(row, places.Places.of(told, newest))
        shown[name] = table_of([row], {"x": {**line, **values}})
        same = table_of([row], {"x": {**line, **values, "commit": values["of"]}})
        assert "run of" not in same
    assert "| `x` | abc, run of def |" in shown["of a row"]
    assert "| `x` | abc, a given run |" in shown["given"]
    alone = suite.measured(replace(row, command="python -c 0"), places_at(tmp_path))
    assert "of" not in alone


def test_the_readme_has_the_table_of_the_records() -> None:
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert table_of(suite.ROWS, suite.newest()) in text


def test_rows_are_chosen_by_name() -> None:
    assert [row.name for row in suite.chosen(("curve", "cove"))] == ["cove", "curve"]
    assert suite.chosen(("none",)) == () and suite.chosen(()) == suite.ROWS
    assert len({row.name for row in suite.ROWS}) == len(suite.ROWS)
    with pytest.raises(SettingError, match="bars=cave is not one of"):
        suite.chosen(("cave",))
    assert parsed(BenchmarkOptions, ["bars=cove,curve"]).bars == ("cove", "curve")


@pytest.mark.parametrize("word", ["threads=1", "backend=reference", "precision=float32"])
def test_what_no_command_is_given_is_refused(word: str) -> None:
    with pytest.raises(SettingError, match=f"^{word} is not for suite=bars, whose commands run as"):
        suite.run(parsed(BenchmarkOptions, ["suite=bars", "bars=none", word]))


def test_figures_that_compare_rows_and_lines() -> None:
    photos = {"can-photos": {"figures": {"PSNR": 24.0}, "commit": "abc", "machine": "M"}}
    found = Found(record={"psnr": 23.5}, earlier=photos, commit="abc", machine="M")
    assert lost_to_photos(found) == 0.5
    assert math.isnan(lost_to_photos(replace(found, commit="def")))
    assert math.isnan(lost_to_photos(replace(found, machine="L")))
    assert math.isnan(lost_to_photos(replace(found, earlier={})))
    assert number_at({"a": [{"b": 2}]}, "a/0/b") == 2 and math.isnan(number_at({}, "a/0"))
    assert not PSNR.met(math.nan)


def test_processes_are_compared_with_the_mean_of_both_runs_of_one() -> None:
    psnr = [{"one": 30, "again": 28, "several": 29.5}, {"one": 29, "again": 29, "several": 28.7}]
    results = [{side: {"psnr": value} for side, value in seed.items()} for seed in psnr]
    (row,) = suite.chosen(("processes",))
    apart, error = (bar.figure(Found(record={"results": results})) for bar in row.asked)
    assert apart == pytest.approx(0.1)  # of +0.5 and -0.3
    assert error == pytest.approx(0.4)
    assert row.asked[1].wanted == "reported" and "seeds=0,1," in row.command


def test_bfloat16_is_compared_over_all_seeds() -> None:
    lines = [
        {"variant": [], "psnr": 32.0},
        {"variant": ["kernels.precision=float32"], "psnr": 32.3},
        {"variant": [], "psnr": 32.2},
        {"variant": ["kernels.precision=float32"], "psnr": 32.1},
    ]
    (row,) = suite.chosen(("bfloat16",))
    assert row.asked[0].figure(Found(lines=tuple(lines))) == pytest.approx(0.1)
    assert math.isnan(row.asked[0].figure(Found(lines=tuple(lines[:3]))))
    assert math.isnan(row.asked[0].figure(Found()))


def test_kills_are_counted_by_part() -> None:
    counts = {part: [3, 0] for part in KILL_PARTS}
    found = Found(record={"cases": {**counts, "disks": [25, 1], "clocks": [3, 1]}})
    assert house.bad_in("training").figure(found) == 0 and house.bad_elsewhere(found) == 2
    del counts["disks"]
    assert math.isnan(house.bad_elsewhere(Found(record={"cases": counts}))), "it was left out"
    del counts["baking"]
    assert math.isnan(house.bad_in("baking").figure(Found(record={"cases": counts})))


def test_every_script_of_a_row_is_there() -> None:
    names = {word for row in suite.ROWS for word in row.command.split() if word.endswith(".py")}
    names |= {
        word for row in suite.ROWS for word in row.command.split() if word.startswith("tests/")
    }
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []
