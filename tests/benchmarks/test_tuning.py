"""Tuning: which runs are made, in which order, and how variants are compared."""

import json
from pathlib import Path

import pytest

from benchmarks import records, tuning
from neural_render.core.errors import SettingError
from neural_render.kernels import dispatch

WORDS = ["capture=a/lego,b/fox", "seeds=0,1", "training.huber_delta=1,10"]


@pytest.fixture(autouse=True)
def _records_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "ROOT", tmp_path)
    yield
    dispatch.select("auto")


def test_one_setting_is_changed_at_a_time():
    tried = ["training.a=1,2", "field.b=[1,2],3"]
    assert tuning.variants_of(tried, grid=False) == (
        (),
        ("training.a=1",),
        ("training.a=2",),
        ("field.b=[1,2]",),
        ("field.b=3",),
    )


def test_a_grid_tries_every_combination():
    assert tuning.variants_of(["a.a=1,2", "b.b=3"], grid=True) == (
        (),
        ("a.a=1", "b.b=3"),
        ("a.a=2", "b.b=3"),
    )
    assert tuning.variants_of([], grid=True) == ((),)


def test_runs_are_interleaved_and_leave_test_views_alone():
    options = tuning.planned([*WORDS, "fixed=capture.max_side=8 field.width=32"]).options
    words = tuning.words_for(options, "a/lego", 1, ("training.huber_delta=10",))
    assert "capture.holdout_every=10" in words
    assert {"training.clock=cpu", "training.max_seconds=30.0", "seed=1"} <= set(words)
    assert words[-3:] == ["capture.max_side=8", "field.width=32", "training.huber_delta=10"]
    stepped = tuning.planned(["capture=a", "steps=9"]).options
    assert "training.num_steps=9" in tuning.words_for(stepped, "a", 0, ())


def test_variants_are_compared_at_equal_seeds_and_every_run_is_recorded(tmp_path, capsys):
    order = []

    def fake(words):
        values = dict(word.split("=", 1) for word in words)
        delta, seed = values.get("training.huber_delta", "0"), int(values["seed"])
        order.append((seed, Path(values["capture.path"]).name, delta))
        names = ("num_views", "num_steps", "num_samples", "train_cpu_seconds", "protocol")
        place = 10 if order[-1][1] == "fox" else 0
        # The first value gains 0.5 dB with one seed and loses 0.1 dB with the other.
        gain = {"0": 0.0, "1": (0.5, -0.1)[seed], "10": 1.0}[delta]
        return {"psnr": 20 + seed + place + gain, **dict.fromkeys(names, 1)}

    plan = tuning.planned(WORDS)
    tuning.show(plan, tuning.run(plan, fake))
    assert order[:6] == [(0, name, delta) for name in ("lego", "fox") for delta in ("0", "1", "10")]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert rows[0] == ["(defaults)", "25.500", "20.500", "30.500", "1.000", "+0.000", "0.000"]
    assert rows[1][-2] == "+0.200" and float(rows[1][-1]) > 0.3
    assert rows[2][-2:] == ["+1.000", "0.000"]
    lines = (tmp_path / "benchmarks/records/tuning.jsonl").read_text().splitlines()
    assert len(lines) == 12
    first = json.loads(lines[1])
    assert (first["capture"], first["seed"], first["variant"]) == (
        "lego",
        0,
        ["training.huber_delta=1"],
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training.a=1"], "give capture=DIR"),
        (["capture=a", "seeds="], "at least one seed"),
        (["capture=a", "training.a="], r"write training\.a=value,value"),
        (["capture=a", "training.a"], r"write training\.a=value,value"),
        (["capture=a", "pace=3"], "pace=3 is not a setting"),
        (["capture=a", "every=0"], "every=0 is less than 2: with 0 test views would be tuned on"),
        (["capture=a", "every=1"], "with 1 no photo is left"),
    ],
)
def test_wrong_words_are_refused(words, message):
    with pytest.raises(SettingError, match=message):
        tuning.planned(words)
