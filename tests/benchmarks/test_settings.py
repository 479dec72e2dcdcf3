"""Suite ``settings``: what is changed, which runs are made and kept, and how they are compared."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import processes, records
from benchmarks.captures import changes as changes_module
from benchmarks.captures import effects
from benchmarks.captures.changes import CHANGES, WATCHED, changes, default_of, switched
from benchmarks.options import BenchmarkOptions, parsed
from benchmarks.processes import LeftOut
from neural_render.config.settings import Settings, list_settings
from neural_render.core.errors import EvaluationError, SettingError
from tests.tiny_capture import write_blender_capture

PLACES = ("none", "exposure", "pose")
KNOWN = {setting.key: setting.default for setting in list_settings(Settings)}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_blender_capture(tmp_path / "tiny", num_train=10, num_test=2, size=16)


def _fake(asked: list[tuple[str, ...]]) -> Callable[..., list[dict[str, Any]]]:
    """Runs of 20 dB, 1 dB more for each seed, 2 dB more with poses; fits add half a dB each."""

    def measure(words: Sequence[str], manners: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        asked.append(tuple(words))
        seed = int(next(word for word in words if word.startswith("seed="))[5:])
        level = 20.0 + seed + 2 * ("capture.adjust.poses=true" in words)
        found = []
        for manner in manners:
            fit = manner[0].removeprefix("evaluation.fit=")
            protocol = {"region": "whole" if fit == "none" else "half", "pose": str(level)}
            score = {"psnr": level + 0.5 * PLACES.index(fit), "ssim": level / 100}
            found.append({**dict.fromkeys(effects.FIGURES, 1), **score, "protocol": protocol})
        return found

    return measure


def _options(*words: str) -> BenchmarkOptions:
    return parsed(BenchmarkOptions, ["suite=settings", "every=5", *words])


def test_every_change_is_of_settings_that_there_are_and_of_no_default(tiny: Path) -> None:
    (capture,) = effects.opened(_options(f"captures={tiny}")).values()
    given = [word for change in CHANGES for word in change.words(capture)]
    for word in given:
        key, _, value = word.partition("=")
        assert str(KNOWN[key]).lower() != value, word
    assert all(KNOWN[key] == default_of(key) for key in WATCHED)
    assert {word.partition("=")[0] for word in given} <= set(WATCHED)


def test_what_a_capture_lacks_is_not_changed(tiny: Path) -> None:
    (capture,) = effects.opened(_options(f"captures={tiny}")).values()
    idle = {change.name for change in CHANGES if not change.words(capture)}
    # No sparse points, one cube, seen from all around, opacity.
    assert idle == {
        *("distance", "points_first", "even_steps", "plain_cubes", "smaller_scene"),
        *("near_fade", "far", "find_points"),
    }


def test_what_is_on_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert switched("training.transients", True) == "training.transients=true"
    assert switched("training.points_first", 0.25) == "training.points_first=0.0"
    defaults = {"training.transients": True, "capture.adjust.appearance": 4}
    monkeypatch.setattr(changes_module, "default_of", defaults.__getitem__)
    assert switched("training.transients", True) == "training.transients=false"
    assert switched("capture.adjust.appearance", 4) == "capture.adjust.appearance=0"


def test_changes_are_chosen_by_name_or_written_out(tiny: Path) -> None:
    (capture,) = effects.opened(_options(f"captures={tiny}")).values()
    options = _options("settings=[poses,capture.adjust.blur=2+training.huber_delta=1]")
    named, written = changes(options.settings)
    assert named.words(capture) == ("capture.adjust.poses=true",)
    assert written.words(capture) == ("capture.adjust.blur=2", "training.huber_delta=1")
    assert (named.fits, written.fits) == (("none", "pose"), ("none", "exposure", "pose"))
    with pytest.raises(SettingError, match=r"settings=shutter is none of exposure, .*section"):
        changes(["shutter"])


def test_runs_are_recorded_once_and_compared_with_the_defaults(
    tiny: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []
    words = [f"captures=[{tiny}]", "settings=[exposure,poses,distance]", "seconds=3"]
    effects.run(_options(*words), _fake(asked))
    assert ["seed=0" in run for run in asked] == [True, False, True, True]
    shared = {"capture.holdout_every=5", "training.clock=cpu", "training.max_seconds=3"}
    assert all(shared <= set(run) for run in asked)
    assert [run[-1] for run in asked[2:]] == [
        "capture.adjust.exposure=true",
        "capture.adjust.poses=true",
    ]
    said = capsys.readouterr().out
    assert "| (defaults) | none | 20.50, 0.205 (1.00) |" in said
    assert "| `capture.adjust.exposure=true` | exposure | -0.50, -0.005 |" in said
    assert "| `capture.adjust.poses=true` | pose | +1.50, +0.015 |" in said
    assert "distance_weight" not in said  # of a capture without points nothing is changed
    lines = (kept / "records/photo_settings.jsonl").read_text().splitlines()
    assert len(lines) == 4 and json.loads(lines[3])["words"] == ["capture.adjust.poses=true"]

    effects.run(_options(*words), _fake(asked))
    again = capsys.readouterr().out
    assert len(asked) == 4 and "4 runs, of which the records hold 4" in again
    assert again.partition("\n")[2] == said[said.index("| setting") :]
    effects.run(_options(*words, "every=3"), _fake(asked))
    assert len(asked) == 8


def test_records_of_other_defaults_or_code_are_of_other_runs(
    tiny: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []
    words = [f"captures={tiny}", "settings=poses"]
    effects.run(_options(*words), _fake(asked))
    path = kept / "records/photo_settings.jsonl"
    before = path.read_text()
    assert '"training.transients": false' in before
    path.write_text(before.replace('"training.transients": false', '"training.transients": true'))
    effects.run(_options(*words), _fake(asked))
    assert len(asked) == 6
    path.write_text(before.replace('"training.transients": false, ', ""))  # not yet a setting then
    effects.run(_options(*words), _fake(asked))
    assert len(asked) == 6
    path.write_text(before.replace('"commit": ""', '"commit": "abc"'))  # of other code
    effects.run(_options(*words), _fake(asked))
    assert len(asked) == 9
    path.write_text("{")
    with pytest.raises(records.RecordError, match=r"line 1 of .*delete that line"):
        effects.run(_options(*words), _fake(asked))


def test_a_run_that_fails_is_said_and_tried_again(
    tiny: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(words: Sequence[str], manners: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        if "capture.adjust.poses=true" in words:
            raise LeftOut("no cameras")
        return _fake([])(words, manners)

    words = [f"captures={tiny}", "settings=poses"]
    effects.run(_options(*words), fails)
    said = capsys.readouterr().out
    assert "seed 0, poses: left out: no cameras" in said
    assert "| `capture.adjust.poses=true` | none | - |" in said
    asked: list[tuple[str, ...]] = []
    effects.run(_options(*words), _fake(asked))
    assert len(asked) == 1


def test_what_was_measured_otherwise_is_not_compared(tiny: Path, kept: Path) -> None:
    def uneven(words: Sequence[str], manners: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        found = _fake([])(words, manners)
        if "capture.adjust.poses=true" in words:
            found[0]["protocol"]["region"] = "half"
        return found

    with pytest.raises(EvaluationError, match="region"):
        effects.run(_options(f"captures={tiny}", "settings=poses"), uneven)


def test_a_real_run_is_measured_in_each_manner(tiny: Path) -> None:
    (path,) = effects.opened(_options(f"captures={tiny}"))
    words = ("capture.adjust.poses=true", "field.grid.log2_rows=10")
    case = effects.Case(path=path, name="poses", words=words, fits=("none", "pose"), seed=0)
    shared = {"backend": "auto", "precision": "auto", "threads": 1}
    shared |= {"max_side": 0, "every": 5, "seconds": 0.1}
    manners = [["evaluation.fit=none"], ["evaluation.fit=pose", "evaluation.fit_steps=3"]]
    plain, fitted = processes.measured(effects.words_for(case, shared), manners)
    assert plain["protocol"]["region"] == "whole views"
    assert "left half of each view in 3 steps" in fitted["protocol"]["pose"]
    assert plain["num_steps"] == fitted["num_steps"] > 0 and plain["num_views"] == 2
    # What a tenth of a second has taught may be unlike the photos.
    assert -1 <= fitted["ssim"] <= 1 and fitted["psnr"] != plain["psnr"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seconds=1,2"], "one number of seconds"),
        (["seconds=0"], "above 0"),
        (["seeds="], "at least one seed"),
        (["captures=[{0},{0}]"], "two are called tiny"),
        (["every=0"], "every=0 is less than 2: with 0 test views would be tuned on"),
    ],
)
def test_what_cannot_be_measured_is_refused(tiny: Path, words: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        effects.run(_options(*[word.format(tiny) for word in words]), _fake([]))


def test_a_name_may_be_of_the_real_data(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_RENDER_DATA", str(tiny.parent))
    assert list(effects.opened(_options("captures=tiny"))) == [tiny]
    assert [path.name for path in effects.opened(_options())] == ["cove"]
