import math

import pytest
import torch
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens, rays_through_pixels
from neural_render.core.lenses.kinds import padded
from neural_render.core.transforms import look_at
from neural_render.kernels.cells import NUM_CELLS, unpack_bits
from neural_render.kernels.morton import morton_decode, morton_encode
from neural_render.rendering import OccupancyGrid
from neural_render.rendering.emptiness.visibility import seen_cells, widest_angles
from tests.rendering.analytic import CPU, SphereField


def cameras(
    positions: list[list[float]],
    targets: list[list[float]],
    lens: Lens = Lens.PERSPECTIVE,
    focal: float = 60.0,
    distortion: tuple[float, ...] = (0.0,) * 6,
) -> Cameras:
    """Pictures of 64 x 48 pixels."""
    number = len(positions)
    up = torch.tensor([[0.0, 0.0, 1.0]]).repeat(number, 1)
    poses = look_at(torch.tensor(positions), torch.tensor(targets), up)
    return Cameras(
        world_from_camera=poses,
        focal_px=torch.full((number, 2), focal),
        center_px=torch.tensor([[32.0, 24.0]]).repeat(number, 1),
        distortion=torch.tensor([distortion]).repeat(number, 1),
        lens=torch.full((number,), int(lens)),
        width=torch.full((number,), 64),
        height=torch.full((number,), 48),
    )


def cells_along_rays(seen_by: Cameras, near: float, side: float) -> Tensor:
    """The Morton codes of cells that rays of the cameras really cross."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(len(seen_by), (4000,), generator=generator)
    pixels = torch.rand((4000, 2), generator=generator) * torch.tensor([64.0, 48.0])
    rays = rays_through_pixels(seen_by, index, pixels)
    distances = near + torch.rand((4000, 50, 1), generator=generator) * 6
    points = rays.origins[:, None] + distances * rays.directions[:, None]
    local = ((points - 0.5) / side + 0.5).view(-1, 3)
    local = local[((local >= 0) & (local < 1)).all(-1)]
    return morton_encode((local * 128).long())


VIEWS = {
    "pinhole": cameras([[2.0, 0.5, 0.7], [0.5, -1.5, 0.6]], [[0.5, 0.5, 0.5]] * 2, focal=120.0),
    "distorted": cameras(
        [[1.6, 0.5, 0.7]],
        [[0.5, 0.5, 0.5]],
        focal=90.0,
        distortion=(-0.15, 0.03, 0.0, 0.0, 0.01, -0.01),
    ),
    "fisheye": cameras([[0.5, 0.4, 0.9]], [[0.5, 0.5, 0.1]], Lens.FISHEYE, focal=20.0),
    "field of view": cameras(
        [[1.6, 0.5, 0.7]],
        [[0.5, 0.5, 0.5]],
        Lens.FOV,
        focal=50.0,
        distortion=(*padded((), 15), 0.9, 0.0),
    ),
    "division": cameras(
        [[0.5, 0.4, 0.9]],
        [[0.5, 0.5, 0.1]],
        Lens.DIVISION,
        focal=40.0,
        distortion=(*padded((), 15), -0.9, 0.0),
    ),
    "unified": cameras(
        [[0.5, 0.4, 0.9]],
        [[0.5, 0.5, 0.1]],
        Lens.EUCM,
        focal=20.0,
        distortion=(*padded((), 15), 0.55, 1.1),
    ),
    "radial first": cameras(
        [[0.5, 0.4, 0.9]],
        [[0.5, 0.5, 0.1]],
        Lens.RADIAL_FIRST_FISHEYE,
        focal=25.0,
        distortion=padded((0.03, -0.005, 0.0, 0.0, 0.002, -0.001)),
    ),
    "inside": cameras([[0.5, 0.5, 0.5]], [[0.9, 0.6, 0.4]]),
    "tele": cameras([[5.0, 0.5, 0.5]], [[0.5, 0.6, 0.5]], focal=1500.0),
}


@pytest.mark.parametrize("side", [1.0, 0.5])
@pytest.mark.parametrize("name", VIEWS)
def test_every_cell_on_a_ray_is_seen(name: str, side: float) -> None:
    seen = seen_cells(VIEWS[name], side, near=0.1)
    crossed = cells_along_rays(VIEWS[name], near=0.1, side=side)
    assert len(crossed) > 1000
    assert seen[crossed].all()


@pytest.mark.parametrize("name", VIEWS)
def test_few_cells_off_all_rays_are_seen(name: str) -> None:
    """Against brute force: the picture widened by a generous two cells."""
    views = VIEWS[name]
    seen = seen_cells(views, 1.0, near=0.1)
    centers = (morton_decode(torch.arange(NUM_CELLS)) + 0.5) / 128
    strictly_off = torch.ones(NUM_CELLS, dtype=torch.bool)
    for pose, widest in zip(views.world_from_camera, widest_angles(views), strict=True):
        offset = centers - pose[:, 3]
        distance = offset.norm(dim=-1)
        angle = ((offset @ pose[:, 2]) / distance).clamp(-1, 1).acos()
        slack = (3.5 / 128 / distance).clamp(max=1).asin()
        strictly_off &= angle > widest + slack
    assert strictly_off.any() and not seen[strictly_off].any()


def test_an_equirectangular_picture_sees_all_around_it() -> None:
    view = cameras([[0.5, 0.5, 0.5]], [[0.9, 0.6, 0.4]], Lens.EQUIRECTANGULAR)
    view.focal_px[:] = torch.tensor([64 / (2 * math.pi), 48 / math.pi])
    seen = seen_cells(view, 1.0, near=0.1)
    crossed = cells_along_rays(view, near=0.1, side=1.0)
    assert seen[crossed].all() and seen.float().mean() > 0.99
    assert widest_angles(view).tolist() == pytest.approx([math.pi], abs=1e-3)


def test_cells_nearer_than_near_are_unseen() -> None:
    view = cameras([[0.5, 0.5, 0.5]], [[1.0, 0.5, 0.5]], focal=40.0)
    seen = seen_cells(view, 1.0, near=0.25).view(-1)
    for x, expected in ((70, False), (90, False), (100, True), (120, True), (40, False)):
        assert bool(seen[morton_encode(torch.tensor([[x, 64, 64]]))]) == expected
    other = cameras([[0.5, 0.5, 0.5], [0.5, 2.5, 0.5]], [[1.0, 0.5, 0.5], [0.5, 0.5, 0.5]])
    assert seen_cells(other, 1.0, near=0.25)[morton_encode(torch.tensor([[70, 64, 64]]))].all()


def test_widest_angles_are_those_of_the_corners() -> None:
    expected = math.atan(math.hypot(32, 24) / 120)
    assert widest_angles(VIEWS["pinhole"]).tolist() == pytest.approx([expected] * 2, rel=1e-5)


@pytest.mark.parametrize("cascades", [1, 2])
def test_unseen_cells_stay_empty_and_are_never_asked(cascades: int) -> None:
    grid = OccupancyGrid(cascades, CPU)
    view = cameras([[0.5, 0.5, 0.5]], [[1.0, 0.5, 0.5]])
    grid.mark_unseen(view, near=0.05)
    assert 0.0 < grid.fraction < 0.5
    unseen = grid.values < 0
    assert not unpack_bits(grid.bits)[unseen].any()

    class Halves(SphereField):
        def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
            assert (points[:, 0] > 0.5).all(), "a cell behind the only camera was asked"
            return super().density(points)

    field = Halves(2.0, 50.0, None)
    generator = torch.Generator()
    for full in (True, False, False):
        grid.update(field, step=2e-3, generator=generator, full=full)
    assert torch.equal(grid.values < 0, unseen)
    assert torch.equal(unpack_bits(grid.bits), ~unseen)


def test_unseen_cells_are_marked_first() -> None:
    grid = OccupancyGrid(1, CPU)
    grid.update(SphereField(0.2, 50.0, None), step=2e-3, generator=torch.Generator(), full=True)
    with pytest.raises(AssertionError, match="before the first update"):
        grid.mark_unseen(VIEWS["pinhole"])
