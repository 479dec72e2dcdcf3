"""The environment as Mitsuba's ``envmap`` has it, and what a camera sees of it."""

import math

import pytest
import torch

from neural_render.core.cameras import Cameras, image_rays
from neural_render.rendering.environment import EnvironmentMap
from tests.rendering.test_images import camera

RANDOM = torch.Generator().manual_seed(3)
PICTURE = torch.rand(5, 8, 3, generator=RANDOM) * 4
DIRECTIONS = torch.nn.functional.normalize(torch.randn(400, 3, generator=RANDOM), dim=1)


def turned(axis: tuple[int, int, int], degrees: float) -> torch.Tensor:
    """The rotation about an axis (Rodrigues)."""
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis).float(), dim=0).tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def directions(cameras: Cameras) -> torch.Tensor:
    """Where the pixels of the first camera look."""
    size = int(cameras.height[0]), int(cameras.width[0]), 3
    return image_rays(cameras, 0).directions.view(*size)


ROTATIONS = {"as it is": torch.eye(3), "turned": turned((1, 2, 3), 50) @ turned((1, 0, 0), 90)}


@pytest.mark.parametrize("name", ROTATIONS)
@pytest.mark.parametrize("shape", [(5, 8), (3, 4)])
def test_it_is_mitsubas(name: str, shape: tuple[int, int]) -> None:
    mitsuba = pytest.importorskip("mitsuba", reason="no mitsuba: pip install '.[bake]'")
    mitsuba.set_variant("scalar_rgb")
    picture, rotation = PICTURE[: shape[0], : shape[1]], ROTATIONS[name]
    matrix = torch.eye(4)
    matrix[:3, :3] = rotation
    scene = mitsuba.load_dict(
        {
            "type": "scene",
            "sky": {
                "type": "envmap",
                "bitmap": mitsuba.Bitmap(picture.contiguous().numpy()),
                "to_world": mitsuba.ScalarTransform4f(matrix.numpy()),
            },
        }
    )
    wanted = []
    for direction in DIRECTIONS.tolist():
        place = mitsuba.SurfaceInteraction3f()
        place.wi = mitsuba.Vector3f(*(-value for value in direction))
        wanted.append([float(value) for value in scene.environment().eval(place)])
    found = EnvironmentMap(picture=picture, world_from_environment=rotation).radiance(DIRECTIONS)
    torch.testing.assert_close(found, torch.tensor(wanted), atol=2e-5, rtol=1e-5)


def test_known_directions() -> None:
    """Up is the first row; ahead (-z) is left's and right's middle: the picture's two ends."""
    picture = torch.zeros(3, 4, 3)
    picture[0, :, 0], picture[2, :, 2] = 7.0, 5.0
    picture[1, 0, 1], picture[1, 3, 1] = 1.0, 3.0
    sky = EnvironmentMap(picture=picture, world_from_environment=torch.eye(3))
    found = sky.radiance(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]))
    torch.testing.assert_close(
        found, torch.tensor([[7.0, 0, 0], [0, 0, 5.0], [0, 2.0, 0]]), atol=1e-5, rtol=0
    )


def test_one_pixel_is_the_same_all_around() -> None:
    sky = EnvironmentMap(picture=torch.full((1, 1, 3), 2.5), world_from_environment=torch.eye(3))
    assert torch.equal(sky.radiance(DIRECTIONS), torch.full((400, 3), 2.5))


def test_a_camera_sees_it_averaged_over_each_pixel() -> None:
    """A bright spot smaller than a pixel is not missed."""
    picture = torch.zeros(512, 1024, 3)
    seen = camera(9, 7)
    sky = EnvironmentMap(picture=picture, world_from_environment=torch.eye(3))
    ahead = seen.world_from_camera[0, :, 2]
    u = (math.atan2(ahead[0], -ahead[2]) / math.tau) % 1
    row, column = round(math.acos(ahead[1]) / math.pi * 511), int(u * 1024)
    picture[row - 2 : row + 3, column - 2 : column + 3] = 100.0
    found = sky.behind(directions(seen), torch.ones(7, 9) > 0)
    assert found.shape == (7, 9, 3)
    assert found[3, 4, 0] > 1 and found[0, 0, 0] == 0
    assert found[..., 0].max() == found[3, 4, 0]


def test_upright_cameras_see_the_zenith_above() -> None:
    picture = torch.zeros(32, 64, 3)
    picture[:16] = 1.0
    sky = EnvironmentMap(picture=picture, world_from_environment=turned((1, 0, 0), 90))
    found = sky.behind(directions(camera(8, 20)), torch.ones(20, 8) > 0)  # of a world whose z is up
    assert (found[:7] > 0.99).all() and (found[13:] < 0.01).all()


def test_pixels_that_nobody_wants_are_black() -> None:
    sky = EnvironmentMap(picture=torch.full((3, 4, 3), 2.0), world_from_environment=torch.eye(3))
    wanted = torch.zeros(7, 9, dtype=torch.bool)
    seen = directions(camera(9, 7))
    assert not sky.behind(seen, wanted).any()
    wanted[2, 3] = True
    found = sky.behind(seen, wanted)
    assert found[2, 3].tolist() == pytest.approx([2.0] * 3) and found.count_nonzero() == 3


def test_a_point_of_a_pixel_is_looked_up_alone() -> None:
    """Where directions differ from pixel to pixel at random."""
    sky = EnvironmentMap(picture=PICTURE, world_from_environment=torch.eye(3))
    toward = DIRECTIONS[:12].view(3, 4, 3)
    found = sky.behind(toward, torch.ones(3, 4) > 0, 0.0)
    torch.testing.assert_close(found.view(-1, 3), sky.radiance(DIRECTIONS[:12]))
