"""When one explanation of the matches is better than another, and when it is good.

Pairs of photos are the independent observations: a pair counts once however many matches it has.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

# At MATCH_SIDE. Structure from motion leaves some tenths of a pixel, a phone's tracking a few.
FLOOR_PX, CEILING_PX = 0.1, 40.0
GOOD_PX = 4.0
# One chance in a thousand that so many pairs improve where nothing is better.
SIGNIFICANCE = 1e-3
LEAST_PAIRS = 5


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """How well some cameras explain each pair (its median residual in pixels at MATCH_SIDE)."""

    errors_px: Float64[np.ndarray, " pairs"]

    @property
    def score(self) -> float:
        """The mean logarithm of the errors, each held between what is perfect and hopeless."""
        return float(np.log(self.errors_px.clip(FLOOR_PX, CEILING_PX)).mean())

    @property
    def typical_px(self) -> float:
        """The median over all pairs."""
        return float(np.median(self.errors_px))

    @property
    def share_good(self) -> float:
        """The share of the pairs that are explained."""
        return float((self.errors_px < GOOD_PX).mean())

    def beats(self, other: "Explanation", factor: float) -> bool:
        """Whether errors are smaller by ``factor`` in the middle, in far more pairs than by chance.

        A sign test over the pairs, one-sided.
        """
        ratio = other.errors_px.clip(FLOOR_PX) / self.errors_px.clip(FLOOR_PX)
        better, worse = int((ratio > 1).sum()), int((ratio < 1).sum())
        likely = binomial_tail(better, better + worse) > SIGNIFICANCE
        few = better + worse < math.ceil(-math.log2(SIGNIFICANCE))
        if likely and not (few and worse == 0 and better >= LEAST_PAIRS):
            return False
        return float(np.median(ratio)) > factor and math.exp(other.score - self.score) > factor


def binomial_tail(successes: int, trials: int) -> float:
    """The probability of at least so many heads among fair coins."""
    return sum(math.comb(trials, count) for count in range(successes, trials + 1)) / 2**trials
