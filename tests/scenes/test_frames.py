"""The field's cube: around what cameras see, finest where they see most."""

from pathlib import Path

import pytest
import torch

from neural_render.core.errors import SceneError
from neural_render.core.protocols import SceneFrame
from neural_render.scenes.settings import ViewSettings
from neural_render.scenes.source import MOST_CASCADES, scene_frame
from tests.scenes.readers.scenes import load
from tests.scenes.small_scenes import write_scene
from tests.scenes.tracing.tracers import started

Corner = tuple[float, float, float]


def frame(low: Corner, high: Corner, most_low: Corner, most_high: Corner) -> SceneFrame:
    """Of a scene in bounds, all of which is seen, and mostly a part of it."""
    seen = {"seen": (low, high), "mostly_seen": (most_low, most_high)}
    return scene_frame({"low": low, "high": high}, seen)


def in_field(found: SceneFrame, *points: Corner) -> torch.Tensor:
    """Places relative to the cube's middle, in cubes."""
    return found.world_from_field.inverse().apply(torch.tensor(points, dtype=torch.float32)) - 0.5


def test_a_compact_scene_is_one_cube() -> None:
    found = frame((-1, 0, 2), (3, 2, 4), (-0.8, 0, 2), (2.8, 2, 3.9))
    assert found.cascades == 1
    corners = in_field(found, (-1, 0, 2), (3, 2, 4))
    assert corners.abs().max() < 0.5
    torch.testing.assert_close(corners.abs().max(), torch.tensor(0.5), rtol=0.03, atol=0)


@pytest.mark.parametrize("far", [3.0, 17.0, 100.0])
def test_what_lies_far_around_is_in_outer_cascades(far: float) -> None:
    """And the region of interest holds what is mostly seen, without much waste."""
    found = frame((-far, -1, -far), (far, 5, far), (-1, -1, -1), (1, 1, 1))
    assert in_field(found, (-far, -1, -far), (far, 5, far)).abs().max() <= 0.5
    region = 2.0 ** (1 - found.cascades)
    inner = in_field(found, (-1, -1, -1), (1, 1, 1)).abs().max()
    assert region / 4 < inner <= region / 2


def test_cascades_have_an_end() -> None:
    found = frame((-1e6, 0, 0), (1e6, 1, 1), (-1, 0, 0), (1, 1, 1))
    assert found.cascades == MOST_CASCADES
    assert found.world_from_field.scale == pytest.approx(2.04 * 2**MOST_CASCADES)


def test_what_nobody_sees_is_left_out() -> None:
    """A floor of 2 km of which the cameras see 10 m."""
    found = scene_frame(
        {"low": (-1000, 0, -1000), "high": (1000, 2, 1000)},
        {"seen": ((-5, 0, -5), (5, 2, 5)), "mostly_seen": ((-1, 0, -1), (1, 2, 1))},
    )
    assert found.world_from_field.scale < 15
    assert in_field(found, (-5, 0, -5), (5, 2, 5)).abs().max() < 0.5


def test_one_place_that_is_seen_is_a_cube() -> None:
    """A thin needle, of which all but a little is a point."""
    found = frame((0, 0, 0), (1, 0, 0), (0.5, 0, 0), (0.5, 0, 0))
    assert found.cascades == 1
    assert found.world_from_field.scale > 1


def test_floors_do_not_matter_for_what_is_framed(tmp_path: Path) -> None:
    """The ball of radius 1 around (0, 0, 1), not the floor of side 6 nor the lamp."""
    (low, high) = load(write_scene(tmp_path)).objects
    assert low == pytest.approx((-1, -1, 0), abs=1e-5)
    assert high == pytest.approx((1, 1, 2), abs=1e-5)


def test_a_shell_is_around_what_is_asked_for(tmp_path: Path) -> None:
    views = ViewSettings(kind="shell", center=[1.0, 2.0, 3.0], radius=0.5, fov=60.0)
    process = started(write_scene(tmp_path), views)
    try:
        poses = torch.tensor(
            process.ask("poses", command="poses", num=50, seed=0)["world_from_camera"]
        )
    finally:
        process.close()
    distance = (poses[:, :, 3] - torch.tensor([1.0, 2.0, 3.0])).norm(dim=1)
    torch.testing.assert_close(distance, torch.ones(50))


@pytest.mark.parametrize("center", [[1.0, 2.0], [1.0, float("nan"), 0.0]])
def test_a_middle_that_is_no_place(tmp_path: Path, center: list[float]) -> None:
    with pytest.raises(SceneError, match=r"views\.center"):
        started(write_scene(tmp_path), ViewSettings(kind="shell", center=center))
