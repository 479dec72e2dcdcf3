"""Splats whose pictures are known, and gradients by finite differences."""

import math
from dataclasses import replace

import pytest
import torch

from neural_render.kernels import dispatch
from neural_render.kernels.splats import ops
from neural_render.kernels.splats.records import DILATION, LEAST_LIGHT, Splats
from tests.kernels.splats.clouds import camera, camera_at_origin, cloud, joined, one
from tests.kernels.tolerances import CLOSED_FORM, assert_close

MIDDLE = 10


@pytest.fixture(autouse=True)
def reference():
    """The definition itself."""
    with dispatch.using("reference"):
        yield


def test_a_round_splat_is_a_gaussian_of_the_projected_size() -> None:
    """Its variance grows by the dilation; the pixel in the middle sees its opacity."""
    picture = ops.draw_splats(one(depth=2.0, size=0.1), camera_at_origin())
    variance = (40.0 * 0.1 / 2.0) ** 2 + DILATION
    away = torch.arange(21) - 10.0
    alpha = 0.5 * torch.exp(-(away**2 + away[:, None] ** 2) / (2 * variance))
    alpha = alpha.where(alpha >= 1 / 255, 0.0)
    assert_close(picture[..., 3], alpha, CLOSED_FORM[torch.float32], "opacity")
    assert_close(picture[..., 0], 0.8 * alpha, CLOSED_FORM[torch.float32], "colour")


def test_the_nearer_splat_hides_the_other_whatever_their_order() -> None:
    near, far = one(depth=2.0, grey=0.9), one(depth=3.0, grey=0.2)
    for both in (joined(near, far), joined(far, near)):
        pixel = ops.draw_splats(both, camera_at_origin())[MIDDLE, MIDDLE]
        assert pixel[0].item() == pytest.approx(0.5 * 0.9 + 0.25 * 0.2, abs=1e-6)
        assert pixel[3].item() == pytest.approx(0.75, abs=1e-6)


def test_a_turned_splat_is_drawn_turned() -> None:
    """Long in x, turned by a quarter about the axis: long in y."""
    flat = replace(one(), scales=torch.tensor([[0.3, 0.05, 0.05]]).log())
    turn = torch.tensor([[math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4)]])
    lying = ops.draw_splats(flat, camera_at_origin())
    standing = ops.draw_splats(replace(flat, rotations=3 * turn), camera_at_origin())
    assert_close(standing, lying.transpose(0, 1), CLOSED_FORM[torch.float32])
    assert lying[MIDDLE, 0, 3] > 0 == lying[0, MIDDLE, 3]


def test_colours_depend_on_the_direction_and_never_fall_below_zero() -> None:
    """The harmonic (1, 0) is that of z; a camera on the other side sees the opposite."""
    colors = torch.zeros(1, 4, 3)
    colors[0, 2] = 1.0
    splat = replace(one(), colors=colors)
    back = camera_at_origin()
    turned = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))[:3]
    turned[2, 3] = 4.0
    pose = [*turned.flatten().tolist()]
    ahead = ops.draw_splats(splat, back)[MIDDLE, MIDDLE, 0].item()
    behind = ops.draw_splats(splat, replace(back, camera_from_world=tuple(pose)))
    assert ahead == pytest.approx(0.5 * (0.5 + math.sqrt(3 / (4 * math.pi))), abs=1e-6)
    assert behind[MIDDLE, MIDDLE, 0].item() == pytest.approx(0.5 * 0.0114, abs=1e-4)
    dark = replace(splat, colors=-2 * colors)
    assert ops.draw_splats(dark, back)[MIDDLE, MIDDLE, 0].item() == 0


def test_a_pixel_ends_before_the_splat_that_would_take_its_last_light() -> None:
    wall = joined(*(one(depth=2.0 + 0.1 * i, size=1.0, logit=3.0) for i in range(9)))
    picture = ops.draw_splats(wall, camera_at_origin())
    left = 1 - picture[MIDDLE, MIDDLE, 3].item()
    passed = 1 - 1 / (1 + math.exp(-3.0))
    assert LEAST_LIGHT <= left == pytest.approx(passed**3, rel=1e-3)


def test_what_is_too_near_or_behind_is_not_drawn() -> None:
    for depth in (0.1, -2.0):
        assert not ops.draw_splats(one(depth=depth), camera_at_origin()).any()


def test_no_splats_are_a_black_picture() -> None:
    assert not ops.draw_splats(cloud(0), camera()).any()


def test_a_window_has_the_very_pixels_of_the_whole() -> None:
    splats, whole = cloud(60), camera()
    part = ops.draw_splats(splats, whole.window(7, 5, 20, 18))
    assert_close(
        part, ops.draw_splats(splats, whole)[5:23, 7:27], CLOSED_FORM[torch.float32], floor=1.0
    )


def test_gradients_are_those_of_finite_differences() -> None:
    splats = cloud(3, seed=6, degree=1, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in splats.tensors().values()]

    def draw(*tensors: torch.Tensor) -> torch.Tensor:
        given = Splats(**dict(zip(splats.tensors(), tensors, strict=True)))
        return ops.draw_splats(given, camera(4, 3))

    assert torch.autograd.gradcheck(draw, leaves, eps=1e-7, atol=1e-5)


def test_slopes_are_autograds_and_weights_sum_to_the_opacity() -> None:
    splats = cloud(40)
    leaves = Splats(**{name: x.clone().requires_grad_() for name, x in splats.tensors().items()})
    picture = ops.draw_splats(leaves, camera())
    picture.square().sum().backward()
    found = ops.splat_slopes(splats, camera(), lambda seen: 2 * seen)
    for name, leaf in leaves.tensors().items():
        assert_close(getattr(found.gradient, name), leaf.grad, CLOSED_FORM[torch.float32], name)
    total = picture[..., 3].sum().item()
    assert found.weights.sum().item() == pytest.approx(total, rel=1e-5)
