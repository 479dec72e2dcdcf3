"""The numbers of splats while they are fitted, and the steps that Adam takes with them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.kernels import ops
from neural_render.kernels.specs import AdamSpec
from neural_render.kernels.splats.records import Splats

# Places are fitted in units of each splat's own spacing, so that one rate suits near and far.
RATES = {
    "offsets": 0.12,
    "scales": 0.05,
    "rotations": 0.008,
    "opacities": 0.15,
    "plain": 0.02,
    "turning": 0.003,
}
RATE_END = 0.05  # of the rate at the beginning
BETA2 = 0.99


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Adam's of one tensor."""

    first: Tensor
    second: Tensor


class SplatParameters:
    """Splats as Adam sees them; changed in place."""

    def __init__(self, splats: Splats, unit: Float[Tensor, " splats"]) -> None:
        """Begins at ``splats``, whose places move by ``unit``."""
        self.start = splats.means.clone()
        self.unit = unit.clone()
        given = _split(splats, torch.zeros_like(splats.means))
        self.values = {name: value.clone() for name, value in given.items()}
        self.moments = {
            name: Moments(first=torch.zeros_like(value), second=torch.zeros_like(value))
            for name, value in self.values.items()
        }
        self.steps = 0

    def __len__(self) -> int:
        """The number of splats."""
        return len(self.unit)

    @property
    def num_harmonics(self) -> int:
        """Of each splat's colour."""
        return 1 + self.values["turning"].shape[1]

    def splats(self) -> Splats:
        """The splats as they are until the next step."""
        values = self.values
        return Splats(
            means=torch.addcmul(self.start, self.unit[:, None], values["offsets"]),
            scales=values["scales"],
            rotations=values["rotations"],
            opacities=values["opacities"],
            colors=torch.cat([values["plain"], values["turning"]], dim=1),
        )

    def step(self, gradient: Splats, done: float) -> None:
        """One step of Adam; ``done`` is the share of all steps, at whose end rates are smallest."""
        self.steps += 1
        rate = RATE_END**done
        given = _split(gradient, gradient.means * self.unit[:, None])
        for name, value in self.values.items():
            spec = AdamSpec(learning_rate=RATES[name] * rate, step=self.steps, beta2=BETA2)
            moments = self.moments[name]
            ops.adam_step(value, (moments.first, moments.second), given[name], spec)

    def replace(
        self, index: Int[Tensor, " moved"], splats: Splats, unit: Float[Tensor, " moved"]
    ) -> None:
        """Puts other splats in the place of those at ``index``."""
        self.start[index], self.unit[index] = splats.means, unit
        for name, value in _split(splats, torch.zeros_like(splats.means)).items():
            self.values[name][index] = value
            self.moments[name].first[index] = 0
            self.moments[name].second[index] = 0


def _split(splats: Splats, offsets: Tensor) -> dict[str, Tensor]:
    """The numbers by the rates that they are stepped with."""
    return {
        "offsets": offsets,
        "scales": splats.scales,
        "rotations": splats.rotations,
        "opacities": splats.opacities,
        "plain": splats.colors[:, :1].contiguous(),
        "turning": splats.colors[:, 1:].contiguous(),
    }
