"""The renderer in a projected cube: where things are, what it costs, what no photo shows."""

from dataclasses import replace

import pytest
import torch

from neural_render.core.cameras import Cameras, Lens, image_rays
from neural_render.core.projection import Projection, forward_projection
from neural_render.core.protocols import SceneFrame
from neural_render.core.rays import Rays
from neural_render.core.transforms import rotation_from_vector
from neural_render.kernels import ops
from neural_render.kernels.cells import unpack_bits
from neural_render.kernels.morton import morton_encode
from neural_render.kernels.records import ColorTargets
from neural_render.kernels.specs import LossSpec
from neural_render.rendering import Renderer, RenderingSettings, build_renderer, march_spec
from tests.rendering.analytic import CPU, SlabField, Unfused, frame, small_field

ROTATION = rotation_from_vector(torch.tensor([0.1, -1.3, 0.2]))
POSITION = torch.tensor([0.2, 0.1, -0.3])
PROJECTION = forward_projection(
    rotation=ROTATION, position=POSITION, slopes=((-0.7, 0.7), (-0.6, 0.6)), near=1.0
)
FRAME = replace(frame(), projection=PROJECTION)


def view() -> Cameras:
    """A picture of 24 x 20 pixels in the middle of the view."""
    return Cameras(
        world_from_camera=torch.cat([ROTATION, POSITION[:, None]], dim=1)[None],
        focal_px=torch.full((1, 2), 24.0),
        center_px=torch.tensor([[12.0, 10.0]]),
        distortion=torch.zeros(1, 6),
        lens=torch.full((1,), int(Lens.PERSPECTIVE)),
        width=torch.full((1,), 24),
        height=torch.full((1,), 20),
    )


def targets_for(rays: Rays, distance: torch.Tensor) -> ColorTargets:
    count = len(rays)
    generator = torch.Generator().manual_seed(2)
    return ColorTargets(
        colors=torch.rand((count, 3), generator=generator),
        opacity=torch.ones(count),
        background=torch.zeros((count, 3)),
        weights=torch.ones(count),
        distance=distance,
        normals=torch.zeros((count, 3)),
    )


def test_steps_are_even_in_the_cube() -> None:
    march = march_spec(RenderingSettings(), FRAME)
    assert (march.step, march.cone_angle, march.near, march.cascades) == (1 / 256, 0.0, 0.0, 1)
    assert march_spec(RenderingSettings(step=0.01), FRAME).step == 0.01


def test_a_wall_is_as_far_away_as_it_is(backend: str) -> None:
    """From w = 1/2 on the cube is full: at twice the depth of the first plane."""
    renderer = build_renderer(RenderingSettings(step=1 / 512), FRAME, CPU)
    rays = image_rays(view(), 0)
    wall = Turned(SlabField(0.5, 1.0, 1e4))
    seen = renderer.render(
        wall,
        rays,
        background=torch.zeros((len(rays), 3)),
        jitter=torch.full((len(rays),), 0.5),
    )
    assert float(seen.opacity.min()) > 0.99
    depth = seen.distance * (rays.directions @ ROTATION[:, 2])
    error = (depth - 2.0).abs()
    assert float(error.max()) < 0.02


class Turned(Unfused):
    """A field whose x is the depth of the cube."""

    def query(self, points: torch.Tensor, *more: object) -> tuple[torch.Tensor, torch.Tensor]:
        return self.field.query(points.flip(1), *more)

    def density(self, points: torch.Tensor, footprint: object = None) -> torch.Tensor:
        return self.field.density(points.flip(1))


@pytest.mark.parametrize("fused", [True, False])
def test_it_is_the_same_as_projecting_the_rays_beforehand(backend: str, fused: bool) -> None:
    field = small_field(density_bias=2.0)
    field = field if fused else Unfused(field)
    renderer = build_renderer(RenderingSettings(), FRAME, CPU)
    plain = Renderer(renderer.march, renderer.occupancy)
    rays = image_rays(view(), 0)
    image = PROJECTION.apply_to_rays(rays)
    given = {
        "background": torch.zeros((len(rays), 3)),
        "jitter": torch.linspace(0, 0.9, len(rays)),
    }
    seen, expected = renderer.render(field, rays, **given), plain.render(field, image.rays, **given)
    assert torch.equal(seen.values, expected.values)
    assert torch.equal(seen.distance, image.ray_distance(expected.distance))
    pictures = renderer.for_pictures()
    assert pictures.projection == PROJECTION


def test_known_distances_are_compared_in_the_cube(backend: str) -> None:
    field = small_field(density_bias=2.0)
    renderer = build_renderer(RenderingSettings(), FRAME, CPU)
    plain = Renderer(renderer.march, renderer.occupancy)
    rays = image_rays(view(), 0)
    image = PROJECTION.apply_to_rays(rays)
    distance = torch.linspace(0, 5, len(rays))
    loss = LossSpec(delta=0.1, distance_weight=1.0)
    jitter = torch.full((len(rays),), 0.5)
    seen, gradients, _ = renderer.loss_gradients(
        field, rays, targets=targets_for(rays, distance), loss=loss, jitter=jitter
    )
    known = targets_for(rays, image.image_distance(distance))
    expected, others, _ = plain.loss_gradients(
        field, image.rays, targets=known, loss=loss, jitter=jitter
    )
    assert torch.equal(seen.loss, expected.loss)
    assert torch.equal(gradients["density_weights"], others["density_weights"])


def test_nothing_fades_near_cameras_behind_it(backend: str) -> None:
    """Its cube begins where the nearest things are."""
    field = small_field(density_bias=2.0)
    renderer = build_renderer(RenderingSettings(), FRAME, CPU)
    rays = image_rays(view(), 0)
    given = {"targets": targets_for(rays, torch.zeros(len(rays)))}
    given["jitter"] = torch.full((len(rays),), 0.5)
    found = [
        renderer.loss_gradients(field, rays, loss=LossSpec(delta=0.1, near_fade=fade), **given)[1]
        for fade in (0.0, 3.0)
    ]
    assert torch.equal(found[0]["density_weights"], found[1]["density_weights"])


def test_gradients_to_rays_are_those_of_the_rays_before_it(backend: str) -> None:
    """Cameras are refined in space, not in the cube."""
    field = small_field(density_bias=2.0)
    renderer = build_renderer(RenderingSettings(), FRAME, CPU)
    rays = image_rays(view(), 0)
    leaves = [rays.origins.clone().requires_grad_(), rays.directions.clone().requires_grad_()]
    rays = replace(rays, origins=leaves[0] + 0.0, directions=leaves[1] + 0.0)
    targets, jitter = targets_for(rays, torch.zeros(len(rays))), torch.full((len(rays),), 0.5)
    loss = LossSpec(delta=0.1)
    _, _, found = renderer.loss_gradients(field, rays, targets=targets, loss=loss, jitter=jitter)
    seen = renderer.render(field, rays, background=targets.background, jitter=jitter)
    expected = torch.autograd.grad(ops.output_loss(seen, targets, loss)[0], leaves)
    for ours, theirs in zip((found.origins, found.directions), expected, strict=True):
        assert theirs.any() and (ours - theirs).norm() < 2e-2 * theirs.norm()


def test_cells_beside_the_pictures_are_emptied() -> None:
    renderer = build_renderer(RenderingSettings(), FRAME, CPU)
    renderer.mark_unseen(view(), near=0.0)
    seen = unpack_bits(renderer.occupancy.bits)[0]
    rays = PROJECTION.apply_to_rays(image_rays(view(), 0)).rays
    distance = torch.linspace(0.001, 0.99, 64)[:, None, None]
    points = (rays.origins + distance * rays.directions).view(-1, 3)
    points = points[(points[:, 2] < 1).nonzero()[:, 0]]
    assert seen[morton_encode((points * 128).long())].all()
    # The picture is 1.0 x 0.83 wide in slopes, the cube 1.4 x 1.2.
    share = float(seen.double().mean())
    assert 0.4 < share < 0.65


def test_scenes_without_a_projection_are_unchanged() -> None:
    assert build_renderer(RenderingSettings(), frame(), CPU).projection.is_identity
    unit = SceneFrame(world_from_field=frame().world_from_field, cascades=1, near=0.0)
    assert unit.projection == Projection()


def test_rays_before_the_projection_get_its_gradients() -> None:
    """As if the whole were one function: cameras of such scenes can be refined."""
    renderer = build_renderer(RenderingSettings(), FRAME, CPU)
    field, seen = small_field(), image_rays(view(), 0)
    rays = replace(seen, origins=seen.origins.clone(), directions=seen.directions.clone())
    rays.origins.requires_grad_(), rays.directions.requires_grad_()
    count = len(rays)
    targets = targets_for(rays, torch.zeros(count))
    jitter, loss = torch.full((count,), 0.5), LossSpec(delta=0.1)
    _, _, found = renderer.loss_gradients(field, rays, targets=targets, loss=loss, jitter=jitter)
    output = renderer.render(field, rays, background=targets.background, jitter=jitter)
    value, _ = ops.color_loss(output.values, targets, loss)
    wanted = torch.autograd.grad(value, [rays.origins, rays.directions])
    torch.testing.assert_close(found.origins, wanted[0], rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(found.directions, wanted[1], rtol=1e-2, atol=1e-6)
