"""From the gradients of one process's rays to those of the whole batch, the same on all processes.

The parts are gathered and every process adds them up in the same order, so that all take the same
step of Adam and their parameters stay equal, on like processors bit for bit (see ``synchronise``).
The table's gradient stays factored and is put one part behind the other, without any sum: that
moves (3 + features) numbers for each sample that counts, 140 bytes at the default 16 levels of 2
features. Reducing the dense table would move each of its entries twice, 33 MB at 2^17 rows: as much
as a quarter of a million samples. What it costs instead is that each process scatters all samples.
Networks and cameras are small, and a dense gradient of the table, which fields without a fused view
have, is gathered whole.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from neural_render.core.processes import group
from neural_render.kernels.records import FactoredGradient, RenderLoss
from neural_render.training.runs.state import TrainingState

SYNCHRONISE_EVERY = 1000  # steps


@dataclass(frozen=True, kw_only=True)
class BatchGradients:
    """What the rays of a batch saw, and the gradients of its loss by the parameters' names."""

    seen: RenderLoss
    regions: Int[Tensor, " known"]
    parameters: Mapping[str, Tensor | FactoredGradient]
    cameras: Mapping[str, Tensor]


def of_whole_batch(part: BatchGradients, num_rays: int) -> BatchGradients:
    """The gradients of the loss of all ``num_rays`` rays, of which each process has its share.

    Losses are means over rays, so that each part counts by its number of them.
    """
    if group.size() == 1:
        return part
    share = len(part.seen.squared) / num_rays
    factored = {k: g for k, g in part.parameters.items() if isinstance(g, FactoredGradient)}
    dense = {k: g for k, g in part.parameters.items() if isinstance(g, Tensor)}
    slopes = [*dense.values(), *part.cameras.values()]
    flat = torch.cat([share * slope.flatten() for slope in slopes])
    counts = [len(gradient.points) for gradient in factored.values()]
    seen = part.seen
    fitting = seen.num_fitting
    fitting = seen.num_survived.new_full((), len(seen.squared)) if fitting is None else fitting
    figures = [share * seen.loss.double(), seen.num_marched, seen.num_survived, fitting]
    rows = -(-num_rays // group.size())
    figures, flat, squared, regions = group.gathered(
        torch.stack([*figures, *map(seen.loss.double().new_tensor, counts)]),
        flat,
        _padded(seen.squared, rows),
        _padded(part.regions, rows),
    )
    loss, marched, survived, fitting, *kept = figures.unbind(1)
    summed = functools.reduce(torch.add, flat.unbind())
    parts = summed.split([slope.numel() for slope in slopes])
    whole = [part.view(slope.shape) for part, slope in zip(parts, slopes, strict=True)]
    joined = {
        name: _joined(gradient, numbers.long().tolist(), share)
        for (name, gradient), numbers in zip(factored.items(), kept, strict=True)
    }
    return BatchGradients(
        seen=RenderLoss(
            loss=loss.sum().to(seen.loss),
            squared=squared.T.flatten()[:num_rays],
            num_marched=marched.sum().long(),
            num_survived=survived.sum().long(),
            num_fitting=fitting.sum().long(),
        ),
        regions=regions.T.flatten()[:num_rays],
        parameters=dict(zip(dense, whole, strict=False)) | joined,
        cameras=dict(zip(part.cameras, whole[len(dense) :], strict=True)),
    )


def _padded(values: Tensor, rows: int) -> Tensor:
    """As many on each process; none stay none."""
    return torch.nn.functional.pad(values, (0, rows - len(values))) if len(values) else values


def _joined(gradient: FactoredGradient, counts: list[int], share: float) -> FactoredGradient:
    """The samples of all processes, one after another, with each one's share of the gradient."""
    own = gradient.points.new_zeros(3 + len(gradient.features), max(counts))
    num = len(gradient.points)
    own[:3, :num], own[3:, :num] = gradient.points.T, share * gradient.features
    (parts,) = group.gathered(own)
    kept = [part[:, :count] for part, count in zip(parts, counts, strict=True)]
    all_samples = torch.cat(kept, dim=1)
    return FactoredGradient(points=all_samples[:3].T, features=all_samples[3:])


@torch.no_grad()
def synchronise(state: TrainingState) -> None:
    """Gives all processes the first one's parameters.

    On like processors they are equal anyway. GPUs, which add in any order, and machines of
    different instruction sets drift apart in the last digits.
    """
    if group.size() == 1:
        return
    fitted = [parameter.detach() for parameter in state.field.parameters()]
    learnt = [*state.adjustment.state().values()]
    for tensor in (*fitted, *state.moments.values(), *state.average.average.values(), *learnt):
        tensor.copy_(group.tensor_of_first(tensor))
    errors = state.errors.state()
    state.errors.load_state({name: group.tensor_of_first(t) for name, t in errors.items()})
