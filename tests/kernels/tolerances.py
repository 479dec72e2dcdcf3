"""How far results may lie from what they should be, by backend and dtype, each with its reason."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from neural_render.kernels import dispatch


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """``|actual - expected| <= relative * |expected| + of_largest * max |expected|``, each."""

    relative: float
    of_largest: float
    reason: str

    def exceeding(
        self, actual: Tensor, expected: Tensor, floor: float = 0.0, parts: int = 0
    ) -> Tensor:
        """Where the two are further apart than allowed; NaN is never close."""
        largest = expected.abs().max() if expected.numel() else expected.new_zeros(())
        largest = largest.clamp(min=floor)
        allowed = self.relative * expected.abs() + self.of_largest * largest
        return ~((actual - expected).abs() <= allowed)

    def of_whole(self) -> "WholeTolerance":
        """The same for the length of the difference, so that one flip at a border may be."""
        apart = 2 * (self.relative + self.of_largest)
        return WholeTolerance(of_norm=apart, of_few=0.0, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class WholeTolerance:
    """``||actual - expected|| <= of_norm * (1 + of_few / sqrt(parts)) * ||expected||``, together.

    For numbers of few digits: where a unit falls to the other side of its ReLU's kink, single
    elements are far off, and rightly. The fewer ``parts`` the numbers come from, samples or the
    like, the less that evens out; without ``parts`` each number is one.
    """

    of_norm: float
    of_few: float
    reason: str

    def exceeding(
        self, actual: Tensor, expected: Tensor, floor: float = 0.0, parts: int = 0
    ) -> Tensor:
        """Everywhere, if the two are further apart than allowed, else nowhere; NaN is never close.

        Numbers whose squares float32 cannot hold count as zero.
        """
        difference = (actual.double() - expected.double()).norm()
        length = expected.double().norm().clamp(min=floor * sqrt(expected.numel()))
        few = self.of_few / sqrt(parts or max(1, expected.numel()))
        allowed = self.of_norm * (1 + few) * length + 1e-12
        return torch.full_like(expected, not difference <= allowed, dtype=torch.bool)

    def of_whole(self) -> "WholeTolerance":
        """Itself."""
        return self


# Closed forms against the reference, by dtype.
CLOSED_FORM = {
    torch.float64: Tolerance(
        relative=1e-13, of_largest=1e-13, reason="a few hundred roundings of 1e-16"
    ),
    torch.float32: Tolerance(
        relative=2e-6, of_largest=2e-6, reason="a few dozen roundings of 6e-8"
    ),
}

FLOAT32 = {
    "values": Tolerance(
        relative=2e-5,
        of_largest=1e-5,
        reason="a fused multiply-add moves a point by half an ulp: 2e-6 of a cell of level 61",
    ),
    "features of level 2048": Tolerance(
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
}
# The same limits, where a backend in bfloat16 differs.
FLOAT32["features"] = FLOAT32["exponentials"] = FLOAT32["values"]
FLOAT32["feature gradients"] = FLOAT32["gradients of narrow networks"] = FLOAT32["gradients"]
FLOAT32["render of narrow networks"] = FLOAT32["render"]
FLOAT32["render gradients of narrow networks"] = FLOAT32["render gradients"]
# Measured on one machine and doubled at most. What touches neither table entries nor network
# weights is float32 there too, and as close.
BFLOAT16 = FLOAT32 | {
    "features of level 2048": WholeTolerance(of_norm=3e-3, of_few=4.0, reason="as features"),
    "features": WholeTolerance(
        of_norm=3e-3, of_few=4.0, reason="an entry keeps 8 bits: 1.7e-3 on average"
    ),
    "feature gradients": WholeTolerance(
        of_norm=5e-3, of_few=4.0, reason="slopes to points are differences of entries"
    ),
    "values": WholeTolerance(
        of_norm=7e-3, of_few=4.0, reason="weights and activations of up to four layers: 2e-3 each"
    ),
    "exponentials": WholeTolerance(
        of_norm=6e-2, of_few=4.0, reason="an exponent of 18 is off by 2e-3 of itself: 0.04"
    ),
    "gradients": WholeTolerance(
        of_norm=0.12,
        of_few=8.0,
        reason="of two hidden layers of 11 units, one is within 4e-3 of its kink in every 14th "
        "sample, and takes a third of that sample's slope along",
    ),
    "gradients of narrow networks": WholeTolerance(
        of_norm=0.3, of_few=8.0, reason="as above, and one of five units is half of the slope"
    ),
    "render": WholeTolerance(
        of_norm=1e-3, of_few=4.0, reason="as values, evened out along each ray"
    ),
    "render of narrow networks": WholeTolerance(
        of_norm=4e-3, of_few=4.0, reason="as values, where a ray has one sample"
    ),
    "render gradients": WholeTolerance(
        of_norm=0.06, of_few=8.0, reason="as gradients, evened out along each ray"
    ),
    "render gradients of narrow networks": WholeTolerance(
        of_norm=0.3, of_few=8.0, reason="as above, and one of five units is half of the slope"
    ),
}
# A backend against the reference in float32, by the numbers that it computes with. float16 keeps
# three bits more than bfloat16, and tiny-cuda-nn sums in it, which takes some back.
PARITY = {
    ("cpu", "float32"): FLOAT32,
    ("cpu", "bfloat16"): BFLOAT16,
    ("cuda", "float32"): FLOAT32,
    ("cuda", "float16"): BFLOAT16,
    ("cuda", "bfloat16"): BFLOAT16,
    ("tcnn", "float32"): FLOAT32,
    ("tcnn", "float16"): BFLOAT16,
}


def parity(backend: str, kind: str, precision: str = "") -> Tolerance | WholeTolerance:
    """How far ``kind`` may lie from the reference's.

    ``precision``: what it is computed with; by default what the backend has chosen.
    """
    return PARITY[backend, precision or dispatch.load(backend).precision()][kind]


# Rays that must have the very same samples: the rest may lose or gain one at a cell's border,
# where float32 decides by its last bit.
SAME_SAMPLES = 0.995


def assert_close(
    actual: Tensor,
    expected: Tensor,
    tolerance: Tolerance | WholeTolerance,
    name: str = "",
    floor: float = 0.0,
    parts: int = 0,
) -> None:
    """Fails with the worst offender if the two are further apart than allowed.

    ``floor``: the largest counts as at least this, where terms of this size may cancel to nothing.
    ``parts``: see `WholeTolerance`.
    """
    assert actual.shape == expected.shape, f"{name}: {actual.shape}, not {expected.shape}"
    assert actual.dtype == expected.dtype, f"{name}: {actual.dtype}, not {expected.dtype}"
    excess = tolerance.exceeding(actual, expected, floor, parts)
    assert not excess.any(), _message(actual, expected, excess, name)


def assert_close_for_most(
    actual: Tensor, expected: Tensor, tolerance: Tolerance | WholeTolerance, name: str = ""
) -> None:
    """As above, for all rows but those that `SAME_SAMPLES` lets off: the worst."""
    assert actual.shape == expected.shape, f"{name}: {actual.shape}, not {expected.shape}"
    num_rows = len(expected)
    let_off = int(num_rows * (1 - SAME_SAMPLES)) if num_rows >= 100 else 0
    if isinstance(tolerance, WholeTolerance):
        errors = (actual - expected).view(num_rows, -1).norm(dim=1) if num_rows else expected
        kept = errors.argsort()[: num_rows - let_off]
        assert_close(actual[kept], expected[kept], tolerance, name)
        return
    excess = tolerance.exceeding(actual, expected).flatten(1 if actual.dim() > 1 else 0)
    rows = excess.any(1) if excess.dim() > 1 else excess
    assert int(rows.sum()) <= let_off, _message(actual, expected, excess.view_as(actual), name)


def _message(actual: Tensor, expected: Tensor, excess: Tensor, name: str) -> str:
    error = (actual - expected).abs().nan_to_num(torch.inf).where(excess, 0)
    worst = torch.unravel_index(error.argmax(), error.shape)
    apart, length = (x.double().norm().item() for x in (actual - expected, expected))
    return (
        f"{name}: {int(excess.sum())} of {excess.numel()} differ; worst {actual[worst].item()}"
        f" where {expected[worst].item()} was expected (largest {expected.abs().max().item()});"
        f" {apart:.3g} apart as a whole, of {length:.3g}"
    )
