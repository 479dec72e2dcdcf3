"""The loss of a batch: by hand, and every backend against the reference."""

from dataclasses import replace

import torch
from torch import Tensor

from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import ColorTargets
from tests.kernels.comparison import Outputs, assert_parity, strided
from tests.kernels.problems import generator


def targets_of(num_rays: int, channels: int = 3) -> ColorTargets:
    """Random ones."""
    rand = generator(5)
    return ColorTargets(
        colors=torch.rand(num_rays, channels, generator=rand),
        opacity=torch.rand(num_rays, generator=rand),
        background=torch.rand(num_rays, channels, generator=rand),
        weights=2 * torch.rand(num_rays, generator=rand),
    )


def loss_of(values: Tensor, targets: ColorTargets, delta: float) -> Outputs:
    """Loss, squared errors and the loss's gradient."""
    values = values.clone().requires_grad_()
    loss, squared = ops.color_loss(values, targets, delta)
    (3 * loss).backward()
    assert values.grad is not None
    return {"loss": loss.detach(), "squared": squared, "to_values": values.grad}


def black(num_rays: int) -> ColorTargets:
    """Opaque black, each ray of weight 1."""
    zeros, ones = torch.zeros(num_rays, 3), torch.ones(num_rays)
    return ColorTargets(colors=zeros, opacity=ones, background=zeros + 0.5, weights=ones)


def test_it_is_the_squared_error_below_delta_and_linear_above(backend: str) -> None:
    for name in (backend, "reference"):
        with dispatch.using(name):
            seen = loss_of(torch.tensor([[0.05, -0.05, 0.5]]), black(1), 0.1)
        assert torch.allclose(seen["loss"], torch.tensor(0.0025 + 0.0025 + 0.09))
        assert torch.allclose(seen["squared"], torch.tensor([0.255 / 3]))
        assert torch.allclose(seen["to_values"], 3 * torch.tensor([[0.1, -0.1, 0.2]]))


def test_targets_stand_in_front_of_the_same_background(backend: str) -> None:
    targets = replace(
        black(2),
        colors=torch.tensor([[0.2, 0.4, 0.6], [0.2, 0.4, 0.6]]),
        opacity=torch.tensor([1.0, 0.25]),
        background=torch.ones(2, 3),
    )
    for name in (backend, "reference"):
        with dispatch.using(name):
            seen = loss_of(torch.tensor([[0.2, 0.4, 0.6], [0.8, 0.85, 0.9]]), targets, 0.1)
        assert torch.allclose(seen["squared"], torch.zeros(2), atol=1e-12)


def test_rays_of_no_weight_do_not_count(backend: str) -> None:
    targets = replace(black(2), weights=torch.tensor([2.0, 0.0]))
    values = torch.tensor([[0.1, 0.0, 0.0], [0.9, 0.9, 0.9]])
    for name in (backend, "reference"):
        with dispatch.using(name):
            seen = loss_of(values, targets, 10.0)
        assert torch.allclose(seen["loss"], torch.tensor(0.01))
        assert not seen["to_values"][1].any()


def test_every_backend_agrees(backend: str) -> None:
    """One, none and many rays, other channels, strided tensors; NaN is not hidden."""
    for num_rays, channels in ((0, 3), (1, 3), (3000, 3), (1025, 7)):
        values = torch.rand(num_rays, channels, generator=generator(6))
        targets = targets_of(num_rays, channels)
        assert_parity(backend, lambda v=values, t=targets: loss_of(v, t, 0.1))
        assert_parity(backend, lambda v=values, t=targets: loss_of(strided(v), t, 10.0))
    values = torch.full((2, 3), torch.nan)
    with dispatch.using(backend):
        seen = loss_of(values, targets_of(2), 0.1)
    assert all(bool(value.isnan().any()) for value in seen.values())
