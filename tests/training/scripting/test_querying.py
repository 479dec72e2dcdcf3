"""Points of the world in the field's cube: densities there are those of the world, stretched."""

from dataclasses import replace
from pathlib import Path

import torch

from neural_render.core.projection import IDENTITY_PROJECTION, forward_projection
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity
from neural_render.kernels.cells import pack_bits
from neural_render.kernels.morton import morton_encode
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.scripting.querying import into_cube, query_world, world_bounds
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


def test_bounds_hold_what_is_occupied_also_where_space_has_no_end() -> None:
    occupied = torch.zeros(1, 128**3, dtype=torch.bool)
    cells = torch.tensor([[0, 64, 100], [127, 3, 20], [64, 64, 127]])
    occupied[0, morton_encode(cells)] = True
    low, high = world_bounds(FORWARD, pack_bits(occupied))
    assert bool((low < high).all()) and bool(high.isfinite().all())
    middles = (cells + torch.tensor([0.5, 0.5, 0.5])) / 128
    middles[2, 2] = 127.4 / 128  # of the last layer the nearer half
    inside = PLACE.apply(FORWARD.projection.inverse().apply(middles))
    assert bool(((inside >= low) & (inside <= high)).all())
    nearer = PLACE.apply(FORWARD.projection.inverse().apply(torch.tensor([[0.5, 0.5, 0.1]])))
    assert float(nearer[0, 2]) < float(low[2])
    nothing = world_bounds(FORWARD, pack_bits(torch.zeros_like(occupied)))
    assert torch.equal(*nothing)
    plain = replace(FORWARD, projection=IDENTITY_PROJECTION)
    assert torch.equal(
        world_bounds(plain, pack_bits(occupied))[1], PLACE.apply(torch.ones(1, 3))[0]
    )


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
