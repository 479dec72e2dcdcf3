"""The exponential moving average of the weights, which is what is rendered."""

import torch
from torch import Tensor, nn

# The average reaches back over at most this fraction of the run so far.
REACH = 0.1


class AveragedWeights:
    """A moving average of a field's parameters, updated only now and then.

    It weighs the past by ``decay`` per step, or by less early on, so that it never reaches back
    further than a tenth of the run: a short run is not averaged with its own beginning. There are
    about ten updates within the horizon of ``1 / (1 - decay)`` steps: as smooth as an update at
    every step at a fraction of the memory traffic.
    """

    def __init__(self, field: nn.Module, decay: float) -> None:
        self.decay = decay
        self.interval = max(1, round(0.1 / (1.0 - decay)))
        self.last_step = 0
        self.average = {name: tensor.detach().clone() for name, tensor in _parameters(field)}

    def due(self, step: int) -> bool:
        """Whether ``step`` is one of those that are averaged; the first few all are."""
        return step % self.interval == 0 or step < self.interval

    @torch.no_grad()
    def update(self, field: nn.Module, step: int) -> None:
        """Takes in the parameters after ``step`` (from 1, rising); the first updates copy them."""
        if step <= self.last_step:
            return
        decay = min(self.decay, max(0.0, 1.0 - 1.0 / (REACH * step)))
        weight = 1.0 - decay ** (step - self.last_step)
        for name, tensor in _parameters(field):
            self.average[name].lerp_(tensor, weight)
        self.last_step = step


def _parameters(field: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, parameter.detach()) for name, parameter in field.named_parameters()]
