"""Scenes seen from one side: what cameras and points make of them, and where things come to lie."""

import math

import pytest
import torch

from neural_render.captures.placement.forward import forward_frame
from neural_render.captures.placement.scene import place_scene
from neural_render.captures.placement.seen_space import SeenSpace
from neural_render.captures.readers.listing import Placement
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras, Lens, image_rays
from neural_render.core.transforms import look_at

SIZE, FOCAL = (40, 30), 50.0
NOTHING = SeenSpace(places=torch.zeros(0, 3).double(), view=torch.zeros(0).long())


def side_by_side(spread: float = 1.0, turn: float = 0.05) -> Cameras:
    """Nine cameras in a plane that look along +y, each turned a little."""
    steps = torch.linspace(-1, 1, 3)
    offsets = torch.cartesian_prod(steps, steps)
    positions = torch.zeros(9, 3)
    positions[:, 0], positions[:, 2] = spread * offsets[:, 0] + 7, spread * offsets[:, 1]
    targets = positions + torch.tensor([0.0, 1.0, 0.0])
    targets[:, 0] += turn * offsets[:, 1]
    poses = look_at(positions, targets, torch.tensor([0.0, 0.0, 1.0]).expand(9, 3))
    return Cameras(
        world_from_camera=poses,
        focal_px=torch.full((9, 2), FOCAL),
        center_px=torch.tensor([SIZE]).repeat(9, 1) / 2,
        distortion=torch.zeros(9, 6),
        lens=torch.full((9,), int(Lens.PERSPECTIVE)),
        width=torch.full((9,), SIZE[0]),
        height=torch.full((9,), SIZE[1]),
    )


def things(low: float, high: float) -> SeenSpace:
    """Places at depths from low to high in front of all cameras."""
    depth = torch.linspace(low, high, 400, dtype=torch.float64)
    places = torch.stack([7 + 0.1 * depth.sin() * depth, depth, 0 * depth], dim=-1)
    return SeenSpace(places=places, view=torch.arange(400) % 9)


def test_all_that_cameras_side_by_side_see_lies_in_the_cube() -> None:
    cameras = side_by_side()
    frame, reason = forward_frame(cameras, things(6, 60))
    assert frame is not None
    assert "nothing is nearer than" in reason and "the points or bounds say" in reason
    near = frame.world_from_field.scale
    assert 0.85 * 6 < near < 6.2
    placed = cameras.in_frame(frame.world_from_field.inverse())
    for camera in range(9):
        rays = image_rays(placed, camera)
        for distance in (1.2, 3.0, 100.0, 1e5):
            images = frame.projection.apply(rays.origins + distance * rays.directions)
            assert ((images > 0) & (images < 1 + 1e-6)).all()


def test_cells_are_even_in_disparity() -> None:
    frame, _ = forward_frame(side_by_side(turn=0.0), things(10, 50))
    assert frame is not None
    axis = torch.tensor([[0.0, 2.0, 0.0], [0.0, 4.0, 0.0], [0.0, 1.0, 0.0]])
    depth = frame.projection.apply(axis)[:, 2]
    assert depth.tolist() == pytest.approx([0.5, 0.75, 0.0], abs=1e-5)


def test_without_points_nothing_is_nearer_than_the_cameras_are_apart() -> None:
    frame, reason = forward_frame(side_by_side(), NOTHING)
    assert frame is not None and "guessed" in reason
    assert frame.world_from_field.scale == pytest.approx(math.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("cameras", "seen", "reason"),
    [
        (side_by_side(turn=3.0), NOTHING, "do not look the same way"),
        (side_by_side(spread=20.0), things(5, 9), "times as wide as one"),
        (side_by_side(), things(-5, 9), "beside or behind some cameras"),
    ],
)
def test_other_scenes_are_not_seen_from_one_side(
    cameras: Cameras, seen: SeenSpace, reason: str
) -> None:
    frame, why_not = forward_frame(cameras, seen)
    assert frame is None and reason in why_not


def test_they_are_recognised_unless_something_else_is_stated() -> None:
    cameras, seen = side_by_side(), things(6, 60)

    def kind(
        placement: Placement = Placement(),  # noqa: B008
        scene: str = "auto",
        scale: float = 0.0,
        aabb_scale: int = 0,
    ) -> str:
        chosen = CaptureSettings(scene=scene, scale=scale, aabb_scale=aabb_scale)
        return place_scene(cameras, placement, chosen, has_opacity=False, seen=seen).kind

    assert kind() == "forward"
    assert kind(scene="unbounded") == "unbounded"
    assert kind(scale=0.1) == "unbounded"
    assert kind(aabb_scale=16) == "unbounded"
    stated = Placement(center=(0.0, 0.0, 0.0), half_extent=2.0)
    assert kind(stated) == "bounded"
    assert kind(stated, scene="forward") == "forward"
