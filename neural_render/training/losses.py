"""How wrong a rendered value is: losses on composited values."""

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.rays import RayBatch


def composited_targets(
    batch: RayBatch, background: Float[Tensor, "rays channels"]
) -> Float[Tensor, "rays channels"]:
    """The targets in front of ``background``: what a perfect field would render."""
    return torch.lerp(background, batch.targets, batch.opacity[:, None])


def huber(
    values: Float[Tensor, "rays channels"], targets: Float[Tensor, "rays channels"], delta: float
) -> Float[Tensor, "rays channels"]:
    """Squared error below ``delta``, linear above it with the same slope (Huber 1964, times 2).

    For display-referred values. Differentiable in ``values``.
    """
    loss = torch.nn.functional.huber_loss(values, targets, reduction="none", delta=delta)
    return 2.0 * loss


def weighted_mean(
    losses: Float[Tensor, "rays channels"], weights: Float[Tensor, " rays"]
) -> Float[Tensor, ""]:
    """The sum over channels, averaged over rays with their weights (which are 1 on average)."""
    return (losses.sum(dim=1) * weights).mean()
