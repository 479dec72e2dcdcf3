"""Adam (Kingma and Ba 2015, algorithm 1), in place."""

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.reference.encoding import scatter_table_gradient
from neural_render.kernels.specs import AdamSpec, HashGridSpec


@torch.no_grad()
def table_adam_step(
    table: Float[Tensor, "rows features"],
    second: Float[Tensor, " rows"],
    gradient: FactoredGradient,
    grid: HashGridSpec,
    adam: AdamSpec,
    later: bool = False,
) -> None:
    """See ``ops.table_adam_step``; never later."""
    row_adam_step(table, second, scatter_table_gradient(gradient, table, grid), adam)


@torch.no_grad()
def row_adam_step(
    table: Float[Tensor, "rows features"],
    second: Float[Tensor, " rows"],
    gradient: Float[Tensor, "rows features"],
    adam: AdamSpec,
) -> None:
    """See ``ops.row_adam_step``."""
    touched = (gradient != 0).any(-1)
    square = (gradient * gradient).mean(-1)
    new_second = adam.beta2 * second + (1.0 - adam.beta2) * square
    variance = new_second / (1.0 - adam.beta2**adam.step)
    change = adam.learning_rate * gradient / (variance.sqrt() + adam.epsilon)[:, None]
    table.copy_(torch.where(touched[:, None], table - change, table))
    second.copy_(torch.where(touched, new_second, second))


@torch.no_grad()
def adam_step(
    parameter: Float[Tensor, "*shape"],
    moments: tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]],
    gradient: Float[Tensor, "*shape"],
    adam: AdamSpec,
) -> None:
    """See ``ops.adam_step``."""
    first, second = moments
    slope = gradient + adam.weight_decay * parameter
    first.mul_(adam.beta1).add_((1.0 - adam.beta1) * slope)
    second.mul_(adam.beta2).add_((1.0 - adam.beta2) * slope * slope)
    mean = first / (1.0 - adam.beta1**adam.step)
    variance = second / (1.0 - adam.beta2**adam.step)
    parameter -= adam.learning_rate * mean / (variance.sqrt() + adam.epsilon)


def finish() -> None:
    """See ``ops.finish``."""
