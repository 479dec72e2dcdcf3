"""Where cameras stand whose rays are traced: around the file's, on a shell, in free space."""

import math
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.core.cameras import image_rays
from neural_render.core.errors import SceneError, SettingError
from neural_render.scenes.records import LoadedScene, SceneCamera, Triple
from neural_render.scenes.references import drawn_cameras
from neural_render.scenes.settings import ViewSettings
from neural_render.scenes.views import Distances, Poses, Viewpoints, look_at, viewpoints
from tests.scenes.small_scenes import CAMERA, write_scene
from tests.scenes.tracing.tracers import started

NUM = 2000
MIDDLE = np.array([1.0, 2.0, 3.0])
UP: Triple = (0.0, 0.0, 1.0)


def nowhere(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """A scene without surfaces."""
    return np.full(len(origins), np.inf)


def camera_at(*position: float) -> SceneCamera:
    """One that looks past the middle, half a unit to the side."""
    target = MIDDLE[None] + np.array([0.5, 0, 0])
    (pose,) = look_at(np.array([position]), target, np.array([[0.0, 0.0, 1.0]]))
    rows = tuple((float(x), float(y), float(z), float(at)) for x, y, z, at in pose)
    return SceneCamera(
        name="front", world_from_camera=rows, width=80, height=40, fov_x_rad=math.radians(60)
    )


def scene_with(*cameras: SceneCamera) -> LoadedScene:
    """A cube of side 2 around the middle that is nothing but its bounds."""
    low, high = (MIDDLE - 1).tolist(), (MIDDLE + 1).tolist()
    return LoadedScene(
        path=Path("scene.xml"),
        format="test",
        scene=None,
        lights=(),
        cameras=cameras,
        low=(low[0], low[1], low[2]),
        high=(high[0], high[1], high[2]),
        objects=((low[0], low[1], low[2]), (high[0], high[1], high[2])),
        up=UP,
        max_depth=2,
        warnings=(),
    )


def drawn(
    settings: ViewSettings, scene: LoadedScene, up: Triple = UP, distances: Distances = nowhere
) -> tuple[Viewpoints, Poses]:
    found = viewpoints(settings, scene, up, distances)
    return found, found.draw(NUM, np.random.default_rng(2))


def check_rotations(poses: Poses) -> None:
    turned = poses.world_from_camera[:, :, :3]
    np.testing.assert_allclose(
        turned.swapaxes(1, 2) @ turned, np.broadcast_to(np.eye(3), turned.shape), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(turned), 1)


def test_cameras_stand_on_a_disc_around_the_files(tmp_path: Path) -> None:
    """They face the point of the file's axis that is closest to the middle."""
    camera = camera_at(1.0, -8.0, 5.0)
    views, poses = drawn(ViewSettings(spread=0.25), scene_with(camera))
    assert views.kind == "cameras"
    check_rotations(poses)
    own = np.array(camera.world_from_camera)
    axis, position = own[:, 2], own[:, 3]
    along = (MIDDLE - position) @ axis
    target = position + along * axis
    offset = poses.world_from_camera[:, :, 3] - position
    np.testing.assert_allclose(offset @ axis, 0, atol=1e-9)
    radius = np.linalg.norm(offset, axis=1)
    assert 0.95 * 0.25 * along < radius.max() <= 0.25 * along
    # The disc is evenly filled: half of it lies beyond 1 / sqrt(2) of its radius.
    assert np.mean(radius > 0.25 * along / math.sqrt(2)) == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(offset.mean(axis=0) / along, 0, atol=0.1 * 0.25)
    to_target = target - poses.world_from_camera[:, :, 3]
    to_target /= np.linalg.norm(to_target, axis=1, keepdims=True)
    np.testing.assert_allclose(poses.world_from_camera[:, :, 2], to_target, atol=1e-9)
    assert np.all(poses.world_from_camera[:, 2, 1] < 0), "pictures stand upright"
    np.testing.assert_allclose(poses.half_width, math.tan(math.radians(30)))
    np.testing.assert_allclose(poses.half_height, math.tan(math.radians(30)) / 2)


def test_a_spread_of_0_is_the_files_camera() -> None:
    camera = camera_at(1.0, -8.0, 5.0)
    _, poses = drawn(ViewSettings(spread=0.0), scene_with(camera))
    expected = np.broadcast_to(np.array(camera.world_from_camera), (NUM, 3, 4))
    np.testing.assert_allclose(poses.world_from_camera, expected, atol=1e-9)


def test_all_cameras_of_the_file_are_drawn() -> None:
    cameras = camera_at(1.0, -8.0, 5.0), camera_at(9.0, 2.0, 4.0)
    _, poses = drawn(ViewSettings(spread=0.1), scene_with(*cameras))
    assert np.mean(poses.world_from_camera[:, 1, 3] < -4) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("up", [UP, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])
@pytest.mark.parametrize("hemisphere", [True, False])
def test_a_shell_looks_at_the_middle(up: Triple, hemisphere: bool) -> None:
    settings = ViewSettings(hemisphere=hemisphere, fov=50.0)
    views, poses = drawn(settings, scene_with(), up)
    assert views.kind == "shell"
    check_rotations(poses)
    offset = poses.world_from_camera[:, :, 3] - MIDDLE
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), views.framing_distance)
    np.testing.assert_allclose(
        poses.world_from_camera[:, :, 2], -offset / views.framing_distance, atol=1e-9
    )
    height = offset @ np.asarray(up) / views.framing_distance
    assert height.max() > 0.98
    assert height.min() >= 0 if hemisphere else height.min() < -0.98
    # Evenly over the sphere: heights are evenly spread, the other axes balanced.
    assert height.mean() == pytest.approx(0.5 if hemisphere else 0, abs=0.05)
    aside = offset.mean(axis=0) - height.mean() * views.framing_distance * np.asarray(up)
    np.testing.assert_allclose(aside / views.framing_distance, 0, atol=0.05)
    assert np.all(poses.world_from_camera[:, :, 1] @ np.asarray(up) <= 1e-9), "upright"


def test_the_shells_distance_frames_the_bounds() -> None:
    """The bounding sphere touches the sides of the picture, and twice as far away it is smaller."""
    views, poses = drawn(ViewSettings(fov=50.0), scene_with())
    angle = math.asin(math.sqrt(3) / views.framing_distance)
    assert math.tan(angle) == pytest.approx(poses.half_width[0])
    _, far = drawn(ViewSettings(fov=50.0, distance=2.0), scene_with())
    offset = far.world_from_camera[:, :, 3] - MIDDLE
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 2 * views.framing_distance)


@pytest.mark.parametrize("kind", ["auto", "cameras"])
def test_auto_takes_the_files_cameras_where_it_has_any(kind: str) -> None:
    views, _ = drawn(ViewSettings(kind=kind), scene_with(camera_at(1.0, -8.0, 5.0)))
    assert views.kind == "cameras"
    views, _ = drawn(ViewSettings(kind="shell"), scene_with(camera_at(1.0, -8.0, 5.0)))
    assert views.kind == "shell"


def test_cameras_that_the_file_has_not() -> None:
    with pytest.raises(SettingError, match=r"views.kind=cameras, but scene.xml has no camera"):
        drawn(ViewSettings(kind="cameras"), scene_with())


def in_a_room(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """A cube of half side 1 around the middle with a ball of radius 0.5 in it, seen from inside."""
    place = origins - MIDDLE
    with np.errstate(divide="ignore"):
        wall = ((np.sign(directions) - place) / directions).min(axis=1)
    along = -np.einsum("ri,ri->r", place, directions)
    inside = 0.25 - (np.einsum("ri,ri->r", place, place) - along**2)
    half = np.sqrt(np.maximum(inside, 0))
    ball = np.where(along - half > 0, along - half, along + half)
    return np.where((inside > 0) & (ball > 0), ball, wall)


def over_a_floor(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """What looks down sees a floor."""
    return np.where(directions[:, 2] < 0, (origins[:, 2] - 2) / -directions[:, 2], np.inf)


def test_inside_a_closed_room_cameras_keep_off_surfaces() -> None:
    settings = ViewSettings(kind="interior")
    _, poses = drawn(settings, scene_with(), distances=in_a_room)
    check_rotations(poses)
    position = poses.world_from_camera[:, :, 3] - MIDDLE
    assert 0.8 < np.abs(position).max() < 0.98
    # All around: looking directions are evenly spread.
    np.testing.assert_allclose(poses.world_from_camera[:, :, 2].mean(axis=0), 0, atol=0.06)
    assert len(np.unique(position, axis=0)) > 300


def test_a_field_of_view_that_cameras_inside_do_not_have() -> None:
    _, poses = drawn(ViewSettings(kind="interior"), scene_with(), distances=in_a_room)
    np.testing.assert_allclose(poses.half_width, math.tan(math.radians(40)))
    said = r"views.fov=60 is of cameras on a shell, .* see 80 degrees: leave it at 40"
    with pytest.raises(SettingError, match=said):
        drawn(ViewSettings(kind="interior", fov=60.0), scene_with(), distances=in_a_room)


def test_an_open_scene_has_no_inside() -> None:
    with pytest.raises(SceneError, match=r"scene.xml has no free space inside: .* give views.kind"):
        drawn(ViewSettings(kind="interior"), scene_with(), distances=over_a_floor)


def test_rays_lie_within_the_pictures() -> None:
    _, poses = drawn(ViewSettings(spread=0.3), scene_with(camera_at(1.0, -8.0, 5.0)))
    origins, directions = poses.rays(np.random.default_rng(4))
    assert np.array_equal(origins, poses.world_from_camera[:, :, 3])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    local = np.einsum("rij,ri->rj", poses.world_from_camera[:, :, :3], directions)
    across = local[:, :2] / local[:, 2:] / [poses.half_width[0], poses.half_height[0]]
    assert 0.98 < across.max() <= 1 + 1e-9 and -1 - 1e-9 <= across.min() < -0.98
    np.testing.assert_allclose(across.mean(axis=0), 0, atol=0.05)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (30, 90)])
def test_held_out_cameras_see_what_is_traced(tmp_path: Path, width: int, height: int) -> None:
    """The pixels of the cameras that are rendered are those of the pictures of the tracer."""
    more = CAMERA.format(name="front", origin="0, -6, 3", width=width, height=height)
    with closing(started(write_scene(tmp_path, more=more))) as process:
        cameras = drawn_cameras(process, num=3, seed=5, side=32)
        pose = process.ask("poses", command="poses", num=3, seed=5)
        assert len(drawn_cameras(process, num=0, seed=5, side=32)) == 0
    for index in range(3):
        size = np.array([int(cameras.width[index]), int(cameras.height[index])])
        assert size.max() == 32
        x, y = np.meshgrid(*[np.arange(side) + 0.5 for side in size])
        across = 2 * np.stack([x, y], axis=-1).reshape(-1, 2) / size - 1
        part = {
            name: np.array(values)[index : index + 1]
            for name, values in pose.items()
            if name != "event"
        }
        origins, directions = Poses(**part).through(across)
        rays = image_rays(cameras, index)
        np.testing.assert_allclose(rays.origins.numpy(), origins, atol=1e-5)
        np.testing.assert_allclose(rays.directions.numpy(), directions, atol=1e-5)
    assert torch.equal(cameras.width > cameras.height, torch.full((3,), width > height))
