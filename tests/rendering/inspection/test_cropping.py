"""What a box cuts out: whole cells, flat faces, and nothing of the scene itself."""

import torch

from neural_render.core.projection import Projection
from neural_render.core.protocols import FarField, knows_far
from neural_render.kernels.cells import NUM_CELLS
from neural_render.kernels.morton import morton_decode
from neural_render.rendering import OccupancyGrid, Renderer, RenderingSettings, build_renderer
from neural_render.rendering.images import render_image
from neural_render.rendering.inspection.cropping import Crop, NearField, cells_in_box
from tests.rendering.analytic import CPU, SphereField, frame, small_field
from tests.rendering.test_images import camera

LOW, HIGH = (0.5, 0.0, 0.0), (1.0, 1.0, 0.75)


def test_cells_are_inside_by_their_middles() -> None:
    renderer = build_renderer(RenderingSettings(), frame(cascades=2), CPU)
    found = cells_in_box(renderer, LOW, HIGH)
    for cascade, side in enumerate((0.5, 1.0)):
        middles = 0.5 + ((morton_decode(torch.arange(NUM_CELLS)) + 0.5) / 128 - 0.5) * side
        wanted = (middles >= torch.tensor(LOW)) & (middles <= torch.tensor(HIGH))
        assert torch.equal(found[cascade], wanted.all(1))


def test_cells_behind_a_projection_are_judged_where_they_lie() -> None:
    """A map that halves x: the cells of the cube's whole x are those of x to 2 in the frame."""
    matrix = (0.5, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)
    renderer = Renderer(
        build_renderer(RenderingSettings(), frame(), CPU).march,
        OccupancyGrid(1, CPU),
        projection=Projection(matrix=tuple(map(float, matrix))),
    )
    found = cells_in_box(renderer, (1.0, 0.0, 0.0), (2.0, 1.0, 1.0))
    assert torch.equal(found[0], morton_decode(torch.arange(NUM_CELLS))[:, 0] >= 64)


def test_a_ball_is_cut_flat_and_stays_whole() -> None:
    """The camera looks along -x: of the ball's two halves it sees the cut face of the far one."""
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    before = renderer.occupancy.bits.clone()
    field, background = SphereField(0.2, 5e3, (0.9, 0.1, 0.3)), torch.zeros(3)
    crop = Crop(renderer, (0.0, 0.0, 0.0), (0.5, 1.0, 1.0))
    image = render_image(crop.renderer(), field, camera(31, 21), 0, background)
    seen = image.opacity > 0.99
    assert seen[10, 15]
    forward = image.distance[10, 15].item()
    assert abs(forward - 1.5) < 0.01  # the plane x = 0.5, not the near side at 1.3
    assert torch.equal(renderer.occupancy.bits, before)
    whole = render_image(renderer, field, camera(31, 21), 0, background)
    assert abs(whole.distance[10, 15].item() - 1.3) < 0.01


def test_a_crop_follows_what_is_occupied_now() -> None:
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    crop = Crop(renderer, LOW, HIGH)
    assert bool(crop.renderer().occupancy.bits.any())
    renderer.occupancy.bits.zero_()
    assert not bool(crop.renderer().occupancy.bits.any())


def test_a_field_without_its_far_surroundings_is_the_same_near() -> None:
    field = small_field()
    assert isinstance(field, FarField)
    near, points = NearField(field), torch.rand(20, 3)
    assert not isinstance(near, FarField) and not knows_far(near)
    assert torch.equal(near.density(points), field.density(points))
    directions = torch.nn.functional.normalize(torch.randn(20, 3), dim=1)
    for mine, theirs in zip(
        near.query(points, directions), field.query(points, directions), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert near.fused_view()[0] is field.spec
    assert near.num_channels == 3
