"""Compositing: media with known answers, the distortion's double sum, gradients."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from neural_render.kernels import ops
from neural_render.kernels.records import PackedSamples
from neural_render.kernels.reference.compositing import gathered
from neural_render.kernels.reference.marching import pack
from tests.kernels.problems import generator, packed_samples
from tests.kernels.tolerances import CLOSED_FORM, assert_close

CLOSE = CLOSED_FORM[torch.float64]


def slab(edges: Tensor) -> PackedSamples:
    """One ray with intervals between neighbouring edges."""
    num = edges.shape[0] - 1
    return pack(edges[:-1], edges[1:], torch.zeros(num, dtype=torch.int64), 1, num)


@pytest.mark.parametrize("density", [0.0, 0.3, 5.0, 1e4])
def test_the_opacity_of_a_slab(density: float) -> None:
    """``1 - exp(-sigma d)``, however the slab is cut."""
    cuts = torch.rand(50, generator=generator(0), dtype=torch.float64).sort().values
    samples = slab(torch.cat([cuts.new_zeros(1), cuts, cuts.new_ones(1)]) * 0.7 + 2.0)
    sigma = torch.full((51,), density, dtype=torch.float64)
    color = torch.tensor([[0.2, 0.5, 1.5]], dtype=torch.float64)
    background = torch.tensor([[1.0, 0.0, 0.25]], dtype=torch.float64)
    seen = ops.composite(sigma, color.expand(51, 3), samples, background)
    opacity = 1 - math.exp(-density * 0.7)
    assert seen.opacity.item() == pytest.approx(opacity, rel=1e-12)
    assert_close(seen.values, color * opacity + background * (1 - opacity), CLOSE)
    assert seen.weights.sum().item() == pytest.approx(opacity, rel=1e-12)


def test_two_samples_by_hand() -> None:
    """Optical depths ln 2 each: weights 1/2 and 1/4; distance (1/2 * 1.5 + 1/4 * 3) / (3/4) = 2."""
    samples = pack(
        torch.tensor([1.0, 2.5]).double(),
        torch.tensor([2.0, 3.5]).double(),
        torch.tensor([1, 1]),
        3,
        2,
    )
    density = torch.full((2,), math.log(2), dtype=torch.float64)
    radiance = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    background = torch.full((3, 1), 8.0, dtype=torch.float64)
    seen = ops.composite(density, radiance, samples, background)
    assert seen.weights.tolist() == pytest.approx([0.5, 0.25])
    assert seen.values.flatten().tolist() == pytest.approx([8.0, 0.5 + 1.0 + 2.0, 8.0])
    assert seen.opacity.tolist() == pytest.approx([0.0, 0.75, 0.0])
    assert seen.distance.tolist() == pytest.approx([0.0, 2.0, 0.0])
    # 2 * 1/2 * 1/4 * 1.5 + (1/4 + 1/16) / 3
    assert seen.distortion.tolist() == pytest.approx([0.0, 0.375 + 0.3125 / 3, 0.0])


def test_distortion_is_the_double_sum() -> None:
    """Barron et al. 2022, eq. 15, term by term."""
    samples = packed_samples([9, 0, 1, 30], 40, torch.float64)
    density = torch.rand(40, generator=generator(1), dtype=torch.float64) * 60
    background = torch.zeros(4, 1, dtype=torch.float64)
    seen = ops.composite(density, density[:, None], samples, background)
    middle = 0.5 * (samples.t_near + samples.t_far)
    length = samples.t_far - samples.t_near
    offsets = samples.offsets.tolist()
    for ray, (first, end) in enumerate(pairwise(offsets)):
        expected = 0.0
        for i in range(first, end):
            w = seen.weights[i].item()
            expected += w * w * length[i].item() / 3
            for j in range(first, end):
                expected += w * seen.weights[j].item() * abs(middle[i] - middle[j]).item()
        assert seen.distortion[ray].item() == pytest.approx(expected, rel=1e-9)


def test_infinite_density_is_a_wall() -> None:
    """Nothing behind it is seen, and no gradient is NaN."""
    samples = slab(torch.tensor([0.0, 1.0, 2.0]))
    density = torch.tensor([torch.inf, 1.0], requires_grad=True)
    radiance = torch.tensor([[0.5], [9.0]])
    seen = ops.composite(density, radiance, samples, torch.zeros(1, 1))
    (seen.values.sum() + seen.distortion.sum() + seen.distance.sum()).backward()
    assert (seen.values.item(), seen.opacity.item(), seen.distance.item()) == (0.5, 1.0, 0.5)
    assert density.grad is not None and density.grad.isfinite().all()


@pytest.mark.parametrize("counts", [[], [0, 0], [1], [0, 4, 0, 3]])
def test_entries_beyond_the_count_take_no_part(counts: list[int]) -> None:
    """Whatever stands there: no weight, no gradient."""
    total = sum(counts)
    samples = packed_samples(counts, total + 3)
    density = torch.rand(total + 3, generator=generator(1))
    radiance = torch.rand(total + 3, 2, generator=generator(2))
    density[total:], radiance[total:] = torch.nan, torch.inf
    background = torch.rand(len(counts), 2, generator=generator(3)).requires_grad_()
    seen = ops.composite(density.requires_grad_(), radiance.requires_grad_(), samples, background)
    assert seen.values.isfinite().all() and (seen.weights[total:] == 0).all()
    (seen.values.sum() + seen.distance.sum() + seen.distortion.sum()).backward()
    assert density.grad is not None and radiance.grad is not None and background.grad is not None
    assert (density.grad[total:] == 0).all() and (radiance.grad[total:] == 0).all()
    assert density.grad.isfinite().all() and radiance.grad.isfinite().all()
    empty = torch.tensor(counts) == 0
    assert torch.equal(background.grad[empty], torch.ones_like(background[empty]))


@pytest.mark.parametrize("counts", [[0], [1], [3, 0, 5]])
def test_gradients(counts: list[int]) -> None:
    """Of all five outputs to density, radiance and background, against finite differences."""
    capacity = sum(counts) + 1
    samples = packed_samples(counts, capacity, torch.float64)
    density = torch.rand(capacity, generator=generator(1), dtype=torch.float64) * 20 + 5
    radiance = torch.rand(capacity, 2, generator=generator(2), dtype=torch.float64)
    background = torch.rand(len(counts), 2, generator=generator(3), dtype=torch.float64)

    def outputs(density: Tensor, radiance: Tensor, background: Tensor) -> tuple[Tensor, ...]:
        seen = ops.composite(density, radiance, samples, background)
        return seen.values, seen.opacity, seen.distance, seen.distortion, seen.weights

    leaves = [leaf.requires_grad_() for leaf in (density, radiance, background)]
    assert gradcheck(outputs, leaves)


def test_weights_are_gathered_until_they_suffice() -> None:
    """The second ray never gathers enough; what the first has left goes to its last colour."""
    w = torch.tensor([[0.25, 0.25, 0.5, 0.125, 0.125], [0.125, 0.125, 0.0, 0.0, 0.0]])
    shares = gathered(w, 0.375)
    assert shares.tolist() == [[0.0, 0.5, 0.75, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]
    assert torch.equal(gathered(w, 1e-9).sum(1), w.sum(1))
    assert gathered(w[:, :0], 0.5).shape == (2, 0)
