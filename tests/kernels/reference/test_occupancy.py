"""Counter-based randomness: splitmix64's own numbers."""

import torch

from neural_render.kernels.reference.occupancy import _random_numbers


def test_random_numbers_are_those_of_splitmix64() -> None:
    """Seed 0, as every implementation of it gives them."""
    numbers = _random_numbers(0, torch.arange(3))
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [number % (1 << 64) for number in numbers.tolist()] == expected
