"""Peer ``torch.compile``: Instant-NGP's field with its gradient written by hand, compiled.

What PyTorch does best on a CPU, as far as was found. Activations are feature-major and bfloat16;
the table is gathered as pairs of bfloat16 packed in one int32 and kept in float32 planes, one per
feature, for the gradient and Adam; indices are int32. The scatter is compiled for one thread,
because inductor's parallel one adds atomically, which costs three times the CPU seconds. Every
level is hashed by ``x + y*P1 + z*P2``. One batch is repeated; nothing is marched or composited.

Legend: f encoded features, h hidden activations, w weights, g gradient of what follows it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.processes import answer, given
from benchmarks.records import rates_of, timed

LEVELS, COARSEST, FINEST = 16, 16, 2048
LATENT = 16
SHAPES = ((64, 32), (LATENT, 64), (64, LATENT + 16), (64, 64), (3, 64))  # of the weights, in order
PRIMES = (1, -1640531535, 805459861)  # 2654435761 as int32, whose products wrap
STEP = 3**0.5 / 1024  # the length over which density becomes the opacity that the loss sees
RATE, BETA1, BETA2, EPSILON = 1e-2, 0.9, 0.99, 1e-15
HALF = torch.bfloat16
OPTIONS = {"batch": 1 << 16, "log2_rows": 17, "threads": 2, "repeats": 7}


def scales() -> Tensor:
    """The number of cells along an axis of every level."""
    growth = math.log(FINEST / COARSEST) / (LEVELS - 1)
    return torch.tensor([COARSEST * math.exp(growth * level) for level in range(LEVELS)])


def cells(points: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Cell indices (int32) and the places inside the cells, both ``[levels 3 samples]``."""
    position = points[None] * scale[:, None, None]
    cell = position.floor()
    return cell.to(torch.int32), position - cell


def level_offsets(log2_rows: int) -> Tensor:
    """The first row of every level."""
    return torch.arange(LEVELS, dtype=torch.int32) << log2_rows


def encode(points: Tensor, packed: Tensor, log2_rows: int) -> Tensor:
    """Interpolated features ``[2*levels samples]``; corners unrolled, so that gathers fuse."""
    cell, place = cells(points, scales())
    first = second = torch.zeros(())
    for corner in range(8):
        hashed, weight = 0, 1.0
        for axis, prime in enumerate(PRIMES):
            bit = corner >> axis & 1
            hashed = hashed + (cell[:, axis] + bit) * prime
            weight = weight * (place[:, axis] if bit else 1 - place[:, axis])
        pair = packed[(hashed & ((1 << log2_rows) - 1)) + level_offsets(log2_rows)[:, None]]
        first = first + (pair << 16).view(torch.float32) * weight
        second = second + (pair & -65536).view(torch.float32) * weight
    return torch.stack([first, second], dim=1).reshape(2 * LEVELS, -1).to(HALF)


def scatter(points: Tensor, g_features: Tensor, log2_rows: int) -> list[Tensor]:
    """The table's gradient, a plane per feature, from that of the features."""
    cell, place = cells(points, scales())
    corners = torch.arange(8, dtype=torch.int32)[:, None]
    hashed, weight = 0, 1.0
    for axis, prime in enumerate(PRIMES):
        bit = (corners >> axis) & 1
        hashed = hashed + (cell[:, axis, None] + bit) * prime
        part = place[:, axis, None]
        weight = weight * torch.where(bit == 1, part, 1 - part)
    rows = (hashed & ((1 << log2_rows) - 1)) + level_offsets(log2_rows)[:, None, None]
    g_corners = g_features.reshape(LEVELS, 2, 1, -1)
    empty = torch.zeros(LEVELS << log2_rows)
    return [empty.index_put((rows,), g_corners[:, i] * weight, accumulate=True) for i in (0, 1)]


def harmonics(directions: Tensor) -> Tensor:
    """The 16 real spherical harmonics up to degree 3, ``[16 samples]``."""
    x, y, z = directions
    xx, yy, zz = x * x, y * y, z * z
    values = [
        torch.full_like(x, 0.28209479),
        *(-0.48860251 * y, 0.48860251 * z, -0.48860251 * x),
        *(1.09254843 * x * y, -1.09254843 * y * z, 0.94617470 * zz - 0.31539157),
        *(-1.09254843 * x * z, 0.54627422 * (xx - yy), 0.59004359 * y * (yy - 3 * xx)),
        *(2.89061144 * x * y * z, 0.45704580 * y * (1 - 5 * zz), 0.37317633 * z * (5 * zz - 3)),
        *(0.45704580 * x * (1 - 5 * zz), 1.44530572 * z * (xx - yy)),
        0.59004359 * x * (3 * yy - xx),
    ]
    return torch.stack(values).to(HALF)


def networks(f: Tensor, directions: Tensor, weights: list[Tensor]) -> tuple[Tensor, ...]:
    """Density, radiance, and the activations that the backward pass needs."""
    w = [weight.to(HALF) for weight in weights]
    h1 = (w[0] @ f).relu()
    latent = w[1] @ h1
    inputs = torch.cat([latent, harmonics(directions)])
    h2 = (w[2] @ inputs).relu()
    h3 = (w[3] @ h2).relu()
    return latent[0].float().exp(), (w[4] @ h3).float().sigmoid(), h1, inputs, h2, h3


def networks_backward(
    f: Tensor, made: tuple[Tensor, ...], weights: list[Tensor], targets: Tensor
) -> list[Tensor]:
    """The gradient to the encoded features, then to every weight matrix.

    The loss is the mean squared errors of radiance and of opacity over one step, added.
    """
    density, radiance, h1, inputs, h2, h3 = made
    w = [weight.to(HALF) for weight in weights]
    clear = torch.exp(-density * STEP)
    g_density = (1 - clear - targets[3]) * clear * (2 * STEP / density.shape[0])
    g_radiance = (radiance - targets[:3]) * (2 / radiance.numel())
    g4 = (g_radiance * radiance * (1 - radiance)).to(HALF)
    g3 = (w[4].T @ g4) * (h3 > 0)
    g2 = (w[3].T @ g3) * (h2 > 0)
    g_inputs = w[2].T @ g2
    g_log = g_inputs[:1] + (g_density * density).to(HALF)
    g_latent = torch.cat([g_log, g_inputs[1:LATENT]])
    g1 = (w[1].T @ g_latent) * (h1 > 0)
    pairs = ((g1, f), (g_latent, h1), (g2, inputs), (g3, h2), (g4, h3))
    return [(w[0].T @ g1).float(), *((g @ before.T).float() for g, before in pairs)]


def table_adam(
    table: Tensor, moments: tuple[Tensor, Tensor], planes: list[Tensor], step: Tensor
) -> tuple[Tensor, ...]:
    """Table, both moments and the packed table after one step of Adam (Kingma and Ba 2015)."""
    gradient = torch.stack(planes)
    first = BETA1 * moments[0] + (1 - BETA1) * gradient
    second = BETA2 * moments[1] + (1 - BETA2) * gradient * gradient
    scale = torch.sqrt(second / (1 - BETA2**step)) + EPSILON
    table = table - RATE * (first / (1 - BETA1**step)) / scale
    return table, first, second, pack(table)


def pack(table: Tensor) -> Tensor:
    """Both features of every row, rounded to bfloat16 (half up), in one int32."""
    bits = table.view(torch.int32) + 0x8000
    return ((bits[0] >> 16) & 0xFFFF) | (bits[1] & -65536)


class Peer:
    """The field, its optimizer and one batch; ``compiler`` makes functions fast, or leaves them."""

    def __init__(self, batch: int, log2_rows: int, compiler: Callable[..., Any]) -> None:
        generator = torch.Generator().manual_seed(0)
        self.log2_rows = log2_rows
        self.points = torch.rand(3, batch, generator=generator)
        normals = torch.randn(3, batch, generator=generator)
        self.directions = torch.nn.functional.normalize(normals, dim=0)
        self.targets = torch.rand(4, batch, generator=generator)
        self.table = (torch.rand(2, LEVELS << log2_rows, generator=generator) - 0.5) * 2e-4
        self.moments = (torch.zeros_like(self.table), torch.zeros_like(self.table))
        self.packed, self.steps = pack(self.table), torch.zeros(())
        self.weights = [
            (torch.randn(shape, generator=generator) * (2 / shape[1]) ** 0.5) for shape in SHAPES
        ]
        self.optimizer = torch.optim.Adam(self.weights, lr=RATE, fused=True)
        one_thread = {"options": {"cpp.threads": 1}}
        self._encode, self._networks = compiler(encode), compiler(networks)
        self._backward, self._adam = compiler(networks_backward), compiler(table_adam)
        self._scatter = compiler(scatter, **one_thread)

    def encode(self) -> Tensor:
        """Features of the batch."""
        return self._encode(self.points, self.packed, self.log2_rows)

    def forward(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features of the batch and what the networks make of them."""
        f = self.encode()
        return f, self._networks(f, self.directions, self.weights)

    def gradients(self) -> tuple[list[Tensor], list[Tensor]]:
        """The loss's gradients to the table and to the weights."""
        f, made = self.forward()
        g_features, *g_weights = self._backward(f, made, self.weights, self.targets)
        return self._scatter(self.points, g_features, self.log2_rows), g_weights

    @torch.no_grad()
    def step(self) -> None:
        """One step of Adam on all parameters."""
        g_table, g_weights = self.gradients()
        self.steps += 1
        stepped = self._adam(self.table, self.moments, g_table, self.steps)
        self.table, self.moments, self.packed = stepped[0], stepped[1:3], stepped[3]
        for weight, gradient in zip(self.weights, g_weights, strict=True):
            weight.grad = gradient
        self.optimizer.step()


def main(options: dict[str, Any]) -> dict[str, Any]:
    """The figures: million samples per CPU second of encoding, of forward, and of a whole step."""
    torch.set_num_threads(options["threads"])
    peer = Peer(options["batch"], options["log2_rows"], torch.compile)
    peer.step()
    calls = {"encode": peer.encode, "forward": peer.forward, "step": peer.step}
    repeats, threads = options["repeats"], options["threads"]
    costs = {name: timed(call, repeats, threads) for name, call in calls.items()}
    return rates_of(costs, options["batch"])


if __name__ == "__main__":
    answer(main(given(OPTIONS)))
