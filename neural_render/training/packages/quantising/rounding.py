"""Rounds a level's entries so that they take few bits.

Legend: v an entry, d the level's step, x = v / d, q the whole number that v becomes, b(q) its bits
(the logarithm of how often it occurs), w how much the mean squared error of pictures grows with the
entry's squared error.

What counts is w (v - q d)^2 + lambda b(q) (Sullivan and Wiegand 1998, "Rate-distortion
optimization for video compression"). At small steps an entry has log2(1/d) bits and an error of
d^2 / 12, so that lambda = w d^2 ln(2) / 6, and what counts is proportional to
(6 / ln 2) (x - q)^2 + b(q): the choice depends on x alone.
"""

import math

import numpy as np
from jaxtyping import Bool, Float32, Int32

from neural_render.training.packages.streams import LARGEST

ROUNDS = 4  # in which numbers and their frequencies settle


def quantised(
    entries: Float32[np.ndarray, "rows features"],
    live: Bool[np.ndarray, " rows"],
    step: float,
) -> Int32[np.ndarray, "rows features"]:
    """Whole numbers that times ``step`` are near the entries of live rows; zeros elsewhere."""
    numbers = np.zeros(entries.shape, np.int32)
    if live.any():
        numbers[live] = _rounded(entries[live] / np.float32(step))
    return numbers


def smallest_step(entries: Float32[np.ndarray, "rows features"]) -> float:
    """Below it, the largest entry has no number."""
    return float(np.abs(entries).max(initial=0.0)) / LARGEST


def _rounded(x: Float32[np.ndarray, "rows features"]) -> Int32[np.ndarray, "rows features"]:
    nearest = np.rint(x).clip(-LARGEST, LARGEST).astype(np.int32)
    choices = [nearest, nearest - np.sign(nearest), np.zeros_like(nearest)]
    errors = [np.float32(6 / math.log(2)) * (x - choice) ** 2 for choice in choices]
    first = min(0, int(nearest.min()))
    places = [choice - first for choice in choices]
    chosen = nearest
    for _ in range(ROUNDS):
        bits = _bits(chosen - first, max(int(places[0].max()), -first) + 1)
        costs = [error + bits[place] for error, place in zip(errors, places, strict=True)]
        chosen = np.choose(np.argmin(costs, axis=0), choices)
    return chosen


def _bits(
    places: Int32[np.ndarray, "rows features"], num_places: int
) -> Float32[np.ndarray, " places"]:
    """The bits of every place, if it is taken as often as in ``places``; seldom, where never."""
    counts = np.bincount(places.ravel(), minlength=num_places) + 0.1
    return np.log2(counts.sum() / counts).astype(np.float32)
