"""Randomness is a function of seed, step and purpose."""

import torch

from neural_render.training.randomness import PURPOSES, generator_for, mixed

CPU = torch.device("cpu")


def test_same_key_same_numbers():
    first, again = (torch.rand(5, generator=generator_for(3, 7, "rays", CPU)) for _ in range(2))
    assert torch.equal(first, again)


def test_every_part_of_the_key_matters():
    keys = [(seed, step, purpose) for seed in (0, 1) for step in (0, 1, 2) for purpose in PURPOSES]
    seeds = {generator_for(*key, CPU).initial_seed() for key in keys}
    assert len(seeds) == len(keys)


def test_splitmix64_known_values():
    # The first outputs of the generator seeded with 0 (the reference implementation's).
    assert mixed(0) == 0xE220A8397B1DCDAF
    assert mixed(0x9E3779B97F4A7C15) == 0x6E789E6AA1B965F4
