"""Points of the world in the field's cube: densities there are those of the world, stretched."""

from dataclasses import replace
from pathlib import Path

import torch

from neural_render.core.projection import IDENTITY_PROJECTION, forward_projection
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity
from neural_render.kernels.cells import NUM_CELLS, unpack_bits
from neural_render.kernels.ops import occupancy_points
from neural_render.rendering import OccupancyGrid, RenderingSettings, build_renderer
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.scripting.querying import into_cube, is_sampled, query_world
from tests.rendering.analytic import rays_at, small_field
from tests.training.problems import CPU, new_run, settings_for, train_ball

PLACE = Similarity(scale=3.0, translation=(1.0, -2.0, 0.5))
FORWARD = SceneFrame(
    world_from_field=PLACE,
    cascades=1,
    near=0.0,
    projection=forward_projection(
        rotation=torch.eye(3),
        position=torch.tensor([0.5, 0.5, -0.5]),
        slopes=((-0.6, 0.6), (-0.5, 0.5)),
        near=0.3,
    ),
)


def test_a_way_is_stretched_as_much_as_its_ends_say() -> None:
    """Also where space is divided by disparity, in all directions."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(50, 3, generator=generator).double()
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator).double())
    for frame in (replace(FORWARD, projection=IDENTITY_PROJECTION), FORWARD):
        points = PLACE.apply(inside)
        places, ways, stretch = into_cube(points, directions, frame)
        ahead, _, _ = into_cube(points + 1e-6 * directions, directions, frame)
        moved = (ahead - places) / 1e-6
        assert torch.allclose(moved.norm(dim=1), stretch, rtol=1e-4)
        assert torch.allclose(moved / stretch[:, None], ways, atol=1e-4)
    assert not torch.allclose(stretch, stretch[:1])


def test_what_is_along_a_ray_adds_up_to_what_is_rendered(tmp_path: Path) -> None:
    """Where space is divided by disparity too: colours there are those of images of rays."""
    run = new_run(tmp_path)
    train_ball(run, settings_for(1))
    renderer = build_renderer(RenderingSettings(step=1 / 512), FORWARD, CPU)
    scene = replace(
        load_for_rendering(run, CPU),
        field=small_field(density_bias=1.5),
        renderer=renderer,
        frame=FORWARD,
    )
    rays = rays_at(torch.tensor([[0.4, 0.6, -0.5]]), torch.tensor([[0.6, 0.45, 0.5]]))
    black, middle = torch.zeros(1, 3), torch.full((1,), 0.5)
    with torch.no_grad():
        seen = renderer.render(scene.field, rays, background=black, jitter=middle)
    edges = torch.linspace(-7, 9, 20_001).exp2()
    points = rays.origins + (edges[1:] + edges[:-1])[:, None] / 2 * rays.directions
    points, directions = FORWARD.world_from_field.apply(points), rays.directions.expand_as(points)
    density, radiance = query_world(scene, points, directions, torch.zeros(0))
    depth = density * edges.diff() * FORWARD.world_from_field.scale
    weights = -torch.expm1(-depth) * (depth - depth.cumsum(0)).exp()
    assert float(seen.opacity) > 0.5
    assert torch.allclose(weights.sum(), seen.opacity, atol=2e-3)
    assert torch.allclose(weights @ radiance, seen.values, atol=2e-3)


def test_only_occupied_cells_are_asked() -> None:
    """Of nested grids the finest one that holds a point decides."""
    occupancy = OccupancyGrid(2, CPU)
    empty = torch.ones(2, NUM_CELLS, dtype=torch.bool)
    chosen = torch.randperm(2 * NUM_CELLS, generator=torch.Generator().manual_seed(0))[:200]
    empty.view(-1)[chosen] = False
    occupancy.mark_empty(empty)
    occupied = unpack_bits(occupancy.bits)
    cells = occupied.view(-1).nonzero()[:, 0]
    points = occupancy_points(cells, 2, 5, 0)
    inner = ((points - 0.5).abs() < 0.25).all(dim=1)  # there the coarse grid is not looked at
    decides = (cells < NUM_CELLS) | ~inner
    assert 100 < int(decides.sum()) < len(cells)
    sampled = is_sampled(points, occupied, occupancy)
    assert bool(sampled[decides].all())
    assert not bool(sampled.all())
    everywhere = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(1))
    assert float(is_sampled(everywhere, occupied, occupancy).float().mean()) < 0.01
    outside = torch.tensor([[1.0, 0.5, 0.5], [-0.1, 0.5, 0.5], [torch.nan, 0.5, 0.5]])
    assert not bool(is_sampled(outside, ~torch.zeros_like(occupied), occupancy).any())
