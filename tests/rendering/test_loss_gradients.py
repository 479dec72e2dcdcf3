"""A loss's gradients by parameter, of fields with a fused view and of those without one."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.fields import RadianceField
from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import ColorTargets, FactoredGradient
from neural_render.kernels.specs import LossSpec
from neural_render.rendering import Renderer, RenderingSettings, build_renderer
from tests.rendering.analytic import CPU, frame, rays_at, rays_into_cube, small_field

LOSS = LossSpec(delta=0.1, distortion_weight=0.2)
LIGHTS = LossSpec(delta=0.1, relative=0.01, distortion_weight=0.2, distance_weight=0.3)
# Of the length of a gradient: the two ways sum in other orders, and in bfloat16 one of them hands
# on 8 bits of what the networks say.
TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}


class Unfused(RadianceField):
    """A field that has to be composed."""

    def fused_view(self) -> None:
        return None


class WithMore(Unfused):
    """One with a parameter that no ray depends on."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)
        self.unused = torch.nn.Parameter(torch.ones(3))


def like(field: RadianceField, kind: type[RadianceField]) -> RadianceField:
    """The same field as another class."""
    other = kind(field.spec, torch.Generator())
    other.load_state_dict(field.state_dict(), strict=False)
    return other


def problem(num_rays: int) -> tuple[Renderer, Rays, dict[str, object]]:
    """Rays and their targets in a cube that is half empty."""
    renderer = build_renderer(RenderingSettings(step=0.01), frame(), CPU)
    random = torch.Generator().manual_seed(3)
    targets = ColorTargets(
        colors=torch.rand(num_rays, 3, generator=random),
        opacity=torch.rand(num_rays, generator=random),
        background=torch.rand(num_rays, 3, generator=random),
        weights=torch.rand(num_rays, generator=random),
        distance=torch.rand(num_rays, generator=random),
        normals=torch.zeros(num_rays, 3),
    )
    jitter = torch.rand(num_rays, generator=random)
    return renderer, rays_into_cube(num_rays), {"targets": targets, "jitter": jitter, "loss": LOSS}


def dense(gradient: Tensor | FactoredGradient, field: RadianceField) -> Tensor:
    """The gradient as one tensor."""
    if isinstance(gradient, Tensor):
        return gradient
    scatter = dispatch.active().scatter_table_gradient
    return scatter(gradient, field.table.detach(), field.spec.grid)


def by_autograd(
    renderer: Renderer, field: RadianceField, rays: Rays, given: dict[str, object]
) -> dict[str, Tensor]:
    """The gradient of the same loss of what ``render`` gives."""
    targets = given["targets"]
    seen = renderer.render(field, rays, background=targets.background, jitter=given["jitter"])
    value, _ = ops.output_loss(seen, targets, given["loss"])
    named = dict(field.named_parameters())
    return dict(zip(named, torch.autograd.grad(value, list(named.values())), strict=True))


@pytest.mark.parametrize("first", [0, 3, 6])
def test_targets_in_some_channels_and_conditions_of_each_ray(backend: str, first: int) -> None:
    """Light groups: the gradient is that of a render of all channels, the others ignored."""
    renderer, rays, given = problem(64)
    spec = small_field(density_bias=2.0, num_conditions=4).spec
    spec = replace(spec, num_channels=9, radiance="exp")
    fused = RadianceField(spec, torch.Generator().manual_seed(5))
    with torch.no_grad():
        fused.table.mul_(4e4)
    targets = replace(given["targets"], first_channel=first)
    conditions = torch.rand(64, 4, generator=torch.Generator().manual_seed(8))
    given |= {"targets": targets, "conditions": conditions, "loss": LIGHTS}
    for field in (fused, like(fused, Unfused)):
        seen, found, _ = renderer.loss_gradients(field, rays, **given)
        background = torch.zeros(64, 9)
        background[:, first : first + 3] = targets.background
        whole = renderer.render(
            field, rays, background=background, jitter=given["jitter"], conditions=conditions
        )
        whole = replace(whole, values=whole.values[:, first : first + 3])
        value, squared = ops.output_loss(whole, targets, LIGHTS)
        torch.testing.assert_close(seen.loss, value.detach(), rtol=1e-2, atol=1e-6)
        named = dict(field.named_parameters())
        expected = torch.autograd.grad(value, list(named.values()))
        assert squared.shape == seen.squared.shape and found.keys() == named.keys()
        for name, gradient in zip(named, expected, strict=True):
            error = (dense(found[name], field) - gradient).norm() / gradient.norm()
            assert gradient.any() and error < TOLERANCE[dispatch.precision()], name
        other = renderer.loss_gradients(
            field, rays, **(given | {"conditions": torch.zeros(64, 4)})
        )[0]
        assert other.loss != seen.loss


@pytest.mark.parametrize("num_rays", [1, 64])
def test_with_and_without_a_fused_view_they_are_those_of_autograd(
    backend: str, num_rays: int
) -> None:
    renderer, rays, given = problem(num_rays)
    fused = small_field(density_bias=2.0)
    composed = like(fused, Unfused)
    seen, found, _ = renderer.loss_gradients(fused, rays, **given)
    other, apart, _ = renderer.loss_gradients(composed, rays, **given)
    assert isinstance(found["table"], FactoredGradient) and isinstance(apart["table"], Tensor)
    assert not seen.loss.requires_grad and not other.loss.requires_grad
    torch.testing.assert_close(seen.loss, other.loss, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(seen.squared, other.squared, rtol=1e-2, atol=1e-4)
    tolerance = TOLERANCE[dispatch.precision()]
    for field, gradients in ((fused, found), (composed, apart)):
        expected = by_autograd(renderer, field, rays, given)
        assert gradients.keys() == expected.keys()
        for name, value in expected.items():
            assert value.any()
            error = (dense(gradients[name], field) - value).norm() / value.norm()
            assert error < tolerance, name
    for name, gradient in found.items():
        error = (dense(gradient, fused) - apart[name]).norm() / apart[name].norm()
        assert error < tolerance, name
    assert all(
        parameter.grad is None for parameter in (*fused.parameters(), *composed.parameters())
    )


def test_parameters_that_no_ray_depends_on_have_a_gradient_of_zero(backend: str) -> None:
    renderer, rays, given = problem(8)
    _, found, _ = renderer.loss_gradients(like(small_field(), WithMore), rays, **given)
    unused = found["unused"]
    assert isinstance(unused, Tensor) and torch.equal(unused, torch.zeros(3))


@pytest.mark.parametrize("kind", [RadianceField, Unfused])
def test_rays_that_see_nothing_have_gradients_of_zero(
    backend: str, kind: type[RadianceField]
) -> None:
    renderer, _, given = problem(2)
    away = rays_at(torch.full((2, 3), 2.0), torch.full((2, 3), 3.0))
    field = like(small_field(), kind)
    seen, found, _ = renderer.loss_gradients(field, away, **given)
    assert int(seen.num_survived) == 0 and seen.loss > 0
    assert found.keys() == {"table", "density_weights", "color_weights"}
    assert not any(dense(gradient, field).any() for gradient in found.values())


def test_the_step_scale_and_roulette_are_handed_on(backend: str) -> None:
    renderer, rays, given = problem(64)
    field = small_field(density_bias=2.0)
    fine, found, _ = renderer.loss_gradients(field, rays, **given)
    coarse, _, _ = renderer.loss_gradients(field, rays, **given, step_scale=4.0)
    assert int(coarse.num_marched) < 0.4 * int(fine.num_marched)
    drawn = given | {"loss": replace(LOSS, roulette=2.0)}
    same, thinned, _ = renderer.loss_gradients(field, rays, **drawn)
    assert torch.equal(same.loss, fine.loss)
    exact, fewer = found["table"], thinned["table"]
    assert isinstance(exact, FactoredGradient) and isinstance(fewer, FactoredGradient)
    num = [int(one.features.any(0).sum()) for one in (exact, fewer)]
    assert num[0] == num[1] if backend == "reference" else num[1] < num[0] / 1.5


def test_near_samples_fade_with_and_without_a_fused_view(backend: str) -> None:
    renderer, rays, given = problem(64)
    fused = small_field(density_bias=2.0)
    faded = given | {"loss": replace(LOSS, near_fade=3.0)}
    whole = renderer.loss_gradients(fused, rays, **given)[1]
    found = renderer.loss_gradients(fused, rays, **faded)[1]
    apart = renderer.loss_gradients(like(fused, Unfused), rays, **faded)[1]
    for name, gradient in found.items():
        one, other = dense(gradient, fused), apart[name]
        assert (one - other).norm() / other.norm() < TOLERANCE[dispatch.precision()], name
        assert one.norm() < 0.9 * dense(whole[name], fused).norm()
