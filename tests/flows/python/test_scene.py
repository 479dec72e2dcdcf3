"""``neural_render.load``: a trained scene is rendered, asked and looked around in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import neural_render
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError, CheckpointError, SettingError
from neural_render.kernels import dispatch
from neural_render.training.scripting.scene import Scene, checked_device, exact_device
from neural_render.training.settings import TrainingSettings


@pytest.fixture(scope="module")
def scene(packaged: Path) -> Scene:
    """The packaged scene."""
    return neural_render.load(packaged)


def test_a_package_and_a_run_show_the_same(scene: Scene, trained_run: Path) -> None:
    run = neural_render.load(str(trained_run), device="cpu")
    assert run.name == scene.name == "tiny"
    assert run.quality is None
    assert scene.quality is not None
    assert scene.quality.views == "3 test views"
    assert [len(scene.cameras.train), len(scene.cameras.test)] == [12, 3]
    for own, packed in zip(run.cameras.test, scene.cameras.test, strict=True):
        assert own.name == packed.name
        assert np.array_equal(own.world_from_camera, packed.world_from_camera)
    camera = run.cameras.test[0]
    own, packed = run.render(camera), scene.render(camera)
    assert np.abs(own.color - packed.color).mean() < 0.01
    assert repr(scene) == f"<Scene tiny: 200 steps, {scene.path}>"


def test_a_scene_keeps_its_kernels(scene: Scene) -> None:
    """Whatever another scene, on another device, has started since."""
    before, camera = dispatch.active(), scene.cameras.test[0].resized(8, 8)
    expected = scene.render(camera).color
    with dispatch.using("reference"):
        assert np.array_equal(scene.render(camera).color, expected)
        assert dispatch.active() is dispatch.load("reference")
    assert dispatch.active() is before


def test_a_picture_is_what_the_sphere_looks_like(scene: Scene, tmp_path: Path) -> None:
    """The sphere has radius 1 and lies at the origin; the capture's cameras look at it from 4."""
    camera = scene.camera((0, -4, 0), (0, 0, 0))
    assert camera.size == (40, 40)
    assert camera.fov_deg == pytest.approx(np.degrees(0.69), abs=1e-3)
    picture = scene.render(camera, size=(41, 41))
    assert picture.color.shape == picture.linear.shape == (41, 41, 3)
    assert picture.color.dtype == picture.depth.dtype == np.float32
    assert picture.opacity[20, 20] > 0.95
    assert picture.opacity[0, 0] < 0.1
    assert picture.depth[20, 20] == pytest.approx(3, abs=0.15)
    assert np.allclose(
        picture.depth, picture.distance * (camera.resized(41, 41).directions[..., 1])
    )
    black = scene.render(camera, background="black")
    white = scene.render(camera, background="white")
    difference = (white.color - black.color).mean(axis=-1)
    assert np.allclose(difference, 1 - white.opacity, atol=0.02)
    assert picture.save(tmp_path / "new/view.png").is_file()
    assert picture.color_8bit.dtype == np.uint8


def test_the_field_is_asked_in_the_world(scene: Scene) -> None:
    """Adding up what is along a ray gives what the renderer shows."""
    camera = scene.cameras.train[0].resized(21, 21)
    picture = scene.render(camera, background="black")
    edges = np.linspace(0, 6, 3001, dtype=np.float32)
    middle, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    way = camera.directions[10, 10]
    samples = scene.query(camera.position + middle[:, None] * way, 7 * way)
    opacity = 1 - np.exp(-samples.density * step)
    weights = opacity * np.cumprod(np.concatenate([[1], 1 - opacity[:-1]]))
    assert weights.sum() == pytest.approx(picture.opacity[10, 10], abs=0.03)
    assert weights @ middle == pytest.approx(picture.distance[10, 10], abs=0.05)
    assert np.allclose(weights @ samples.radiance, picture.color[10, 10], atol=0.03)


def test_outside_of_the_scene_there_is_nothing(scene: Scene) -> None:
    low, high = scene.bounds
    far = np.array([high + 1, low - 1, [100, 0, 0], camera_place(scene)])
    samples = scene.query(far)
    assert not samples.density.any()
    assert not samples.radiance.any()
    many = scene.query(torch.zeros(5, 3), torch.eye(3)[[0, 1, 2, 0, 1]])
    assert many.density.shape == (5,)


def camera_place(scene: Scene) -> np.ndarray:
    return scene.cameras.test[0].position


def test_ways_around_the_scene(scene: Scene, tmp_path: Path) -> None:
    orbit = scene.along("orbit", 4, size=(12, 10))
    assert [camera.size for camera in orbit] == [(12, 10)] * 4
    distances = [np.linalg.norm(camera.position) for camera in orbit]
    assert np.allclose(distances, 4, atol=0.2)
    assert len(scene.along("spiral", 3)) == 3
    poses = [[[1, 0, 0, x], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]] for x in (0, 1)]
    keyframes = [{"transform_matrix": pose} for pose in poses]
    (tmp_path / "flight.json").write_text(json.dumps({"keyframes": keyframes, "frames": 5}))
    assert len(scene.along(tmp_path / "flight.json")) == 5


def test_cameras_are_made_of_what_a_newcomer_knows() -> None:
    camera = neural_render.Camera.looking((0, -2, 0), (0, 0, 0), fov_deg=60, size=(30, 20))
    assert np.allclose(camera.position, (0, -2, 0))
    assert np.allclose(camera.forward, (0, 1, 0))
    assert camera.fov_deg == pytest.approx(60, abs=1e-3)
    assert camera.directions.shape == (20, 30, 3)
    posed = neural_render.Camera.posed(camera.world_from_camera, fov_deg=60, size=(30, 20))
    assert np.allclose(posed.directions, camera.directions)
    wide = camera.resized(60, 20)
    assert wide.fov_deg == pytest.approx(60, abs=1e-3)
    assert np.allclose(wide.directions[:, 15:45], camera.directions, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda scene, camera: camera.looking((0, 0), (0, 0, 0)), "position=(0, 0) is no place"),
        (lambda scene, camera: camera.looking((0, 0, 0), (0, 0, 0)), "cannot look at where it"),
        (lambda scene, camera: camera.looking((1, 0, 0), (0, 0, 0), up=(0, 0, 0)), "no direction"),
        (lambda scene, camera: camera.looking((1, 0, 0), (0, 0, 0), fov_deg=180), "fov_deg=180"),
        (lambda scene, camera: camera.looking((1, 0, 0), (0, 0, 0), size=(0, 3)), "size=(0, 3)"),
        (lambda scene, camera: camera.posed(np.ones((3, 4))), "is no pose"),
        (lambda scene, camera: camera.posed(np.ones((2, 2))), "has the shape [2, 2]"),
        (lambda scene, camera: scene.render(camera, size=(5, 0)), "size=(5, 0) is no size"),
        (
            lambda scene, camera: scene.render(camera, lights={"key": 2}),
            "lights.key is not",
        ),
        (lambda scene, camera: scene.render(camera, lights={"key": "x"}), "not a brightness"),
        (lambda scene, camera: scene.render(camera, light_at=(0, 0, 1)), "none that moves"),
        (lambda scene, camera: scene.render(camera, background="red"), "background=red"),
        (lambda scene, camera: scene.render(camera, exposure=1.0), "which are exposed"),
        (lambda scene, camera: scene.along("walk"), "walk is no camera path"),
        (lambda scene, camera: scene.along("orbit", 0), "frames=0"),
        (lambda scene, camera: scene.query([[0, 0]]), "points are no places"),
        (lambda scene, camera: scene.query([[0, 0, 0]] * 3, [[0, 0, 1]] * 2), "3 points and 2 dir"),
        (
            lambda scene, camera: neural_render.fit(CaptureSettings(), steps=0),
            "steps=0 is no training",
        ),
        (
            lambda scene, camera: neural_render.fit(
                CaptureSettings(), steps=5, training=TrainingSettings(max_seconds=9.0)
            ),
            "steps=5 is a budget beside that of training (num_steps=0, max_seconds=9)",
        ),
        (
            lambda scene, camera: neural_render.fit(CaptureSettings(scene="forwards")),
            "capture.scene=forwards is not one of",
        ),
    ],
)
def test_nonsense_is_one_sentence(scene: Scene, call, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        call(scene, scene.cameras.test[0])
    assert words in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:x", "cuda:2"])
def test_a_device_that_cannot_be_used_is_one_sentence(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingError, match=f"device={device} is none .*, cuda:0, cuda:1"):
        neural_render.load(packaged, device)


def test_of_several_gpus_the_one_that_is_asked_for_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert exact_device(checked_device("cuda:1"), gpu) == torch.device("cuda:1")
    assert exact_device(checked_device(gpu), gpu) == gpu
    # Where Triton's interpreter stands in for a GPU, that computes on the CPU.
    assert exact_device(checked_device("cuda:1"), cpu) == cpu
    assert exact_device(checked_device("cpu:0"), cpu) == cpu


def test_what_is_not_there_is_one_sentence(trained_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"train a run first \(python train\.py\)"):
        neural_render.load(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="is not a run folder"):
        neural_render.load(tmp_path)
    moved = shutil.copytree(trained_run, tmp_path / "run")
    config = (moved / "config.yaml").read_text(encoding="utf-8")
    gone = "\n".join(
        f"  path: {tmp_path}/gone" if line.startswith("  path: ") else line
        for line in config.splitlines()
    )
    (moved / "config.yaml").write_text(gone, encoding="utf-8")
    scene = neural_render.load(moved)
    with pytest.raises(CaptureError, match="is not there: give an existing folder"):
        _ = scene.cameras
    camera = neural_render.Camera.looking((0, -4, 0), (0, 0, 0), size=(8, 8))
    assert scene.render(camera).opacity[4, 4] > 0.9  # what needs no photos works without


def test_what_the_package_does_not_have() -> None:
    assert neural_render.Scene is Scene
    with pytest.raises(AttributeError, match="has no attribute nonsense"):
        _ = neural_render.nonsense
