import math

import pytest
import torch
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import RenderOutput
from neural_render.rendering import Renderer, RenderingSettings, build_renderer
from tests.rendering.analytic import (
    CPU,
    SlabField,
    SphereField,
    Unfused,
    frame,
    rays_at,
    rays_into_cube,
    small_field,
)

# Float32 sums over some hundred samples, taken in different orders.
TOLERANCE = 2e-5
# The same for gradients, relative to the greatest. In bfloat16 one path hands on 8 bits of what the
# networks say, the other 24.
GRADIENT_TOLERANCE = {"float32": 2e-4, "bfloat16": 5e-4}


def render(renderer: Renderer, field: object, rays: Rays, **more: object) -> RenderOutput:
    channels = field.num_channels
    given = {
        "background": torch.zeros((len(rays), channels)),
        "jitter": torch.full((len(rays),), 0.5),
    }
    return renderer.render(field, rays, **(given | more))


def along_x(num_rays: int = 1) -> Rays:
    origins = torch.tensor([[-0.5, 0.503, 0.497]]).repeat(num_rays, 1)
    return rays_at(origins, origins + torch.tensor([1.0, 0.0, 0.0]))


@pytest.mark.parametrize("density", [0.5, 3.0, 40.0])
def test_slab_has_the_opacity_of_beer_and_lambert(backend: str, density: float) -> None:
    """A slab of 512 whole steps: the midpoint rule is exact for constant density."""
    renderer = build_renderer(RenderingSettings(step=2**-10, min_transmittance=0.0), frame(), CPU)
    seen = render(renderer, SlabField(0.25, 0.75, density), along_x(), jitter=torch.zeros(1))
    expected = 1 - math.exp(-density * 0.5)
    assert seen.opacity.item() == pytest.approx(expected, abs=1e-5)
    color = torch.tensor([1.0, 0.5, 0.25]) * expected
    torch.testing.assert_close(seen.values[0], color, atol=1e-5, rtol=0)
    # The mean distance of an exponential that is cut off after 0.5, from the slab's near side.
    mean = 1 / density - 0.5 * math.exp(-density * 0.5) / expected
    assert seen.distance.item() == pytest.approx(0.75 + mean, abs=1e-3)


def test_sphere_is_as_opaque_as_its_chords(backend: str) -> None:
    renderer = build_renderer(RenderingSettings(min_transmittance=0.0), frame(), CPU)
    offsets = torch.linspace(-0.4, 0.4, 33)
    origins = torch.stack([offsets + 0.5, torch.full_like(offsets, 0.5), offsets * 0 - 1.0], dim=-1)
    rays = rays_at(origins, origins + torch.tensor([0.0, 0.0, 1.0]))
    seen = render(renderer, SphereField(0.3, 5.0, (1.0,)), rays)
    chords = 2 * (0.09 - offsets.square()).clamp(min=0).sqrt()
    # A chord is measured to within a step at both ends.
    bound = 2 * renderer.march.step * 5.0
    torch.testing.assert_close(seen.opacity, 1 - torch.exp(-5.0 * chords), atol=bound, rtol=0)
    torch.testing.assert_close(seen.values[:, 0], seen.opacity, atol=1e-6, rtol=0)


def test_white_furnace(backend: str) -> None:
    """A medium as bright as the light behind it cannot be seen, however dense."""
    field = SphereField(0.4, 60.0, (0.7, 0.7, 0.7))
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    rays = rays_into_cube(200)
    jitter = torch.rand(200, generator=torch.Generator().manual_seed(1))
    seen = render(renderer, field, rays, background=torch.full((200, 3), 0.7), jitter=jitter)
    torch.testing.assert_close(seen.values, torch.full((200, 3), 0.7), atol=1e-5, rtol=0)
    assert seen.opacity.max() > 0.99


def test_hdr_and_single_channels_pass_through(backend: str) -> None:
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    seen = render(renderer, SphereField(0.4, 1e4, (1e4, 2.0, 3.0, 4.0, 5.0)), along_x())
    assert seen.values[0].tolist() == pytest.approx([1e4, 2.0, 3.0, 4.0, 5.0], rel=1e-3)


@pytest.mark.parametrize("cascades", [1, 3])
def test_skipping_empty_space_changes_nothing(backend: str, cascades: int) -> None:
    field = SphereField(0.2, 30.0, None)
    renderer = build_renderer(RenderingSettings(), frame(cascades), CPU)
    rays = rays_into_cube(300)
    everywhere = render(renderer, field, rays)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        renderer.update_occupancy(field, generator=generator, full=True)
    # Cells that the surface cuts may have been looked at outside of the ball only: hence the mean.
    tight = render(renderer, field, rays)
    assert int(tight.num_marched) < 0.5 * int(everywhere.num_marched)
    assert (tight.opacity - everywhere.opacity).abs().mean() < 0.01
    assert renderer.occupancy.fraction < 0.5


def test_skipping_exactly_empty_cells_changes_no_bit(backend: str) -> None:
    """A slab that fills whole cells, with its emptiness known exactly."""
    field = SlabField(0.25, 0.75, 4.0)
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    rays = rays_into_cube(300)
    everywhere = render(renderer, field, rays)
    renderer.update_occupancy(field, generator=torch.Generator(), full=True)
    assert renderer.occupancy.fraction == 0.5
    tight = render(renderer, field, rays)
    assert int(tight.num_marched) < int(everywhere.num_marched)
    torch.testing.assert_close(tight.values, everywhere.values, atol=1e-6, rtol=0)
    torch.testing.assert_close(tight.opacity, everywhere.opacity, atol=1e-6, rtol=0)
    torch.testing.assert_close(tight.distance, everywhere.distance, atol=1e-5, rtol=0)


def gradients(seen: RenderOutput, tensors: list[Tensor]) -> list[Tensor]:
    weights = torch.linspace(0.5, 1.5, seen.values.numel()).view_as(seen.values)
    loss = (seen.values * weights).sum() + (seen.opacity * weights[:, 0]).sum()
    loss = loss + 0.3 * seen.distance.sum() + 0.1 * seen.distortion.sum()
    return list(torch.autograd.grad(loss, tensors))


@pytest.mark.parametrize(("cascades", "num_conditions", "antialias"), [(1, 0, False), (2, 3, True)])
def test_fused_and_composed_paths_are_equal(
    backend: str, cascades: int, num_conditions: int, antialias: bool
) -> None:
    field = small_field(cascades, num_conditions, density_bias=3.0)
    settings = RenderingSettings(step=4e-3, antialias=antialias)
    renderer = build_renderer(settings, frame(cascades, near=0.05), CPU)
    ball = SphereField(0.4, 100.0, None)
    renderer.update_occupancy(ball, generator=torch.Generator(), full=True)
    assert 0.05 < renderer.occupancy.fraction < 0.95
    rays = rays_into_cube(64, footprint=0.01)
    generator = torch.Generator().manual_seed(2)
    origins, directions = rays.origins.requires_grad_(), rays.directions.requires_grad_()
    background = torch.rand((64, 3), generator=generator, requires_grad=True)
    jitter = torch.rand(64, generator=generator)
    conditions = torch.rand((64, num_conditions), generator=generator, requires_grad=True)
    given = {"background": background, "jitter": jitter}
    if num_conditions:
        given["conditions"] = conditions
    fused = render(renderer, field, rays, **given)
    composed = render(renderer, Unfused(field), rays, **given)
    for name in ("values", "opacity", "distance", "distortion"):
        one, other = getattr(fused, name), getattr(composed, name)
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=TOLERANCE, msg=name)
    opaque = int((fused.opacity > 0.999).sum())
    assert opaque > 0
    assert int(composed.num_survived) < int(composed.num_marched)
    assert int(fused.num_survived) == pytest.approx(int(composed.num_survived), abs=3)
    wanted = [*field.parameters(), origins, directions, background]
    wanted += [conditions] if num_conditions else []
    tolerance = GRADIENT_TOLERANCE[dispatch.precision()]
    for one, other in zip(gradients(fused, wanted), gradients(composed, wanted), strict=True):
        scale = other.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(one / scale, other / scale, atol=tolerance, rtol=0)


def test_hidden_samples_are_dropped(backend: str) -> None:
    """A ray through a dense slab survives until 1e-4 of its light is left, and not longer."""
    renderer = build_renderer(RenderingSettings(step=2**-10), frame(), CPU)
    seen = render(renderer, SlabField(0.25, 0.75, 100.0), along_x(), jitter=torch.zeros(1))
    before_slab = 256
    needed = -math.log(1e-4) / 100.0 * 1024
    assert int(seen.num_survived) == before_slab + math.floor(needed) + 1
    assert int(seen.num_marched) == 1024
    assert 1 - 1e-4 <= seen.opacity.item() < 1


def test_step_scale_takes_fewer_samples(backend: str) -> None:
    renderer = build_renderer(RenderingSettings(min_transmittance=0.0), frame(), CPU)
    field = SlabField(0.25, 0.75, 2.0)
    rays = rays_into_cube(50)
    fine, coarse = (render(renderer, field, rays, step_scale=scale) for scale in (1.0, 4.0))
    assert int(coarse.num_marched) == pytest.approx(int(fine.num_marched) / 4, rel=0.02)
    torch.testing.assert_close(coarse.opacity, fine.opacity, atol=0.03, rtol=0)


def test_footprints_count_only_with_antialiasing(backend: str) -> None:
    field = small_field()
    sharp, wide = rays_into_cube(20), rays_into_cube(20, footprint=0.1)
    plain = build_renderer(RenderingSettings(step=0.01), frame(), CPU)
    fading = build_renderer(RenderingSettings(step=0.01, antialias=True), frame(), CPU)
    assert torch.equal(render(plain, field, sharp).values, render(plain, field, wide).values)
    assert torch.equal(render(plain, field, sharp).values, render(fading, field, sharp).values)
    assert not torch.allclose(render(fading, field, wide).values, render(plain, field, wide).values)


def test_rays_that_see_nothing_show_the_background(backend: str) -> None:
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    away = rays_at(torch.tensor([[2.0, 2.0, 2.0]]), torch.tensor([[3.0, 3.0, 3.0]]))
    background = torch.tensor([[0.1, 0.2, 0.3]])
    for field in (SphereField(0.4, 9.0, None), small_field()):
        seen = render(renderer, field, away, background=background)
        assert torch.equal(seen.values, background)
        assert seen.opacity.item() == 0 and seen.distance.item() == 0
        assert int(seen.num_survived) == 0


def test_no_rays(backend: str) -> None:
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    for field in (SphereField(0.4, 9.0, None), small_field()):
        assert render(renderer, field, rays_into_cube(0)).values.shape == (0, 3)


def test_sink_takes_the_tables_gradient(backend: str) -> None:
    field = small_field()
    renderer = build_renderer(RenderingSettings(step=0.01), frame(), CPU)
    sink = ops.TableGradientSink()
    render(renderer, field, rays_into_cube(20), sink=sink).values.sum().backward()
    assert field.table.grad is None and sink.gradient is not None
    assert field.color_weights.grad is not None


def test_march_and_occupancy_must_agree() -> None:
    one, two = (build_renderer(RenderingSettings(), frame(cascades), CPU) for cascades in (1, 2))
    with pytest.raises(AssertionError, match="differ in cascades"):
        Renderer(one.march, two.occupancy)


def test_more_samples_than_guessed_are_all_taken(backend: str) -> None:
    """One ray along the diagonal takes 1023 samples, far more than the first guess of 32."""
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    rays = rays_at(torch.full((1, 3), -0.1), torch.full((1, 3), 1.0))
    seen = render(renderer, SphereField(2.0, 0.1, None), rays)
    assert 1020 <= int(seen.num_marched) <= 1024
    assert seen.opacity.item() == pytest.approx(1 - math.exp(-0.1 * math.sqrt(3)), rel=2e-3)


def test_a_scene_is_begun_around_its_points() -> None:
    renderer = build_renderer(RenderingSettings(), frame(cascades=2), CPU)
    points = torch.full((300, 3), 0.6)
    renderer.begin_around(points[:100])
    assert not renderer.occupancy.holds  # too few
    renderer.begin_around(points)
    assert renderer.occupancy.holds and 0 < renderer.occupancy.fraction < 0.02
