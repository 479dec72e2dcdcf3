"""The benchmark programs: what they time is what they say, and wrong settings get one sentence."""

import importlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import curve, records, steps, training
from benchmarks.kernels import Workload, speeds_of
from benchmarks.options import SUITES, BenchmarkOptions, parsed, split_values
from benchmarks.processes import LeftOut, ask, trained
from benchmarks.records import spent, timed, timed_in_turn
from neural_render.core.errors import SettingError
from neural_render.kernels import dispatch
from neural_render.training.settings import TrainingSettings
from tests.captures.formats import write_side_by_side
from tests.tiny_capture import write_blender_capture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_blender_capture(tmp_path / "tiny", num_train=12, num_test=2, size=24)


def test_a_call_is_repeated_after_one_to_warm_up():
    seen = []
    cost = timed(lambda: seen.append(None), repeats=3, threads=2)
    assert len(seen) == 4
    assert cost.wall >= 0


def test_cpu_seconds_are_those_of_each_thread():
    cost = spent(lambda: sum(range(1_000_000)), threads=1000)
    assert 0 < cost.cpu < cost.wall / 10


def test_calls_take_turns():
    seen = []
    calls = {name: lambda name=name: seen.append(name) for name in "ab"}
    costs = timed_in_turn(calls, repeats=2, threads=1)
    assert seen == list("ababab")
    assert list(costs) == ["a", "b"]


def test_each_run_gets_what_was_prepared_for_it():
    prepared = iter("abc")
    seen = []
    timed(seen.append, repeats=2, threads=1, prepare=lambda: next(prepared))
    assert seen == ["a", "b", "c"]


def test_every_op_is_measured_and_what_has_a_gradient_backward_too():
    speeds = speeds_of(Workload(256).cases(), repeats=1, threads=1)
    assert {name for name in speeds if name.endswith("backward")} == {
        f"{name} backward"
        for name in ("hash_encode", "mlp (colour)", "query_density", "query_field")
    } | {"composite backward", "render_rays backward"}
    assert {"march_rays", "render_rays", "table_adam_step"} <= speeds.keys()
    assert all(speed > 0 for speed in speeds.values())


def test_rays_have_about_as_many_samples_as_points():
    case = Workload(1 << 13).renders()["march_rays"]
    assert 0.8 < case.samples / (1 << 13) < 1.2


def test_a_rate_counts_all_samples_and_says_where_the_time_went(tiny):
    options = {"capture": str(tiny), "batch": 512, "log2_rows": 10, "steps": 4, "threads": 1}
    figures = steps.main({**steps.OPTIONS, **options})
    assert figures["steps"] == 4
    assert figures["samples"] > 0
    assert {"render_loss", "table_adam_step"} <= figures["shares"].keys()
    assert sum(figures["shares"].values()) > 0
    native = dispatch.active().__name__.endswith("cpu")
    assert all(figures["phases"][name] > 0 for name in ("march", "encode", "adam") if native)
    assert bool(figures["phases"]) == native
    # Occupancy is not due within 4 steps, and settling it, once a run, does not count as a step.
    assert "query_density" not in figures["shares"]
    # What was watched is put back.
    assert dispatch.active().render_rays.__name__ == "render_rays"


def test_what_is_seen_from_one_side_is_trained_in_its_projection(tmp_path):
    options = {**steps.OPTIONS, "capture": str(write_side_by_side(tmp_path)), "log2_rows": 10}
    problem = steps.problem_of(options, TrainingSettings())
    assert not problem.source.frame.projection.is_identity
    for renderer in (problem.renderer, steps.StepsOnly.of(problem.renderer)):
        assert renderer.projection == problem.source.frame.projection


def test_scaling_repeats_the_same_work_on_every_number_of_threads(tiny, kept, capsys):
    options = BenchmarkOptions(capture=str(tiny), batch=512, log2_rows=10, threads=2)
    found = training.scaling(options, 2, scaling=2, warm_steps=3, fixed_steps=2)
    assert {threads: len(walls) for threads, walls in found["walls"].items()} == {"1": 2, "2": 2}
    assert found["samples"]["1"] == found["samples"]["2"] > 0
    assert found["speedup"] > 0
    # Two programs of one thread each, side by side, twice.
    assert len(found["programs"]) == 4 and found["speedup_of_programs"] > 0
    training.show_scaling(found)
    assert "2 programs of 1 thread" in capsys.readouterr().out
    assert list(kept.glob("records/*")) == []


def test_a_measurement_that_fails_says_why_in_its_last_words():
    with pytest.raises(LeftOut, match="NEURAL_RENDER_ISA=none cannot run"):
        ask("benchmarks.steps", {"capture": "gone"}, {"NEURAL_RENDER_ISA": "none"})


def test_sides_that_cannot_be_measured_are_left_out_and_said(monkeypatch, capsys):
    def fails(*_, **__):
        raise LeftOut("it is not here")

    monkeypatch.setattr(training, "ask", fails)
    options = BenchmarkOptions(capture="x", isa=("avx2", "baseline"), peers=True)
    assert training.measured(options, 1.0, 1) == {}
    said = capsys.readouterr().out
    for name in ("neural_render avx2", "neural_render baseline", "torch.compile", "nerfstudio"):
        assert f"{name} is left out: it is not here" in said


def test_the_table_compares_all_sides_with_the_first(capsys):
    figures = {"steps": 3, "seconds": 1.0, "wall_seconds": 1.0}
    ours = {**figures, "million_samples_per_second": 3.0, "shares": {"render_rays": 0.5}}
    peer = {**figures, "million_samples_per_second": 1.5, "parts": {"encode": 7.0}}
    training.show({"ours": ours, "peer": peer})
    said = capsys.readouterr().out
    assert "2.00x" in said
    assert "ours, share of CPU time: render_rays 50.0 %" in said
    assert "peer, M samples/CPU s of its parts: encode 7.00" in said


def test_a_curve_is_drawn_recorded_and_labelled(kept, monkeypatch, capsys):
    found = {"psnr": 21.5, "protocol": {"split": "held"}}
    found |= dict.fromkeys(curve.FIGURES[1:], 1)
    words = []
    monkeypatch.setattr(curve, "trained", lambda given: words.append(given) or found)
    options = parsed(BenchmarkOptions, ["capture=x/lego", "seconds=1,2", "holdout=true"])
    curve.run(options)
    assert [next(w for w in run if "max_seconds" in w) for run in words] == [
        "training.max_seconds=1.0",
        "training.max_seconds=2.0",
    ]
    assert all("capture.holdout_every=10" in run for run in words)
    (line,) = (kept / "records" / "curve.jsonl").read_text().splitlines()
    assert json.loads(line)["results"]["neural_render"][1]["budget"] == 2.0
    assert "views held out of training" in capsys.readouterr().out
    if "matplotlib" in sys.modules:
        assert (kept / "plots" / "curve_lego_holdout.png").stat().st_size > 0


def test_a_run_of_the_trainer_gives_its_metrics(tiny):
    words = [f"capture.path={tiny}", "capture.holdout_every=6", "training.num_steps=2"]
    small = ["field.grid.log2_rows=10", "training.samples_per_step=512", "kernels.threads=1"]
    record = trained([*words, *small, "evaluation.ssim=false", "evaluation.flip=false"])
    assert record["num_steps"] == 2
    assert record["num_views"] == 2
    assert "held out of training" in record["protocol"]["split"]


def test_without_matplotlib_the_plot_is_left_out_and_said(kept, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    records.bar_plot("bars", "title", {"a": 1.0}, "s")
    assert "no plot of bars: matplotlib is not installed" in capsys.readouterr().out
    assert not kept.exists()


def test_no_choice_of_precision_is_left_to_the_reference():
    with dispatch.using("reference"):
        assert records.start("reference", 1, "bfloat16") == ("reference", 1)


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_is_there(suite):
    assert callable(importlib.import_module(f"benchmarks.{SUITES[suite]}").run)
    listed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert re.search(rf"^\| `{suite}[` ]", listed, re.MULTILINE), "it has no line in the README"


def test_options_are_read_by_their_kinds():
    words = ["batch=2^14", "seconds=1,2.5", "isa=avx2,baseline", "scaling=true", "capture=a=b"]
    options = parsed(BenchmarkOptions, words)
    assert options.batch == 16384
    assert options.seconds == (1.0, 2.5)
    assert options.isa == ("avx2", "baseline")
    assert options.scaling is True
    assert options.capture == "a=b"
    assert split_values("[1,2],3") == ["[1,2]", "3"]


@pytest.mark.parametrize(
    "setting",
    ["suite=paint", "speed=9", "repeats=-1", "batch=1.5", "seconds=nan", "peers=yes", "speed"],
)
def test_wrong_options_are_refused(setting):
    with pytest.raises(SettingError) as caught:
        parsed(BenchmarkOptions, [setting])
    assert setting in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suite=train"], "needs capture=DIR"),
        (["suite=train", "capture=x", "seconds=1,2"], "one number of seconds"),
        (["suite=curve"], "needs capture=DIR"),
        (["suite=curve", "capture=x", "seconds=0,1"], "seconds above 0"),
        (["suite=curve", "capture=x", "holdout=true", "prototype=y"], "holds nothing out"),
    ],
)
def test_what_a_suite_cannot_do_is_refused(words, message):
    options = parsed(BenchmarkOptions, words)
    with pytest.raises(SettingError, match=message):
        {"train": training, "curve": curve}[options.suite].run(options)


@pytest.mark.parametrize(
    ("program", "words"),
    [("benchmark.py", ["suite=paint"]), ("tune.py", ["capture=x", "training.huber_delta="])],
)
def test_wrong_settings_get_one_sentence(program, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", sys.path[:])
    main = runpy.run_path(str(ROOT / "scripts" / program))["main"]
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert words[-1] in errors


@pytest.mark.parametrize(
    ("suite", "kept"),
    [("kernels", "nothing of it"), ("tests", "what was measured to its end")],
)
def test_ctrl_c_in_a_benchmark_is_one_line(suite: str, kept: str) -> None:
    # A suite that sends SIGINT to itself, heeded also where whoever starts tests ignores it.
    program = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"import benchmarks.{SUITES[suite]} as measured\n"
        "measured.run = lambda _: os.kill(os.getpid(), signal.SIGINT)\n"
        f"sys.argv = ['benchmark.py', 'suite={suite}']\n"
        "runpy.run_path('scripts/benchmark.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == f"benchmark.py: stopped; {kept} is recorded\n"
