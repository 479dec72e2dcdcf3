"""References: two noisy halves of the same view, lit by any dials, kept for the next time."""

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neural_render.scenes.references import References, trace_references
from neural_render.scenes.settings import SceneSettings, ViewSettings
from neural_render.scenes.tracing.process import TracerProcess
from tests.scenes.readers.scenes import gltf_scene
from tests.scenes.readers.test_formats import fake_blender
from tests.scenes.small_scenes import BULB, CAMERA, FRONT, LAMP, write_scene
from tests.scenes.tracing.tracers import started

VIEWS = ViewSettings(test=2, test_size=16, reference_samples=16)
COLORS = BULB, LAMP
BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
BROKEN_BEFORE_WHOLE_LAMP = (
    '<shape type="obj" id="broken"><string name="filename" value="broken.obj"/>'
    '<emitter type="area"><texture type="bitmap" name="radiance">'
    '<string name="filename" value="glow.png"/></texture></emitter></shape>'
    '<shape type="rectangle" id="whole"><transform name="to_world"><scale value="30"/>'
    '<lookat origin="0, 4, 0" target="0, 0, 0" up="0, 0, 1"/></transform>'
    '<bsdf type="diffuse"><rgb name="reflectance" value="0"/></bsdf>'
    '<emitter type="area"><rgb name="radiance" value="1"/></emitter></shape>'
)


def traced(
    process: TracerProcess, path: Path, views: ViewSettings = VIEWS
) -> tuple[References, list[float]]:
    """The references and the shares that were told, beside the scene's folder."""
    told: list[float] = []
    scene, cache = SceneSettings(path=str(path)), path.parent.parent / "cache"
    found = trace_references(process, scene, views, cache=cache, progress=told.append)
    return found, told


def scene_file(tmp_path: Path, more: str = "") -> Path:
    (tmp_path / "scene").mkdir()
    views = [("wide", 64, 32), ("tall", 32, 64)]
    sensors = [
        CAMERA.format(name=name, origin="0, -6, 3", width=width, height=height)
        for name, width, height in views
    ]
    return write_scene(tmp_path / "scene", "lamp", "bulb", more="".join(sensors) + more)


def test_halves_agree_within_their_noise_and_are_kept(tmp_path: Path) -> None:
    path = scene_file(tmp_path)
    with closing(started(path, VIEWS)) as process:
        found, told = traced(process, path)
        again, nothing = traced(process, path)
        other, _ = traced(process, path, replace(VIEWS, reference_samples=64))
    assert told == sorted(told) and told[-1] == 1 and nothing == []
    assert np.array_equal(found.pictures, again.pictures)
    assert np.any(found.pictures != other.pictures)
    assert found.places.shape == (2, 0) and len(found.names) == 2
    for index in range(2):
        first, second = (found.half(index, half, COLORS) for half in (0, 1))
        size = int(found.cameras.height[index]), int(found.cameras.width[index])
        assert first.shape == (*size, 3)
        assert not torch.equal(first, second)
        torch.testing.assert_close(first.mean(), second.mean(), rtol=0.1, atol=0)
        torch.testing.assert_close(
            first.mean(), other.half(index, 0, COLORS).mean(), rtol=0.2, atol=0
        )
        single = [found.half(index, 0, lit) for lit in ((BLACK, LAMP), (BULB, BLACK))]
        torch.testing.assert_close(single[0] + single[1], first)
        assert all(picture.max() > 0 for picture in single)


def test_a_file_that_changed_is_traced_anew(tmp_path: Path) -> None:
    """Also where its size stays, as of a colour in a file of materials."""
    path = scene_file(tmp_path)
    beside = path.parent / "paint.mtl"
    beside.write_text("Kd 0.5")
    os.utime(beside, ns=(10**18, 10**18))
    views = replace(VIEWS, test=1, test_size=8, reference_samples=1)
    with closing(started(path, views)) as process:
        assert traced(process, path, views)[1]
        assert not traced(process, path, views)[1]
        beside.write_text("Kd 0.8")
        assert traced(process, path, views)[1]


def test_any_number_of_files_beside_it_is_looked_at(tmp_path: Path) -> None:
    path = scene_file(tmp_path)
    for number in range(2100):
        (path.parent / f"z{number:04}.bin").touch()
    views = replace(VIEWS, test=1, test_size=8, reference_samples=1)
    with closing(started(path, views)) as process:
        assert traced(process, path, views)[1]
        assert not traced(process, path, views)[1]
        (path.parent / "z2099.bin").write_text("another")
        assert traced(process, path, views)[1]


def test_what_blender_finds_elsewhere_is_of_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its textures may lie anywhere: what it exported tells."""
    made = gltf_scene().write(tmp_path / "elsewhere.glb")
    program = fake_blender(tmp_path, f"shutil.copy({str(made)!r}, sys.argv[-1])")
    monkeypatch.setenv("NEURAL_RENDER_BLENDER", program)
    (tmp_path / "scene").mkdir()
    path = tmp_path / "scene/scene.blend"
    path.write_text("not ours to read")
    views, found = replace(VIEWS, test=1, test_size=8, reference_samples=1), []
    for color in ([0.5] * 3, [0.5] * 3, [0.25] * 3):
        scene = gltf_scene()
        scene.content["extras"] = {"wall": color}
        scene.write(made)
        with closing(started(path, views)) as process:
            found.append(bool(traced(process, path, views)[1]))
    assert found == [True, False, True]


def test_views_of_several_formats(tmp_path: Path) -> None:
    """Each is as large as its camera says."""
    path = scene_file(tmp_path)
    views = replace(VIEWS, test=6, reference_samples=1)
    with closing(started(path, views)) as process:
        found, _ = traced(process, path, views)
    sizes = {tuple(found.half(index, 0, COLORS).shape[:2]) for index in range(6)}
    assert sizes == {(8, 16), (16, 8)}


def test_a_moving_light_stands_elsewhere_in_each_view(tmp_path: Path) -> None:
    path = scene_file(tmp_path)
    with closing(started(path, VIEWS, moving="bulb")) as process:
        found, _ = traced(process, path)
        (moving,) = process.scene["moving"]
    assert found.places.shape == (2, 3) and not torch.equal(found.places[0], found.places[1])
    assert (found.places >= torch.tensor(moving["low"])).all()
    assert (found.places <= torch.tensor(moving["high"])).all()


def test_no_views(tmp_path: Path) -> None:
    path = scene_file(tmp_path)
    views = replace(VIEWS, test=0)
    with closing(started(path, views)) as process:
        found, told = traced(process, path, views)
    assert found.names == () and len(found.cameras) == 0 and told == []


def test_a_path_that_sees_no_number_is_left_out(tmp_path: Path) -> None:
    """A lamp's picture is looked up nowhere; so its pixels are those of the lamp behind it, or
    dark."""
    corners = "v -1 0 0\nv 1 0 0\nv 0 0 2\nvt inf 0\n"
    (tmp_path / "broken.obj").write_text(f"{corners}f 1/1 2/1 3/1\n", encoding="utf-8")
    Image.new("RGB", (2, 2), (200, 100, 50)).save(tmp_path / "glow.png")
    path = tmp_path / "lamps.xml"
    text = f'<scene version="3.0.0">{FRONT}{BROKEN_BEFORE_WHOLE_LAMP}</scene>'
    path.write_text(text, encoding="utf-8")
    views = replace(VIEWS, test=1)
    with closing(started(path, views, groups=["all=*"])) as process:
        found, _ = traced(process, path, views)
    pictures = np.stack([found.half(0, half, (WHITE,)) for half in (0, 1)])
    assert sorted(np.unique(pictures)) == [0.0, 1.0]
    assert 0.02 < (pictures == 0).mean() < 0.2


def test_outputs_beside_the_scene_are_no_part_of_it(tmp_path: Path) -> None:
    """As where the program runs in the scene's folder; all other files may be of the scene."""
    views = replace(VIEWS, test=1, reference_samples=1)
    path = write_scene(tmp_path, more=FRONT)
    cache, told = tmp_path / "outputs" / "references", list[float]()
    with closing(started(path, views)) as process:

        def trace(supersampling: int = 3) -> None:
            wanted = replace(views, supersampling=supersampling)
            settings = SceneSettings(path=str(path))
            trace_references(process, settings, wanted, cache=cache, progress=told.append)

        trace()
        (tmp_path / "outputs" / "run.txt").write_text("a run", encoding="utf-8")
        told.clear()
        trace()
        trace(supersampling=1)
        assert told == [], "they were kept"
        (tmp_path / "mesh.ply").write_text("another", encoding="utf-8")
        trace()
        assert told != []


def test_another_sky_of_the_same_name_and_size_is_traced_anew(tmp_path: Path) -> None:
    """The sky is no neighbour of the scene's file; whether its path is relative does not matter."""
    views = replace(VIEWS, test=1, reference_samples=1)
    path, sky, told = scene_file(tmp_path), tmp_path / "sky.ppm", list[float]()
    sky.write_bytes(b"P6 4 4 255 " + bytes([200] * 48))
    with closing(started(path, views, environment=str(sky))) as process:

        def trace(environment: str) -> int:
            told.clear()
            settings = SceneSettings(path=str(path), environment=environment)
            cache = tmp_path / "cache"
            trace_references(process, settings, views, cache=cache, progress=told.append)
            return len(told)

        assert trace(str(sky)) > 0
        assert trace(str(sky)) == trace(os.path.relpath(sky)) == 0, "they were kept"
        sky.write_bytes(b"P6 4 4 255 " + bytes([100] * 48))
        assert trace(str(sky)) > 0


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive"])
def test_a_broken_cache_is_traced_again(tmp_path: Path, damage: bytes) -> None:
    path = scene_file(tmp_path)
    views = replace(VIEWS, test=1, reference_samples=1)
    with closing(started(path, views)) as process:
        found, _ = traced(process, path, views)
        (kept,) = (tmp_path / "cache").iterdir()
        kept.write_bytes(damage)
        again, told = traced(process, path, views)
    assert told != [] and np.array_equal(found.pictures, again.pictures)
