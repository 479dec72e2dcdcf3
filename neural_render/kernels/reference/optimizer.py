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
    moments: tuple[Float[Tensor, "rows features"], Float[Tensor, "rows features"]],
    gradient: FactoredGradient,
    grid: HashGridSpec,
    adam: AdamSpec,
) -> None:
    """See ``ops.table_adam_step``."""
    dense = scatter_table_gradient(gradient, table, grid)
    adam_step(table, moments, dense, adam, skip_zeros=True)


@torch.no_grad()
def adam_step(
    parameter: Float[Tensor, "*shape"],
    moments: tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]],
    gradient: Float[Tensor, "*shape"],
    adam: AdamSpec,
    skip_zeros: bool,
) -> None:
    """See ``ops.adam_step``."""
    touched = torch.ones_like(gradient, dtype=torch.bool)
    if skip_zeros:
        touched = (gradient != 0).any(-1, keepdim=True).expand_as(gradient)
    first, second = moments
    slope = gradient + adam.weight_decay * parameter
    new_first = adam.beta1 * first + (1.0 - adam.beta1) * slope
    new_second = adam.beta2 * second + (1.0 - adam.beta2) * slope * slope
    mean = new_first / (1.0 - adam.beta1**adam.step)
    variance = new_second / (1.0 - adam.beta2**adam.step)
    change = adam.learning_rate * mean / (variance.sqrt() + adam.epsilon)
    parameter.copy_(torch.where(touched, parameter - change, parameter))
    first.copy_(torch.where(touched, new_first, first))
    second.copy_(torch.where(touched, new_second, second))
