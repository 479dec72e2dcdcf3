"""Tracing through a scene: every tracer sees what Mitsuba's own pictures show."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.opening import load_scene
from neural_render.scenes.records import LoadedScene
from neural_render.scenes.settings import SceneSettings, ViewSettings
from neural_render.scenes.tracing.paths import (
    TILE,
    ScalarTracer,
    Tracer,
    WavefrontTracer,
    may_have_holes,
    new_tracer,
)
from neural_render.scenes.tracing.variants import VARIANTS, chosen_variant
from neural_render.scenes.views import Poses, Viewpoints, viewpoints
from tests.scenes.readers.scenes import load, mitsuba
from tests.scenes.small_scenes import CAMERA, SKY, write_scene

NUM_RAYS = TILE * TILE
# At its front, at its back, and past it.
AT_THE_LAMP = (
    np.array([[0.2, 0.2, 2.5], [0.2, 0.2, 9.0], [0.0, 0.0, 2.5]]),
    np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),
)


def views_of(scene: LoadedScene, tracer: Tracer, spread: float = 0.0) -> Viewpoints:
    return viewpoints(ViewSettings(spread=spread), scene, scene.up, tracer.distances)


def camera_of(views: Viewpoints) -> Poses:
    """The file's own camera."""
    return views.draw(1, np.random.default_rng(0))


def grid(camera: Poses, side: int = TILE) -> tuple[np.ndarray, np.ndarray]:
    """Rays through the middles of equal parts of the picture, row by row."""
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side * 2 - 1] * 2)
    return camera.through(np.stack([x, y], axis=-1).reshape(-1, 2))


def tiles(picture: np.ndarray, side: int = 8) -> np.ndarray:
    """Means over square parts."""
    height, width = picture.shape[0] // side, picture.shape[1] // side
    return picture.reshape(side, height, side, width, -1).mean((1, 3))


def mitsubas_picture(scene: LoadedScene, width: int, height: int) -> np.ndarray:
    """What Mitsuba renders of the scene's camera."""
    mi: Any = mitsuba()
    pose = np.eye(4)
    pose[:3] = np.array(scene.cameras[0].world_from_camera) * [-1, -1, 1, 1]
    film = {"type": "hdrfilm", "width": width, "height": height, "rfilter": {"type": "box"}}
    sensor = {
        "type": "perspective",
        "fov": math.degrees(scene.cameras[0].fov_x_rad),
        "fov_axis": "x",
        "to_world": mi.ScalarTransform4f(pose.tolist()),
        "film": film,
    }
    path = mi.load_dict({"type": "path", "max_depth": scene.max_depth})
    made = mi.render(scene.scene, sensor=mi.load_dict(sensor), integrator=path, spp=16)
    return np.array(made)[..., :3]


def small(path: Path) -> LoadedScene:
    return load(path, max_depth=3)


def test_rays_see_what_mitsubas_camera_sees(tmp_path: Path) -> None:
    scene = small(write_scene(tmp_path, "lamp", "environment"))
    tracer = ScalarTracer(scene, samples_per_ray=8)
    radiance, distance = tracer.trace(*grid(camera_of(views_of(scene, tracer))), seed=5)
    expected = tiles(mitsubas_picture(scene, 64, 48), 8)
    found = tiles(radiance.reshape(TILE, TILE, 3), 8)
    np.testing.assert_allclose(found, expected, atol=0.15 * expected.max())
    np.testing.assert_allclose(found.mean((0, 1)), expected.mean((0, 1)), rtol=0.03)
    assert 0.3 < np.isfinite(distance).mean() < 1


def test_tiles_see_what_single_rays_see(tmp_path: Path) -> None:
    """Pictures and rays of one tile belong together, wherever its camera stands."""
    scene = small(write_scene(tmp_path, "lamp", "environment"))
    tracer = ScalarTracer(scene, samples_per_ray=8)
    views = views_of(scene, tracer, spread=0.3)
    for seed in range(3):
        found, distance, origins, directions = tracer.traced(
            views, np.random.default_rng(seed), seed
        )
        expected, far = tracer.trace(origins, directions, seed + 100)
        assert np.array_equal(distance, far)
        parts = [tiles(values.reshape(TILE, TILE, 3), 8) for values in (found, expected)]
        np.testing.assert_allclose(parts[0], parts[1], atol=0.15 * expected.max())
        assert found.max() > 0


def test_rays_of_a_tile_see_what_they_meet_and_nothing_beside_it(tmp_path: Path) -> None:
    """Nothing is lit, so that surfaces are black, at their outlines too, before a bright sky."""
    scene = load(write_scene(tmp_path, "environment"), max_depth=1)
    tracer = ScalarTracer(scene, samples_per_ray=8)
    views, seen = views_of(scene, tracer, spread=0.3), []
    for seed in range(3):
        radiance, distance, _, _ = tracer.traced(views, np.random.default_rng(seed), seed)
        hit = np.isfinite(distance)
        seen.append(hit.mean())
        np.testing.assert_allclose(radiance, np.where(hit[:, None], 0.0, SKY), atol=1e-5)
    assert 0 < np.mean(seen) < 1


def wide(folder: Path, width: int, height: int, scale: float = 1.0) -> LoadedScene:
    """The scene at another scale before a camera of that format."""
    place = f"0, {-6 * scale}, {1.5 * scale}"
    more = CAMERA.format(name="wide", origin=place, width=width, height=height)
    path = write_scene(
        folder, "environment", more=more.replace('0, 0, 1" up', f'0, 0, {scale}" up')
    )
    if scale != 1:
        text = path.read_text(encoding="utf-8")
        text = text.replace('<scale value="3"/>', f'<scale value="{3 * scale}"/>')
        text = text.replace('z="1"/>', f'z="{scale}"/><float name="radius" value="{scale}"/>')
        path.write_text(text, encoding="utf-8")
    return small(path)


@pytest.mark.parametrize(("width", "height"), [(640, 100), (100, 150), (333, 100)])
def test_tiles_of_every_format_belong_to_their_rays(
    tmp_path: Path, width: int, height: int
) -> None:
    """The sky is 0.5 in blue: what misses shows it, what does not is darker."""
    scene = wide(tmp_path, width, height)
    tracer = ScalarTracer(scene, samples_per_ray=4)
    seen = []
    for seed in range(4):
        radiance, distance, _, _ = tracer.traced(
            views_of(scene, tracer), np.random.default_rng(seed), seed
        )
        seen.append(np.abs(radiance[:, 2] - 0.5) < 1e-4)
        # Pixels at the edge of the ball see both.
        assert (seen[-1] != ~np.isfinite(distance)).mean() < 0.03
    assert 0.1 < np.mean(seen) < 0.9


@pytest.mark.parametrize("scale", [1e-2, 1e4])
def test_scenes_of_any_size_are_seen_alike(tmp_path: Path, scale: float) -> None:
    found = []
    for size in (1.0, scale):
        folder = tmp_path / str(size)
        folder.mkdir()
        scene = wide(folder, 64, 64, size)
        tracer = ScalarTracer(scene, samples_per_ray=1)
        rng = np.random.default_rng(7)
        radiance, distance, _, _ = tracer.traced(views_of(scene, tracer), rng, 7)
        found.append((tiles(radiance.reshape(TILE, TILE, 3)), distance / size))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=0.1)
    near = np.isfinite(found[0][1])
    assert (near == np.isfinite(found[1][1])).mean() > 0.99
    np.testing.assert_allclose(np.median(found[0][1]), np.median(found[1][1]), rtol=0.01)


def test_distances_are_those_of_the_first_surface(tmp_path: Path) -> None:
    tracer = ScalarTracer(small(write_scene(tmp_path)), samples_per_ray=1)
    origins = np.array([[0, -6, 1], [0, -6, 1], [2.5, 0, 5]], float)
    directions = np.array([[0, 1, 0], [0, -1, 0], [0, 0, -1]], float)
    np.testing.assert_allclose(tracer.distances(origins, directions), [5, np.inf, 5], rtol=1e-5)
    normals, shining = tracer.surfaces(origins, directions)
    assert not shining.any()
    np.testing.assert_allclose(tracer.surfaces(*AT_THE_LAMP)[1], [8, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(np.abs(normals), [[0, 1, 0], [0, 0, 0], [0, 0, 1]], atol=1e-5)


CARDS = (
    '<shape type="rectangle"><transform name="to_world"><rotate x="1" angle="90"/>'
    '<translate y="-3" z="1"/></transform><bsdf type="mask">{}<bsdf type="diffuse"/></bsdf></shape>'
)
NOTHING = '<float name="opacity" value="0"/>'


@pytest.mark.parametrize("kind", ["scalar", "llvm"])
def test_holes_are_no_surfaces(tmp_path: Path, kind: str) -> None:
    """A card before the ball of which nothing is there, and one of which all is."""
    mi = mitsuba()
    try:
        variant = VARIANTS[chosen_variant(kind)]
    except SceneError as error:
        pytest.skip(f"needs LLVM: {error}")
    origins = np.array([[0, -6, 1], [0, -6, 1.9], [0.9, -6, 1.9]], float)
    directions = np.array([[0, 1, 0]] * 3, float)
    found = []
    mi.set_variant(variant)
    try:
        for opacity in (NOTHING, ""):
            folder = tmp_path / (opacity and "holes")
            folder.mkdir(exist_ok=True)
            path = write_scene(folder, more=CARDS.format(opacity or NOTHING.replace("0", "1")))
            tracer = new_tracer(small(path), paths=1 << 10, samples_per_ray=1)
            found.append(tracer.distances(origins, directions))
            normal, _ = tracer.surfaces(origins, directions)
            assert (np.abs(normal).sum(axis=1) > 0).tolist() == np.isfinite(found[-1]).tolist()
    finally:
        mi.set_variant("scalar_rgb")
    near = 6 - math.sqrt(1 - 0.9**2)
    np.testing.assert_allclose(found[0], [5, near, np.inf], rtol=1e-4)
    np.testing.assert_allclose(found[1], [3, 3, 3], rtol=1e-4)


def test_instances_of_cards_let_light_through(tmp_path: Path) -> None:
    """Nobody says of what an instance is made."""
    group = f'<shape type="shapegroup" id="cards">{CARDS.format(NOTHING)}</shape>'
    more = f'{group}<shape type="instance"><ref id="cards"/></shape>'
    scene = small(write_scene(tmp_path, more=more))
    assert may_have_holes(scene) and not may_have_holes(small(write_scene(tmp_path)))


def test_the_variant_decides_how_rays_are_traced(tmp_path: Path) -> None:
    tracer = new_tracer(small(write_scene(tmp_path)), paths=1 << 20, samples_per_ray=4)
    assert isinstance(tracer, ScalarTracer) and tracer.num_rays == NUM_RAYS


def test_wavefronts_see_what_single_rays_see(tmp_path: Path) -> None:
    mi = mitsuba()
    try:
        variant = VARIANTS[chosen_variant("llvm")]
    except SceneError as error:
        pytest.skip(f"needs LLVM: {error}")
    path = write_scene(tmp_path, "lamp", "environment")
    scene = small(path)
    plain = ScalarTracer(scene, samples_per_ray=8)
    views = views_of(scene, plain)
    rays = grid(camera_of(views))
    expected, distance = plain.trace(*rays, seed=3)
    mi.set_variant(variant)
    try:
        loaded = load_scene(SceneSettings(path=str(path), max_depth=3))
        tracer = new_tracer(loaded, paths=8 * NUM_RAYS, samples_per_ray=8)
        assert isinstance(tracer, WavefrontTracer) and tracer.num_rays == NUM_RAYS
        found, far = tracer.trace(*rays, seed=4)
        assert np.isfinite(far).sum() == np.isfinite(distance).sum()
        np.testing.assert_allclose(far, distance, rtol=1e-4)
        parts = [tiles(values.reshape(TILE, TILE, 3)) for values in (found, expected)]
        np.testing.assert_allclose(parts[0], parts[1], atol=0.15 * expected.max())
        np.testing.assert_allclose(found.mean(0), expected.mean(0), rtol=0.03)
        radiance, far, origins, directions = tracer.traced(
            replace(views), np.random.default_rng(0), 9
        )
        assert np.array_equal(far, tracer.distances(origins, directions))
        np.testing.assert_allclose(tracer.surfaces(*AT_THE_LAMP)[1], [8, 0, 0], rtol=1e-5)
        np.testing.assert_allclose(radiance.mean(0), expected.mean(0), rtol=0.1)
    finally:
        mi.set_variant("scalar_rgb")
