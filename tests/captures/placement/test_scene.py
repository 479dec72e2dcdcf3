"""Where the scene is placed: known answers for cameras on a sphere, side by side, looking out."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_render.captures.placement.regions import focus_of_axes
from neural_render.captures.placement.scene import place_scene
from neural_render.captures.placement.seen_space import SeenSpace
from neural_render.captures.readers.listing import Placement
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras, Lens, image_rays
from neural_render.core.errors import SettingError
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import look_at
from tests.tiny_capture import camera_poses

FOCAL, SIZE = 100.0, (80, 60)
NARROWER_TANGENT = 30 / FOCAL
UP = torch.tensor([0.0, 0.0, 1.0])
NOTHING = SeenSpace(places=torch.zeros(0, 3).double(), view=torch.zeros(0).long())


def make_cameras(poses: torch.Tensor, lens: Lens = Lens.PERSPECTIVE) -> Cameras:
    count = len(poses)
    return Cameras(
        world_from_camera=poses.float(),
        focal_px=torch.full((count, 2), FOCAL),
        center_px=torch.tensor([SIZE]).repeat(count, 1) / 2,
        distortion=torch.zeros(count, 6),
        lens=torch.full((count,), int(lens)),
        width=torch.full((count,), SIZE[0]),
        height=torch.full((count,), SIZE[1]),
    )


def around(center: tuple[float, float, float], distance: float, count: int = 20) -> Cameras:
    """Cameras at a distance all around a point that they look at."""
    target = torch.tensor(center)
    positions = torch.from_numpy(camera_poses(count)[:, :3, 2]).float() * distance + target
    return make_cameras(look_at(positions, target.expand_as(positions), UP.expand_as(positions)))


def place(
    cameras: Cameras,
    placement: Placement | None = None,
    *,
    has_opacity: bool = False,
    seen: SeenSpace = NOTHING,
    **settings: Any,
) -> tuple[SceneFrame, tuple[str, ...]]:
    """The frame and the warnings."""
    place = place_scene(
        cameras,
        placement or Placement(),
        CaptureSettings(**settings),
        has_opacity=has_opacity,
        seen=seen,
    )
    return place.frame, place.warnings


def center_of(frame: SceneFrame) -> list[float]:
    return frame.world_from_field.apply(torch.full((1, 3), 0.5))[0].tolist()


def interest_half_extent(frame: SceneFrame) -> float:
    """Half the side of cascade 0 in the world."""
    return frame.world_from_field.scale * 2.0 ** (1 - frame.cascades) / 2


coordinate = st.floats(-20, 20)


@given(st.tuples(coordinate, coordinate, coordinate), st.floats(0.5, 50))
def test_an_object_with_opacity_fills_the_cube(
    center: tuple[float, float, float], distance: float
) -> None:
    frame, warnings = place(around(center, distance), has_opacity=True)
    assert warnings == () and frame.cascades == 1 and frame.near == 0
    assert center_of(frame) == pytest.approx(center, abs=1e-3 * distance + 1e-4)
    assert interest_half_extent(frame) == pytest.approx(distance * NARROWER_TANGENT, rel=1e-3)


def test_a_sphere_that_all_cameras_see_whole_is_inside() -> None:
    frame, _ = place(around((1.0, 2.0, 3.0), 5.0), has_opacity=True)
    seen_whole = 5.0 * math.sin(math.atan(NARROWER_TANGENT))
    assert seen_whole < interest_half_extent(frame)


def test_photos_get_a_background() -> None:
    cameras = around((0.0, 0.0, 0.0), 2.0)
    frame, warnings = place(cameras)
    assert warnings == ()
    assert interest_half_extent(frame) == pytest.approx(2 * NARROWER_TANGENT, rel=1e-3)
    assert frame.cascades == 4  # the cameras stand 3.3 half extents away; twice that is within 8
    field = cameras.in_frame(frame.world_from_field.inverse()).world_from_camera[:, :, 3]
    assert ((field > 0) & (field < 1)).all()
    assert frame.near == pytest.approx(0.1 / 8)


def test_a_few_cameras_that_look_elsewhere_change_little() -> None:
    cameras = around((0.0, 0.0, 0.0), 4.0, count=20)
    poses = cameras.world_from_camera.clone()
    poses[3:6] = look_at(
        poses[3:6, :, 3], torch.tensor([30.0, -20.0, 10.0]).expand(3, 3), UP.expand(3, 3)
    )
    frame, _ = place(make_cameras(poses), has_opacity=True)
    assert center_of(frame) == pytest.approx([0, 0, 0], abs=0.02)


def test_the_focus_is_where_axes_meet() -> None:
    positions = torch.tensor([[2.0, 0, 0], [0, 3, 0], [0, 0, 4]], dtype=torch.float64)
    axes = torch.nn.functional.normalize(torch.tensor([1.0, 1, 1]).double() - positions, dim=-1)
    focus, spread = focus_of_axes(positions, axes)
    assert focus.tolist() == pytest.approx([1, 1, 1])
    assert 0.1 < spread < 0.7


def test_cameras_side_by_side_are_told() -> None:
    positions = torch.tensor([[x, 0.0, z] for x in (-1.0, 0.0, 1.0) for z in (-0.5, 0.5)])
    poses = look_at(positions, positions + torch.tensor([0.0, 1.0, 0.0]), UP.expand_as(positions))
    frame, (warning,) = place(make_cameras(poses), scene="unbounded")
    assert "the cameras look the same way" in warning and "capture.scale" in warning
    distance = 4 * math.hypot(1, 0.5)
    assert center_of(frame) == pytest.approx([0, distance, 0], abs=1e-4)
    assert interest_half_extent(frame) == pytest.approx(distance * NARROWER_TANGENT)
    assert frame.cascades >= 3
    inside = make_cameras(poses).in_frame(frame.world_from_field.inverse())
    assert ((inside.world_from_camera[:, :, 3] - 0.5).abs() < 0.5).all()
    assert place(make_cameras(poses), scale=0.1)[1] == ()


def known(places: torch.Tensor, num_views: int) -> SeenSpace:
    """Each place, seen by every camera."""
    view = torch.arange(num_views).repeat_interleave(len(places))
    return SeenSpace(places=places.double().repeat(num_views, 1), view=view)


def test_points_say_how_far_the_background_reaches_and_from_where_on_something_is() -> None:
    cameras = around((0.0, 0.0, 0.0), 2.0)
    generator = torch.Generator().manual_seed(0)
    near = torch.rand(950, 3, generator=generator) - 0.5
    far = torch.nn.functional.normalize(torch.randn(45, 3, generator=generator), dim=1) * 15
    wrong = torch.full((5, 3), 1e4)  # triangulated from a mistaken match
    seen = known(torch.cat([near, far, wrong]), len(cameras))
    frame, warnings = place(cameras, seen=seen)
    assert warnings == ()
    assert interest_half_extent(frame) == pytest.approx(2 * NARROWER_TANGENT, rel=1e-3)
    assert frame.cascades == 6  # 15 is 25 half extents away
    nearest = frame.near * frame.world_from_field.scale
    assert 0.6 < nearest < 0.6 * 1.7  # a camera at 2.0 sees things from about 1.5 on
    assert place(cameras, seen=seen, aabb_scale=4)[0].cascades == 3


def test_points_say_where_cameras_that_look_around_see_something() -> None:
    inward = around((1.0, 0.0, 0.0), 0.5)
    poses = inward.world_from_camera.clone()
    poses[:, :, 0] *= -1
    poses[:, :, 2] *= -1
    generator = torch.Generator().manual_seed(0)
    walls = 3 * (2 * torch.rand(500, 3, generator=generator) - 1) + torch.tensor([1.0, 0.0, 0.0])
    frame, warnings = place(make_cameras(poses), seen=known(walls, len(poses)))
    assert warnings == ()
    assert center_of(frame) == pytest.approx([1, 0, 0], abs=0.3)
    assert interest_half_extent(frame) == pytest.approx(3 * 0.75 ** (1 / 3), rel=0.1)


def test_a_scene_is_not_where_axes_meet_if_nothing_is_there() -> None:
    cameras = around((0.0, 0.0, 0.0), 2.0)
    generator = torch.Generator().manual_seed(0)
    elsewhere = torch.rand(500, 3, generator=generator) + torch.tensor([5.0, 0.0, 0.0])
    frame, _ = place(cameras, seen=known(elsewhere, len(cameras)))
    assert center_of(frame) == pytest.approx([5.5, 0.5, 0.5], abs=0.1)


def test_a_few_points_say_nothing() -> None:
    cameras = around((0.0, 0.0, 0.0), 2.0, count=3)
    seen = known(torch.full((10, 3), 50.0), 3)
    assert not seen.is_known
    assert place(cameras, seen=seen) == place(cameras)
    assert NOTHING.nearest(cameras) == math.inf


def test_the_kind_of_scene_can_be_stated() -> None:
    cameras = around((0.0, 0.0, 0.0), 2.0)
    assert place(cameras, scene="bounded")[0].cascades == 1
    assert place(cameras, scene="unbounded", has_opacity=True)[0].cascades == 4
    with pytest.raises(SettingError, match="from one side, but the cameras do not look the same"):
        place(cameras, scene="forward")


@pytest.mark.parametrize("scene", ["bounded", "unbounded"])
@pytest.mark.parametrize(("stated", "cascades"), [(1, 1), (4, 3)])
def test_the_stated_kind_outranks_the_files_size(scene: str, stated: int, cascades: int) -> None:
    """Where both say the same, the file says how large that is."""
    cameras = around((0.0, 0.0, 0.0), 2.0)
    file = Placement(center=(0.0, 0.0, 0.0), half_extent=0.6, aabb_scale=stated)
    assert place(cameras, file)[0].cascades == cascades
    found = place_scene(
        cameras, file, CaptureSettings(scene=scene), has_opacity=False, seen=NOTHING
    )
    assert (found.kind, found.reason) == (scene, "capture.scene says so")
    assert interest_half_extent(found.frame) == pytest.approx(0.6)
    agreed = (stated > 1) == (scene == "unbounded")
    assert found.frame.cascades == (cascades if agreed else 4 if scene == "unbounded" else 1)


def test_the_stated_size_outranks_the_stated_kind() -> None:
    settings = CaptureSettings(scene="bounded", aabb_scale=4)
    found = place_scene(
        around((0.0, 0.0, 0.0), 2.0), Placement(), settings, has_opacity=False, seen=NOTHING
    )
    assert found.frame.cascades == 3
    assert (found.kind, found.reason) == ("unbounded", "capture.aabb_scale says so")


def test_cameras_that_look_outward_are_told() -> None:
    inward = around((1.0, 0.0, 0.0), 0.5)
    poses = inward.world_from_camera.clone()
    poses[:, :, 0] *= -1  # turned by half a turn about y
    poses[:, :, 2] *= -1
    frame, (warning,) = place(make_cameras(poses))
    assert "look away from each other" in warning and "capture.aabb_scale" in warning
    assert interest_half_extent(frame) == pytest.approx(1.0, rel=0.1)
    assert frame.cascades >= 3 and frame.near > 0


def test_a_stated_placement_is_instant_ngps() -> None:
    stated = Placement(center=(0.5, 0.0, -0.5), half_extent=0.5 / 0.33, aabb_scale=4)
    frame, _ = place(around((9.0, 9.0, 9.0), 6.0), stated)
    assert center_of(frame) == pytest.approx([0.5, 0.0, -0.5])
    assert interest_half_extent(frame) == pytest.approx(0.5 / 0.33)
    assert frame.cascades == 3
    assert frame.world_from_field.scale == pytest.approx(4 / 0.33)


@pytest.mark.parametrize(
    "stated", [Placement(), Placement(center=(0.0, 0.0, 0.0), half_extent=2.0)]
)
def test_settings_outrank_everything(stated: Placement) -> None:
    stated = replace(stated, aabb_scale=2)
    frame, _ = place(around((0.0, 0.0, 0.0), 3.0), stated, scale=0.25, aabb_scale=16)
    assert interest_half_extent(frame) == pytest.approx(2.0)
    assert frame.cascades == 5
    assert center_of(frame) == pytest.approx([0, 0, 0], abs=1e-5)


def test_near_is_stated_in_field_units() -> None:
    close = Placement(center=(0.0, 0.0, 0.0), half_extent=1.0, aabb_scale=4)
    frame, _ = place(around((0.0, 0.0, 0.0), 2.0), close)
    assert frame.near == pytest.approx(0.1 / 4)  # a tenth of the cube of interest
    frame, _ = place(around((0.0, 0.0, 0.0), 20.0), close)
    assert frame.near == 0  # all cameras are outside


def test_a_fisheyes_angle_counts_as_an_angle() -> None:
    cameras = make_cameras(around((0.0, 0.0, 0.0), 2.0).world_from_camera, Lens.FISHEYE)
    frame, _ = place(cameras, has_opacity=True)
    assert interest_half_extent(frame) == pytest.approx(2 * math.tan(NARROWER_TANGENT), rel=1e-3)
    wide = replace(cameras, focal_px=torch.full((20, 2), 10.0))
    frame, _ = place(wide, has_opacity=True)
    assert interest_half_extent(frame) == pytest.approx(2 * math.tan(math.pi / 3), rel=1e-3)


def test_field_rays_and_world_rays_are_the_same_lines() -> None:
    cameras = around((1.0, -2.0, 0.5), 3.0)
    frame, _ = place(cameras)
    world = image_rays(cameras, 4)
    field = image_rays(cameras.in_frame(frame.world_from_field.inverse()), 4)
    assert torch.equal(world.directions, field.directions)
    assert torch.allclose(frame.world_from_field.apply(field.origins), world.origins, atol=1e-5)
