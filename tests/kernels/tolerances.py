"""How far results may lie from what they should be, by backend and dtype, each with its reason."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """``|actual - expected| <= relative * |expected| + of_largest * max |expected|``."""

    relative: float
    of_largest: float
    reason: str


# Closed forms against the reference, by dtype.
CLOSED_FORM = {
    torch.float64: Tolerance(
        relative=1e-13, of_largest=1e-13, reason="a few hundred roundings of 1e-16"
    ),
    torch.float32: Tolerance(
        relative=2e-6, of_largest=2e-6, reason="a few dozen roundings of 6e-8"
    ),
}

# A backend against the reference of the same dtype, by what is compared.
PARITY = {
    ("cpu", torch.float32): {
        "values": Tolerance(
            relative=2e-5,
            of_largest=1e-5,
            reason="a fused multiply-add moves a point by half an ulp: 2e-6 of a cell of level 61",
        ),
        "values of level 2048": Tolerance(
            relative=2e-4,
            of_largest=2e-4,
            reason="half an ulp of a point is 6e-5 of a cell, and neighbours differ by up to 1",
        ),
        "gradients": Tolerance(
            relative=1e-4,
            of_largest=3e-5,
            reason="sums of a thousand terms in another order",
        ),
        "distances": Tolerance(
            relative=1e-6, of_largest=0.0, reason="a few roundings, and another exponential"
        ),
        "render": Tolerance(
            relative=5e-4,
            of_largest=1e-4,
            reason="interval lengths are differences of distances: 1e-7 / 2e-3 relative error",
        ),
        "render gradients": Tolerance(
            relative=2e-3,
            of_largest=2e-3,
            reason="as above; a sample that flips at a border takes its share along, and so does "
            "a unit that falls to the other side of its ReLU's kink",
        ),
        "adam": Tolerance(
            relative=1e-5,
            of_largest=1e-6,
            reason="a few roundings of the step's square root and quotient",
        ),
    },
}

# Rays that must have the very same samples: the rest may lose or gain one at a cell's border,
# where float32 decides by its last bit.
SAME_SAMPLES = 0.995


def assert_close(
    actual: Tensor, expected: Tensor, tolerance: Tolerance, name: str = "", floor: float = 0.0
) -> None:
    """Fails with the worst offender if the two are further apart than allowed.

    ``floor``: the largest counts as at least this, where terms of this size may cancel to nothing.
    """
    assert actual.shape == expected.shape, f"{name}: {actual.shape}, not {expected.shape}"
    assert actual.dtype == expected.dtype, f"{name}: {actual.dtype}, not {expected.dtype}"
    excess = exceeding(actual, expected, tolerance, floor)
    assert not excess.any(), _message(actual, expected, excess, name)


def assert_close_for_most(
    actual: Tensor, expected: Tensor, tolerance: Tolerance, name: str = ""
) -> None:
    """As above, for all rows but those that `SAME_SAMPLES` lets off."""
    assert actual.shape == expected.shape, f"{name}: {actual.shape}, not {expected.shape}"
    excess = exceeding(actual, expected, tolerance).flatten(1 if actual.dim() > 1 else 0)
    rows = excess.any(1) if excess.dim() > 1 else excess
    let_off = int(len(rows) * (1 - SAME_SAMPLES)) if len(rows) >= 100 else 0
    assert int(rows.sum()) <= let_off, _message(actual, expected, excess.view_as(actual), name)


def exceeding(actual: Tensor, expected: Tensor, tolerance: Tolerance, floor: float = 0.0) -> Tensor:
    """Where the two are further apart than allowed; NaN is never close."""
    largest = expected.abs().max() if expected.numel() else expected.new_zeros(())
    largest = largest.clamp(min=floor)
    allowed = tolerance.relative * expected.abs() + tolerance.of_largest * largest
    return ~((actual - expected).abs() <= allowed)


def _message(actual: Tensor, expected: Tensor, excess: Tensor, name: str) -> str:
    error = (actual - expected).abs().nan_to_num(torch.inf).where(excess, 0)
    worst = torch.unravel_index(error.argmax(), error.shape)
    return (
        f"{name}: {int(excess.sum())} of {excess.numel()} differ; worst {actual[worst].item()}"
        f" where {expected[worst].item()} was expected (largest {expected.abs().max().item()})"
    )
