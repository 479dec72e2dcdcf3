"""The bakes' benchmark: scenes that load, costs at equal noise, frames of fixed samples."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bakes import noise, suite, timing
from benchmarks.bakes.noise import TracerCost, process_seconds, relative_variance, tracer_costs
from benchmarks.bakes.scenes import MATERIALS, SUN, knot_mesh, write_box, write_moving
from benchmarks.bakes.timing import FIXED_STEP, frame_times
from benchmarks.options import BAKE_PARTS, BenchmarkOptions, parsed
from benchmarks.processes import LeftOut, baked
from neural_render.core.errors import SettingError
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from tests.scenes.readers.scenes import load, mitsuba

FEW = 1000  # triangles
TINY = (
    "training.num_steps=20",
    "training.samples_per_step=2048",
    "training.coarse_start=false",
    "field.grid.log2_rows=10",
    "kernels.threads=1",
    "tracer.variant=scalar",
    "tracer.ring=65536",
    "scene.max_depth=2",
    "views.test=1",
    "views.test_size=8",
    "views.reference_samples=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bake that has hardly begun."""
    mitsuba()
    home = tmp_path_factory.mktemp("bakes")
    path = write_box(home / "scene", MATERIALS["diffuse"], FEW)
    return baked((f"scene.path={path}", *TINY), home / "outputs", "knot")


@pytest.fixture
def bakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Name and settings of every bake, of which none is done: PSNR grows by one with each."""
    asked: list[tuple[str, list[str]]] = []

    def pretend(words, outputs, name):
        asked.append((name, list(words)))
        record = dict.fromkeys(suite.FIGURES, 2.0) | {"psnr": float(len(asked)), "tracer": {}}
        view = {"name": "view_000", "psnr": 1.0, "psnr_reference": 2.0}
        folder = tmp_path / "runs" / str(len(asked)) / "evaluation"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({**record, "views": [view]}))
        return folder.parent

    monkeypatch.setattr(suite, "baked", pretend)
    return asked


@pytest.mark.parametrize("triangles", [FEW, 10_000])
def test_the_knot_is_closed_and_faces_outwards(triangles):
    pytest.importorskip("trimesh", reason="needs trimesh: pip install .[bake]")
    mesh = knot_mesh(triangles)
    assert abs(len(mesh.faces) / triangles - 1) < 0.05
    assert mesh.is_watertight
    assert mesh.volume > 0
    normals = mesh.vertex_normals[mesh.faces].mean(axis=1)
    assert np.einsum("fi,fi->f", mesh.face_normals, normals).min() > 0.8
    assert np.abs(mesh.vertices).max() < 0.99, "it is inside of the box"


def test_boxes_differ_in_materials_alone(tmp_path):
    mitsuba()
    seen = set()
    for name, material in MATERIALS.items():
        path = write_box(tmp_path / name, material, FEW)
        scene = load(path)
        assert scene.warnings == ()
        assert scene.max_depth == material.max_depth
        assert [light.name for light in scene.lights] == ["lamp"]
        cameras = [camera.world_from_camera for camera in scene.cameras]
        mesh = (path.parent / "knot.ply").read_bytes()
        seen.add((scene.low, scene.high, str(cameras), mesh))
    assert len(seen) == 1
    np.testing.assert_allclose(scene.low + scene.high, (-1,) * 3 + (1,) * 3)


def test_the_moving_scene_has_a_light_that_can_move(tmp_path):
    mitsuba()
    scene = load(write_moving(tmp_path, FEW))
    kinds = {light.name: light.kind for light in scene.lights}
    assert kinds == {SUN: "directional", "environment": "environment"}
    assert len(scene.cameras) == 1


def test_the_variance_of_a_path_is_found_in_pictures_of_many():
    rng = np.random.default_rng(0)
    mean, deviation, samples = 2.0, 3.0, 16
    noise_of_mean = rng.normal(size=(8, 64, 64, 3)) * deviation / samples**0.5
    whole, middle = relative_variance(mean + noise_of_mean, samples)
    assert whole == pytest.approx((deviation / mean) ** 2, rel=0.02)
    # Of each pixel the squared mean is known less well, and the median is below the mean.
    assert middle == pytest.approx((deviation / mean) ** 2, rel=0.1)


def test_dark_pixels_have_no_noise_of_their_own():
    pictures = np.zeros((2, 1, 2, 3))
    pictures[0, 0, 0], pictures[1, 0, 0] = 1.0, 3.0  # mean 2, variance 2
    _, middle = relative_variance(pictures, 4)
    assert middle == pytest.approx(4 * 2 / 4)


def test_what_is_twice_as_slow_and_thrice_as_noisy_costs_six_times(capsys, kept):
    plain = TracerCost(seconds=1e-6, variance=0.5, median_variance=1.0)
    hard = TracerCost(seconds=2e-6, variance=1.5, median_variance=2.0)
    ratios = suite.show_tracer({"plain": plain, "hard": hard})
    assert ratios == pytest.approx(
        {"tracer, equal paths": 2, "tracer, equal noise": 6, "tracer, equal median noise": 4}
    )
    assert "slowest over fastest, tracer, equal noise: 6.00" in capsys.readouterr().out


def test_the_tracer_is_measured_scene_by_scene(tmp_path, monkeypatch):
    mitsuba()
    monkeypatch.setattr(noise, "SIDE", 8)
    monkeypatch.setattr(noise, "SAMPLES", 2)
    monkeypatch.setattr(noise, "PICTURES", 2)
    monkeypatch.setattr(noise, "VARIANT", "scalar")
    path = write_box(tmp_path, MATERIALS["diffuse"], FEW)
    costs = tracer_costs({"a": path, "b": path}, threads=1)
    assert list(costs) == ["a", "b"]
    # Both pictures have the same seeds.
    assert costs["a"].variance == costs["b"].variance > 0


def test_where_the_system_tells_no_cpu_time_wall_seconds_count(monkeypatch):
    monkeypatch.setattr(noise.time, "perf_counter", lambda: 42.0)
    assert process_seconds(2**22 + 1) == 42.0  # no process has such a number


def test_frames_of_fixed_samples_take_no_shortcut(run, monkeypatch):
    monkeypatch.setattr(timing, "SIDE", 16)
    found = frame_times({"a": run, "b": run}, repeats=1, threads=1)
    assert set(found) == {"fixed", "usual"}
    for times in found.values():
        assert times["a"].marched == times["b"].marched
    fixed = found["fixed"]["a"]
    # Some rays pass the cube by.
    assert 0.5 / FIXED_STEP < fixed.marched == fixed.colored < 2 / FIXED_STEP


def test_other_cubes_are_not_compared(run, monkeypatch):
    scene = load_for_rendering(RunFolder.open(run), torch.device("cpu"))
    near = replace(scene, frame=replace(scene.frame, near=0.1))
    scenes = iter([scene, near])
    monkeypatch.setattr(timing, "load_for_rendering", lambda *_: next(scenes))
    with pytest.raises(LeftOut, match="a and b were baked into different cubes"):
        frame_times({"a": run, "b": run}, repeats=1, threads=1)


def test_supervision_is_measured_in_all_ways_for_every_seed(kept, bakes, capsys):
    words = ["suite=bake", "parts=supervision", "scenes=x/a.xml,b.gltf+y/sky.exr", "seeds=0,1"]
    suite.run(parsed(BenchmarkOptions, [*words, "seconds=7"]))
    assert [name for name, _ in bakes] == ["supervised_a"] * 8 + ["supervised_b"] * 8
    assert "scene.environment=y/sky.exr" in bakes[-1][1]
    ways = {tuple(w for w in given if "weight" in w or "carve" in w) for _, given in bakes}
    assert ways == set(suite.SUPERVISION.values())
    assert all("training.max_seconds=7.0" in given for _, given in bakes)
    (line,) = (kept / "records" / "bake.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["part"] == "supervision"
    assert [entry["psnr"] for entry in record["results"]["a, both"]] == [1.0, 5.0]
    assert "3.00" in capsys.readouterr().out  # their mean


def test_the_moving_light_is_shown_view_by_view(kept, bakes, capsys):
    pytest.importorskip("trimesh", reason="needs trimesh: pip install .[bake]")
    outputs = kept / "outputs"
    suite.run(parsed(BenchmarkOptions, ["parts=moving", f"outputs={outputs}"]))
    ((name, words),) = bakes
    assert name == "moving"
    assert {f"scene.moving={SUN}", "training.clock=cpu"} <= set(words)
    assert (outputs / "scenes" / "moving" / "scene.xml").is_file()
    assert "view_000" in capsys.readouterr().out
    (line,) = (kept / "records" / "bake.jsonl").read_text().splitlines()
    assert json.loads(line)["views"] == {"view_000": 1.0}


def test_only_a_picture_behind_a_plus_is_an_environment():
    options = BenchmarkOptions()
    assert "scene.path=a+b.xml" in suite.bake_words(options, "a+b.xml")
    words = suite.bake_words(options, "a+b.glb+c.HDR")
    assert {"scene.path=a+b.glb", "scene.environment=c.HDR"} <= set(words)
    assert not [word for word in words if "precision" in word]
    exact = suite.bake_words(BenchmarkOptions(precision="float32"), "a.xml")
    assert "kernels.precision=float32" in exact


def test_parts_are_chosen_by_name():
    assert parsed(BenchmarkOptions, [f"parts={','.join(BAKE_PARTS)}"]).parts == BAKE_PARTS
    assert parsed(BenchmarkOptions, ["parts=moving,triangles"]).parts == ("moving", "triangles")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seconds=1,2"], "one number of seconds"),
        (["seconds=0"], "one number of seconds"),
        (["views=0"], "views=1"),
        (["seeds="], "a seed"),
        (["parts=moving,paint"], r"^parts=paint is not one of materials, .*, supervision\."),
        (["parts=disks"], "parts=disks is not one of materials"),
    ],
)
def test_what_bakes_cannot_do_is_refused(words, message):
    with pytest.raises(SettingError, match=message):
        suite.run(parsed(BenchmarkOptions, ["suite=bake", *words]))
