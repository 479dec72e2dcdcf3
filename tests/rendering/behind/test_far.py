"""What is farther than all samples: behind everything, and learnt along with the field."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.fields import FieldSettings, RadianceField, field_spec
from neural_render.kernels import dispatch, ops
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.rendering.images import render_image, seen_along
from tests.rendering.analytic import CPU, frame, rays_into_cube, small_field
from tests.rendering.test_images import camera
from tests.rendering.test_loss_gradients import TOLERANCE, Unfused, dense, like, problem

ROWS = 16


def far_field(
    density_bias: float = 0.0, kind: type[RadianceField] = RadianceField
) -> RadianceField:
    """A field with a random far picture."""
    spec = replace(small_field(density_bias=density_bias).spec, far_rows=ROWS)
    field = RadianceField(spec, torch.Generator().manual_seed(5))
    with torch.no_grad():
        field.table.mul_(4e4)
        field.far.copy_(torch.randn(field.far.shape, generator=torch.Generator().manual_seed(6)))
    return field if kind is RadianceField else like(field, kind)


def test_a_fresh_one_is_grey_and_shows_what_is_around_where_nothing_was_seen() -> None:
    spec = replace(small_field().spec, far_rows=ROWS)
    field = RadianceField(spec, torch.Generator())
    directions = rays_into_cube(50).directions
    assert torch.equal(field.far_radiance(directions), torch.full((50, 3), 0.5))
    with torch.no_grad():
        field.far[-2 * 4 :] = 2.0  # the coarsest picture
    assert (field.far_radiance(directions) > 0.8).all()
    assert not small_field().has_far and "far" not in dict(small_field().named_parameters())


@pytest.mark.parametrize("kind", [RadianceField, Unfused])
def test_it_is_behind_what_is_seen_whatever_the_background(
    backend: str, kind: type[RadianceField]
) -> None:
    renderer, rays = build_renderer(RenderingSettings(step=0.01), frame(), CPU), rays_into_cube(40)
    jitter = torch.full((40,), 0.5)
    for bias, opaque in ((-30.0, False), (12.0, True)):
        field = far_field(bias, kind)
        seen = [
            renderer.render(field, rays, background=torch.full((40, 3), level), jitter=jitter)
            for level in (0.0, 1.0)
        ]
        assert torch.equal(seen[0].values, seen[1].values)
        apart = (seen[0].values - field.far_radiance(rays.directions)).abs().max()
        assert apart > 0.1 if opaque else apart < 1e-5


@pytest.mark.parametrize("rays_too", [False, True])
@pytest.mark.parametrize("kind", [RadianceField, Unfused])
def test_its_gradients_are_those_of_autograd(
    backend: str, kind: type[RadianceField], rays_too: bool
) -> None:
    renderer, rays, given = problem(64)
    field = far_field(1.0, kind)
    targets = replace(given["targets"], opacity=torch.ones(64))  # photos of a place
    given |= {"targets": targets, "loss": replace(given["loss"], near_fade=0.0)}
    directions = rays.directions.clone().requires_grad_(rays_too)
    rays = replace(rays, directions=directions)
    seen, found, to_inputs = renderer.loss_gradients(field, rays, **given)
    output = renderer.render(field, rays, background=torch.zeros(64, 3), jitter=given["jitter"])
    value, _ = ops.output_loss(output, targets, given["loss"])
    torch.testing.assert_close(seen.loss, value.detach(), rtol=1e-2, atol=1e-4)
    leaves: dict[str, Tensor] = dict(field.named_parameters())
    leaves |= {"directions": directions} if rays_too else {}
    actual = found | ({"directions": to_inputs.directions} if rays_too else {})
    assert found.keys() == dict(field.named_parameters()).keys()
    expected = torch.autograd.grad(value, list(leaves.values()))
    for name, gradient in zip(leaves, expected, strict=True):
        error = (dense(actual[name], field) - gradient).norm() / gradient.norm()
        assert gradient.any() and error < TOLERANCE[dispatch.precision()], name


def test_pictures_of_it_are_covered_everywhere() -> None:
    """So nothing is taken from their colours, or put behind them, afterwards."""
    renderer = build_renderer(RenderingSettings(step=0.02), frame(), CPU)
    images = [
        render_image(renderer, far_field(-30.0), camera(12, 8), 0, torch.full((3,), level))
        for level in (0.0, 1.0)
    ]
    assert torch.equal(images[0].color, images[1].color) and images[0].color.std() > 0.05
    assert torch.equal(images[0].opacity, torch.ones(8, 12)) and not images[0].distance.any()
    plain = render_image(renderer, small_field(density_bias=-30.0), camera(12, 8), 0, torch.ones(3))
    assert not plain.opacity.any()


def test_what_is_seen_through_haze_is_at_no_distance() -> None:
    """Where a ray sees more of what is far than of anything nearer."""
    renderer = build_renderer(RenderingSettings(step=0.02), frame(), CPU)
    field, rays = far_field(0.0), rays_into_cube(200)
    background, jitter = torch.zeros(200, 3), torch.full((200,), 0.5)
    with torch.no_grad():
        near = renderer.for_pictures().render(field, rays, background=background, jitter=jitter)
    _, opacity, distance = seen_along(renderer, field, rays, torch.zeros(3))
    mostly = near.opacity > 0.5
    assert mostly.any() and not mostly.all()
    assert torch.equal(distance, near.distance.where(mostly, 0.0)) and (opacity == 1).all()


def test_only_what_may_show_it_has_it() -> None:
    settings = FieldSettings(far_rows=ROWS)
    given = {"num_channels": 3, "cascades": 2, "radiance": "sigmoid"}
    assert field_spec(settings, **given).far_rows == 0
    assert field_spec(settings, **given, has_far=True).far_rows == ROWS
