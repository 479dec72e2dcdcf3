"""Peer ``nerfstudio``: its hash encoding, spherical harmonics and networks in plain PyTorch.

The sizes are those of every side. Its components are used as they are, under autograd and
``torch.optim.Adam(fused=True)``; one batch is repeated, nothing is marched or composited.
"""

import sys
import types
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.processes import answer, given
from benchmarks.records import rates_of, timed

OPTIONS = {"batch": 1 << 16, "log2_rows": 17, "threads": 2, "repeats": 3, "folder": ""}
LATENT = 16


def components(folder: str) -> tuple[Any, ...]:
    """``HashEncoding``, ``SHEncoding`` and ``MLP`` from ``folder`` (or installed); ImportError."""
    if folder:
        sys.path.append(folder)
    # For one rotation class that no field uses, nerfstudio imports a web viewer with its server.
    viewer, transforms = types.ModuleType("viser"), types.ModuleType("viser.transforms")
    sys.modules.setdefault("viser", viewer)
    sys.modules.setdefault("viser.transforms", transforms)
    vars(viewer)["transforms"] = transforms
    from nerfstudio.field_components.encodings import (  # pyright: ignore[reportMissingImports]
        HashEncoding,
        SHEncoding,
    )
    from nerfstudio.field_components.mlp import MLP  # pyright: ignore[reportMissingImports]

    return HashEncoding, SHEncoding, MLP


class Field(nn.Module):
    """Instant-NGP's field made of nerfstudio's components."""

    def __init__(self, log2_rows: int, folder: str) -> None:
        super().__init__()
        hash_encoding, harmonics, network = components(folder)
        kind = {"implementation": "torch"}
        self.grid = hash_encoding(16, 16, 2048, log2_rows, 2, **kind)
        self.harmonics = harmonics(4, **kind)
        self.density = network(32, 2, 64, LATENT, **kind)
        self.color = network(LATENT + 16, 3, 64, 3, out_activation=nn.Sigmoid(), **kind)

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Density and radiance."""
        latent = self.density(self.grid(points))
        inputs = torch.cat([latent, self.harmonics(directions)], dim=-1)
        return latent[:, 0].exp(), self.color(inputs)


def main(options: dict[str, Any]) -> dict[str, Any]:
    """The figures: million samples per CPU second of encoding, of forward, and of a whole step."""
    torch.set_num_threads(options["threads"])
    torch.manual_seed(0)
    batch = options["batch"]
    field = Field(options["log2_rows"], options["folder"])
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2, eps=1e-15, fused=True)
    points, targets = torch.rand(batch, 3), torch.rand(batch, 4)
    directions = nn.functional.normalize(torch.randn(batch, 3), dim=-1)

    def forward() -> tuple[Tensor, Tensor]:
        return field(points, directions)

    def step() -> None:
        density, radiance = forward()
        opacity = 1 - torch.exp(-density * (3**0.5 / 1024))
        loss = (radiance - targets[:, :3]).square().mean()
        (loss + (opacity - targets[:, 3]).square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()

    calls = {"encode": lambda: field.grid(points), "forward": forward}
    costs = {"step": timed(step, options["repeats"], options["threads"])}
    with torch.no_grad():
        for name, call in calls.items():
            costs[name] = timed(call, options["repeats"], options["threads"])
    return rates_of(costs, batch)


if __name__ == "__main__":
    answer(main(given(OPTIONS)))
