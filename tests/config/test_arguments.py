"""What a user may type, and what every mistake is answered with."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from neural_render.config.arguments import Vocabulary, prepare, quote, retyped
from neural_render.config.settings import Settings, list_settings
from neural_render.core.errors import SettingError

OWN = {setting.key: setting for setting in list_settings(Settings)}
FOREIGN = frozenset(key for key in OWN if key.startswith("evaluation."))
VOCABULARY = Vocabulary(
    program="train.py",
    settings={key: setting for key, setting in OWN.items() if key not in FOREIGN},
    short={"size": "render.size"},
    foreign=FOREIGN,
    presets=("quick", "quality"),
    launchers=("joblib", "slurm"),
)
AWKWARD = [
    "plain",
    "",
    "a b",
    "fox/größe/写真",
    "x=1,y=2",
    "[a]{b}(c)<d>",
    "it's",
    "it's, [or isn't",
    '"quoted" inside',
    "back\\slash\\",
    "C:\\photos\\'new'",
    "\\'",
    "007",
    "1e3",
    "null",
    "true",
    "#1 %2 @3 $4 &5 *6 ?7 !8",
    "~no such user/here",
    "trailing ",
]


def value_of(word: str) -> object:
    """What Hydra makes of a prepared word."""
    (override,) = OverridesParser.create().parse_overrides([word])
    return override.value()


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_reaches_hydra_as_it_was_typed(text: str) -> None:
    (word,) = prepare([f"capture.path={text}"], VOCABULARY)
    assert value_of(word) == text


@pytest.mark.parametrize("text", [text for text in AWKWARD if text and "=" not in text])
def test_a_word_alone_is_a_value_where_a_command_says_so(text: str) -> None:
    (word,) = prepare([text], replace(VOCABULARY, short={"": "capture.path"}))
    assert word.startswith("capture.path=") and value_of(word) == text


def test_a_folder_with_a_strange_name_is_a_value_too(tmp_path: Path) -> None:
    folder = tmp_path / "x=1"
    folder.mkdir()
    vocabulary = replace(VOCABULARY, short={"": "capture.path"})
    (word,) = prepare([str(folder)], vocabulary)
    assert value_of(word) == str(folder)
    assert prepare(["seed=3"], vocabulary) == ["seed=3"]


def test_words_alone_are_one_list_where_a_command_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "x=1"
    folder.mkdir()
    vocabulary = replace(VOCABULARY, short={"": "runs", "size": "render.size"})
    plain = [text for text in AWKWARD if text and "=" not in text]
    size, word = prepare([*plain, "size=8x8", str(folder)], vocabulary)
    assert size == "render.size='8x8'" and word.startswith("runs=[")
    assert value_of(word) == [*plain, str(folder)]
    (word,) = prepare(["runs=[a,b]"], vocabulary)
    assert value_of(word) == ["a", "b"]
    with pytest.raises(SettingError, match=r"c and runs=\[\.\.\.\] are given both: give all"):
        prepare(["runs=[a,b]", "c"], vocabulary)


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_survives_as_one_of_several_in_a_sweep(text: str) -> None:
    """The sweeper writes values back to words; commas separate, so such a text is quoted."""
    _, word = prepare(["-m", f"name={quote(text)},other"], VOCABULARY)
    (override,) = OverridesParser.create().parse_overrides([word])
    first, second = override.sweep_string_iterator()
    assert value_of(f"name={first}") == text
    assert value_of(f"name={second}") == "other"


@pytest.mark.parametrize(
    ("typed", "texts"),
    [
        ("[]", []),
        ("[all=*]", ["all=*"]),
        ("[room=lamp1+lamp2, window=sun]", ["room=lamp1+lamp2", "window=sun"]),
        ("['a, b=größe',c]", ["a, b=größe", "c"]),
    ],
)
def test_texts_of_a_list_need_no_quotes(typed: str, texts: list[str]) -> None:
    (word,) = prepare([f"scene.groups={typed}"], VOCABULARY)
    assert value_of(word) == texts
    _, word = prepare(["-m", f"scene.groups={typed},[x=y]"], VOCABULARY)
    (override,) = OverridesParser.create().parse_overrides([word])
    found = [value_of(f"scene.groups={text}") for text in override.sweep_string_iterator()]
    assert found == [texts, ["x=y"]]


def test_a_list_has_brackets() -> None:
    with pytest.raises(SettingError, match=r"scene.groups=a=b is not a list like"):
        prepare(["scene.groups=a=b"], VOCABULARY)


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.sep + "somewhere")
    monkeypatch.setenv("USERPROFILE", os.sep + "somewhere")
    (word,) = prepare(["capture.path=~/photos of a fox"], VOCABULARY)
    assert value_of(word) == str(Path(os.sep) / "somewhere" / "photos of a fox")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("seed=3", 3),
        ("training.num_steps=2e4", 20000),
        ("training.max_seconds=2", 2.0),
        ("training.max_seconds=1e-3", 0.001),
        ("training.tensorboard=off", False),
        ("training.tensorboard=True", True),
        ("render.size='64x64'", "64x64"),
        ("size=64x64", "64x64"),
    ],
)
def test_values_are_read_by_the_type_of_their_setting(word: str, value: object) -> None:
    (prepared,) = prepare([word], VOCABULARY)
    assert value_of(prepared) == value
    assert type(value_of(prepared)) is type(value)


def test_short_forms_stand_for_full_names() -> None:
    assert prepare(["size=3x4"], VOCABULARY) == ["render.size='3x4'"]


def test_options_and_hydras_own_settings_pass() -> None:
    for words in (["--cfg", "job", "hydra.verbose=true"], ["-m", "hydra.verbose=true"]):
        assert prepare(words, VOCABULARY) == words


def test_sweeps_pass() -> None:
    words = ["-m", "seed=0,1", "training.max_seconds=choice(1,2)", "preset=quick,quality"]
    assert prepare(words, VOCABULARY) == words


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("fox", "'fox' is not of the form name=value, such as capture.path=DIR"),
        ("=3", "'=3' is not of the form name=value"),
        ("training.num_stpes=3", "not a setting of train.py; did you mean training.num_steps?"),
        ("max_seconds=3", "did you mean training.max_seconds?"),
        ("qqq=3", "qqq is not a setting of train.py. `python train.py --help` lists all"),
        ("+seed=3", "+seed is not a setting of train.py; did you mean seed?"),
        ("capture=3", "capture is a group of settings; give one of them, such as capture.path="),
        ("evaluation.ssim=true", "evaluation.ssim is a setting of another command; train.py does"),
        ("seed=x", "seed=x is not a whole number"),
        ("seed=1.5", "seed=1.5 is not a whole number"),
        ("seed=", "seed= is not a whole number"),
        ("training.max_seconds=1m", "training.max_seconds=1m is not a number"),
        ("training.tensorboard=maybe", "training.tensorboard=maybe is not true or false"),
        ("kernels.precision=", None),
        ("lights=2", "lights is a group of settings; give one of them, such as lights.key=2"),
        ("lights.=2", "lights is a group of settings; give one of them, such as lights.key=2"),
        ("lights.key=", "lights.key= is not a number or a list like [1,0.9,0.8]"),
        ("lights.key=red", "lights.key=red is not a number or a list like [1,0.9,0.8]"),
        ("lights.key=1,2,3", "lights.key=1,2,3 is not a number or a list like"),
        ("lights.key=[1,2", "lights.key=[1,2 is not a number or a list like"),
        ("preset=quikc", "preset=quikc is not one of quick, quality; did you mean quick?"),
        ("--hepl", "--hepl is not an option of train.py; did you mean --help?"),
    ],
)
def test_a_mistake_is_one_sentence(word: str, sentence: str | None) -> None:
    if sentence is None:  # text of any kind passes here; its choices are checked with the ranges
        prepare([word], VOCABULARY)
        return
    with pytest.raises(SettingError, match=re.escape(sentence)):
        prepare([word], VOCABULARY)


def test_a_mistake_in_a_sweep_is_found() -> None:
    with pytest.raises(SettingError, match="seed=x is not a whole number"):
        prepare(["-m", "seed=0,x"], VOCABULARY)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection of captures beside other things, seen from the folder that holds it."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/a, b", "photos/größe=1", "photos/it's", "photos/[x]"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("photos/notes.txt", "photos/2.xml", "photos/1.xml"):
        (tmp_path / name).touch()
    return tmp_path / "photos"


def swept(word: str) -> list[object]:
    """What Hydra's sweeper makes of a word of a sweep."""
    _, prepared = prepare(["-m", word], VOCABULARY)
    (override,) = OverridesParser.create().parse_overrides([prepared])
    if not override.is_sweep_override():
        return [override.value()]
    return [value_of(f"x={text}") for text in override.sweep_string_iterator()]


@pytest.mark.parametrize(
    ("typed", "paths"),
    [
        ("capture.path=photos/*", ["[x]", "a, b", "größe=1", "it's"]),
        ("capture.path=photos/[ag]*", ["a, b", "größe=1"]),
        ("capture.path=photos/a*,photos/i*", ["a, b", "it's"]),
        ("capture.path=photos/[x]", ["[x]"]),
        ("capture.path='photos/a*'", ["a*"]),
        ("scene.path=photos/*.xml", ["1.xml", "2.xml"]),
        ("run=photos/a*", ["a, b"]),
    ],
)
@pytest.mark.usefixtures("photos")
def test_a_pattern_in_a_sweep_is_all_that_matches(typed: str, paths: list[str]) -> None:
    assert swept(typed) == [f"photos/{path}" for path in paths]


@pytest.mark.usefixtures("photos")
def test_patterns_are_for_sweeps_and_for_paths() -> None:
    (word,) = prepare(["capture.path=photos/*"], VOCABULARY)
    assert value_of(word) == "photos/*"
    assert swept("name=photos/*") == ["photos/*"]
    with pytest.raises(SettingError, match=r"capture.path=photos/z\* matches nothing here: give a"):
        prepare(["-m", "capture.path=photos/z*"], VOCABULARY)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["launcher=joblib"], "launcher=joblib is for the jobs of a sweep: add -m"),
        (["hydra/launcher=joblib"], "launcher=joblib is for the jobs of a sweep: add -m"),
        (["-m", "launcher=job"], "launcher=job is not one of joblib, slurm; did you mean joblib?"),
        (["-m", "launcher=joblib,slurm"], "launcher=joblib,slurm is not one of joblib, slurm"),
        (["-m", "--cfg", "job"], "--cfg shows the settings of one run"),
    ],
)
def test_a_mistaken_launcher_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(SettingError, match=re.escape(sentence)):
        prepare(words, VOCABULARY)


@pytest.mark.parametrize(
    "word", [*(f"name={text}" for text in AWKWARD), "lights.key=2", "lights.größe [x]=[1,0.5,0]"]
)
def test_what_is_prepared_can_be_typed_again(word: str) -> None:
    (prepared,) = prepare([word], VOCABULARY)
    assert prepare([retyped(prepared)], VOCABULARY) == [prepared]
