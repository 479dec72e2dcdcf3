"""Losses by hand."""

import torch

from neural_render.core.rays import RayBatch, Rays
from neural_render.training.losses import composited_targets, huber, weighted_mean


def batch(targets, opacity):
    num_rays = len(targets)
    rays = Rays(
        origins=torch.zeros(num_rays, 3),
        directions=torch.eye(3)[:1].expand(num_rays, 3),
        footprint=torch.zeros(num_rays),
    )
    return RayBatch(
        rays=rays,
        targets=torch.tensor(targets),
        opacity=torch.tensor(opacity),
        weights=torch.ones(num_rays),
        view=torch.zeros(num_rays, dtype=torch.int64),
    )


def test_huber_is_the_squared_error_below_delta_and_linear_above():
    values = torch.tensor([[0.05, -0.05, 0.5]], requires_grad=True)
    loss = huber(values, torch.zeros(1, 3), 0.1)
    assert torch.allclose(loss, torch.tensor([[0.0025, 0.0025, 0.09]]))
    loss.sum().backward()
    assert torch.allclose(values.grad, torch.tensor([[0.1, -0.1, 0.2]]))


def test_targets_stand_in_front_of_the_same_background():
    straight = batch([[0.2, 0.4, 0.6], [0.2, 0.4, 0.6]], [1.0, 0.25])
    seen = composited_targets(straight, torch.ones(2, 3))
    assert torch.allclose(seen, torch.tensor([[0.2, 0.4, 0.6], [0.8, 0.85, 0.9]]))


def test_rays_of_no_weight_do_not_count():
    losses = torch.tensor([[1.0, 2.0], [50.0, 60.0]])
    assert weighted_mean(losses, torch.tensor([2.0, 0.0])) == 3.0
