"""Whole numbers as streams: they come back, and no stream takes more memory than was stated."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_render.training.packages.streams import (
    LARGEST,
    packed_numbers,
    smallest_stream,
    unpacked,
    unpacked_numbers,
)


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1, max_size=50))
def test_numbers_come_back(values):
    numbers = np.array(values, np.int32)
    stream, planes = packed_numbers(numbers)
    assert planes == 1 + (abs(2 * numbers - (numbers > 0)).max() > 255)
    assert np.array_equal(unpacked_numbers(stream, len(numbers), planes), numbers)


def test_small_numbers_take_one_plane_and_few_bits():
    numbers = np.random.default_rng(0).geometric(0.5, 100_000).astype(np.int32) - 1
    stream, planes = packed_numbers(numbers)
    assert planes == 1
    assert 8 * len(stream) / len(numbers) < 2.2  # the entropy is 2


def test_what_repeats_is_told_from_what_does_not():
    noise = np.random.default_rng(0).integers(0, 256, 10_000, np.uint8).tobytes()
    for data in (noise, b"abc" * 5000):
        assert unpacked(smallest_stream(data), len(data)).tobytes() == data
    assert len(smallest_stream(b"abc" * 5000)) < 100


@pytest.mark.parametrize(
    ("stream", "size", "words"),
    [
        (zlib.compress(bytes(1000)), 999, "does not hold the 999 bytes"),
        (zlib.compress(bytes(1000)), 1001, "does not hold the 1001 bytes"),
        (zlib.compress(bytes(1000)), 1 << 40, "unpack to 1099511627776, which they cannot"),
        (zlib.compress(bytes(1000))[:-1], 1000, "does not hold"),
        (zlib.compress(bytes(1000)) + b"x", 1000, "does not hold"),
        (zlib.compress(bytes(100_000_000)), 1000, "does not hold the 1000 bytes"),
        (b"no stream at all, but long enough", 1000, "is damaged"),
        (b"", 10, "which they cannot"),
    ],
)
def test_a_stream_that_is_another_is_refused(stream, size, words):
    with pytest.raises(ValueError, match=words):
        unpacked(stream, size)
