"""``scripts/bake.py`` and what ``render.py`` makes of its runs: lights are dials."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from neural_render.config import changed_settings, load_settings
from tests.flows.programs import SMALL, Finished, run_here, succeed
from tests.scenes.readers.scenes import mitsuba
from tests.scenes.small_scenes import BULB, write_scene

PSNR_FLOOR = 18.0  # dB; a bake as small as this reaches 27 to 28, on a busy machine 22
STEPS = 400
TINY = (
    *SMALL,
    "training.samples_per_step=16384",
    "tracer.variant=scalar",
    "tracer.ring=65536",
    "scene.max_depth=3",
    "views.test=2",
    "views.test_size=32",
    "views.reference_samples=32",
)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball on a floor under a lamp and a bulb, in a folder that Hydra alone would not take."""
    mitsuba()  # skips where it is not installed
    folder = tmp_path_factory.mktemp("scenes") / "größe=1, [x] 写真"
    folder.mkdir()
    return write_scene(folder, "lamp", "bulb")


@pytest.fixture(scope="session")
def baked_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the bake runs."""
    return tmp_path_factory.mktemp("baked")


@pytest.fixture(scope="session")
def baked(baked_home: Path, scene: Path) -> Finished:
    """What ``scripts/bake.py`` said when it baked the run that all tests look at."""
    words = (f"scene.path={scene}", "name=ball", f"training.num_steps={STEPS}", *TINY)
    return succeed("scripts/bake.py", *words, folder=baked_home)


@pytest.fixture(scope="session")
def baked_run(baked_home: Path, baked: Finished) -> Path:
    """The folder of that run."""
    return baked_home / baked.last_line


@pytest.fixture
def render(
    baked_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Finished]:
    """``render.py`` on a copy of the baked run: words in, what it said out."""
    copied = shutil.copytree(baked_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Finished:
        few = ("path=test", "output=exr", "render.exr=float")
        return run_here(
            "render.py", f"run={copied}", *few, *words, monkeypatch=monkeypatch, capsys=capsys
        )

    return call


def metrics(run_folder: Path) -> dict[str, object]:
    return json.loads((run_folder / "evaluation/metrics.json").read_text(encoding="utf-8"))


def layers(done: Finished) -> dict[str, np.ndarray]:
    """The layers of the first frame that was written."""
    assert done.code == 0, done.errors
    folder = Path(done.last_line)
    file = folder if folder.is_file() else sorted(folder.glob("*.exr"))[0]
    source = oiio.ImageInput.open(str(file))
    planes = np.moveaxis(source.read_image("float"), -1, 0)
    found = dict(zip(source.spec().channelnames, planes, strict=True))
    source.close()
    return found


def refused(done: Finished, *parts: str) -> None:
    """The program ended with 2 and one line that holds all ``parts``."""
    assert done.code == 2, done.errors
    assert done.errors.startswith("error: ") and done.errors.count("\n") == 1, done.errors
    assert [part for part in parts if part not in done.errors] == []


def test_a_bake_leaves_everything_in_its_folder_and_says_what_it_measured(
    baked_home: Path, baked: Finished, baked_run: Path
) -> None:
    assert re.fullmatch(r"outputs/ball/[\d_-]+", baked.last_line)
    assert [path.name for path in baked_home.iterdir()] == ["outputs"]
    assert sorted(path.name for path in (baked_home / "outputs").iterdir()) == [
        "ball",
        "latest",
        "references",
    ]
    for name in ("config.yaml", "metrics.jsonl", "report.html", "views.json"):
        assert (baked_run / name).stat().st_size > 0
    assert (baked_run / f"checkpoints/{STEPS}/weights.safetensors").is_file()
    (film,) = baked_run.glob("renders/*/video.mp4")
    assert film.stat().st_size > 0
    found = metrics(baked_run)
    assert found["psnr"] > PSNR_FLOOR
    assert found["psnr_reference"] > 25
    assert (found["num_views"], found["num_steps"]) == (2, STEPS)
    assert re.search(rf"^PSNR +{found['psnr']:.2f} dB$", baked.output, re.MULTILINE)
    assert "views: cameras; lights: bulb, lamp; tracer: scalar" in baked.output


def test_a_bake_keeps_the_settings_that_were_given(baked_run: Path, scene: Path) -> None:
    """What follows from its budget and from traced rays follows anew where the bake goes on."""
    changed = changed_settings(load_settings(baked_run / "config.yaml"))
    given = dict(word.split("=", 1) for word in (*TINY, f"training.num_steps={STEPS}"))
    given |= {"name": "ball", "scene.path": str(scene)}
    assert changed == given


def test_noisy_targets_tell_no_psnr_of_training_rays(baked_run: Path) -> None:
    """It would be that of the noise."""
    lines = [json.loads(line) for line in (baked_run / "metrics.jsonl").read_text().splitlines()]
    assert lines and all("loss" in line and "psnr" not in line for line in lines)
    assert "PSNR on training rays" not in (baked_run / "report.html").read_text()


def files(run_folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run_folder)): path.read_bytes()
        for path in run_folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("program", ["train.py", "scripts/evaluate.py", "scripts/bake.py"])
def test_who_cannot_go_on_with_a_run_leaves_it_as_it_is(
    program: str,
    baked_run: Path,
    trained_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = "train.py" if program == "scripts/bake.py" else "scripts/bake.py"
    run = trained_run if program == "scripts/bake.py" else baked_run
    before = files(run)
    done = run_here(program, f"run={run}", monkeypatch=monkeypatch, capsys=capsys)
    refused(done, f"run={run} was ", f"python {other} run={run} continues it")
    assert files(run) == before


def test_a_bake_is_measured_under_other_lights_too(baked_run: Path) -> None:
    found = metrics(baked_run)
    rows = found["relit"]
    assert isinstance(rows, list) and len(rows) == 4
    assert all(row["psnr"] > PSNR_FLOOR - 3 for row in rows)
    assert all(set(row["lights"]) == {"bulb", "lamp"} for row in rows)
    tracer = found["tracer"]
    assert isinstance(tracer, dict)
    assert tracer["fresh_rays"] > 0 and tracer["reuse"] > 0 and 0 <= tracer["waited_share"] <= 1


def test_lights_are_dials(render: Callable[..., Finished]) -> None:
    """Each doubles its own part of the picture, exactly, and nothing else."""
    file = layers(render())
    double = layers(render("lights.lamp=2"))
    off = layers(render("lights.lamp=0"))
    color = layers(render("lights.lamp=0", "lights.bulb=[0,5,0]"))
    for index, channel in enumerate("RGB"):
        lamp = file[channel] - off[channel]
        assert lamp.max() > 0.1
        np.testing.assert_allclose(double[channel] - off[channel], 2 * lamp, atol=1e-5)
        expected = off[channel] * ((0, 5, 0)[index] / BULB[index])
        np.testing.assert_allclose(color[channel], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(file[f"lamp.{channel}"], double[f"lamp.{channel}"])
    assert np.array_equal(file["A"], off["A"])


def test_a_light_that_the_run_has_not(render: Callable[..., Finished]) -> None:
    refused(render("lights.sun=2"), "lights.sun is not a light of this run: it has bulb, lamp")


def test_a_bake_goes_on_with_its_scene_wherever_that_lies_and_with_no_other(
    baked_run: Path,
    scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied, moved = shutil.copytree(baked_run, tmp_path / "run"), tmp_path / "there/moved.xml"
    moved.parent.mkdir()
    text = scene.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def bake(text: str, *words: str) -> Finished:
        moved.write_text(text, encoding="utf-8")
        given = (f"run={copied}", f"scene.path={moved}", "render.output=none", *words)
        return run_here("scripts/bake.py", *given, monkeypatch=monkeypatch, capsys=capsys)

    done = bake(text, f"training.num_steps={STEPS + 1}")
    assert (done.code, done.errors) == (0, "")
    before = files(copied)
    done = bake(text.replace("0.8, 0.6, 0.4", "0.8, 0.6, 0.5"), "training.num_steps=500")
    refused(done, f"the scene {moved} is not what it was", "(scene.path changed)")
    assert files(copied) == before
    record = copied / "views.json"  # as of an earlier version
    known = json.loads(record.read_text(encoding="utf-8"))
    del known["scene"]
    record.write_text(json.dumps(known), encoding="utf-8")
    shutil.copy(scene, other := tmp_path / "other.xml")
    refused(bake(text, f"scene.path={other}"), "scene.path=", "cannot be had in a run")


@pytest.mark.usefixtures("scene")
def test_a_bake_goes_on(
    baked_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a copy, with the settings that it was begun with."""
    copied = shutil.copytree(baked_run, tmp_path / "outputs/ball/copy")
    monkeypatch.chdir(tmp_path)
    words = (f"run={copied}", f"training.num_steps={STEPS + 10}", "render.output=none")
    done = run_here("scripts/bake.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert (done.code, done.errors) == (0, "")
    assert done.last_line == str(copied)
    assert metrics(copied)["num_steps"] == STEPS + 10
    assert (copied / f"checkpoints/{STEPS + 10}").is_dir()
    assert metrics(baked_run)["num_steps"] == STEPS
    first, both = metrics(baked_run)["tracer"], metrics(copied)["tracer"]
    assert both["fresh_rays"] > first["fresh_rays"]
    done = run_here("scripts/bake.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert (done.code, done.errors) == (0, "")
    assert metrics(copied)["tracer"] == pytest.approx(both), "measured again, not traced again"


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("scene.path=gone.xml", ["gone.xml", "does not exist"]),
        ("scene.moving=lamp", ["scene.moving=lamp must be a point or directional light", "bulb"]),
        ("scene.groups=[a=sun]", ["scene.groups", "'sun' is not a light", "it has bulb, lamp"]),
        ("scene.up=w", ["scene.up=w is not one of"]),
        ("tracer.ring=1", ["tracer.ring=1 is too small"]),
        ("capture.path=x", ["capture"]),
        ("evaluation.fit=pose", ["evaluation.fit is a setting of another", "bake.py does not use"]),
        ("render.path=gone.json", ["the camera path", "gone.json does not exist"]),
        ("training.transients=true", ["scripts/bake.py does not use it"]),
        ("evaluation.fit_steps=3", ["scripts/bake.py does not use it"]),
        ("evaluation.fit_blur=1", ["scripts/bake.py does not use it"]),
        ("evaluation.background=white", ["scripts/bake.py does not use it"]),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(
    scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (*TINY, f"scene.path={scene}", word)
    done = run_here("scripts/bake.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    refused(done, *parts)
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_here("scripts/bake.py", "--help", monkeypatch=monkeypatch, capsys=capsys)
    assert done.code == 0 and done.errors == ""
    assert [
        name for name in ("scene.path", "views.kind", "tracer.ring") if name not in done.output
    ] == []
    assert list(tmp_path.iterdir()) == []
