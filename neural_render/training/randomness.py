"""Randomness that depends on nothing but (seed, step, purpose): no state to save or to lose."""

import torch

PURPOSES = ("initialise", "rays", "march", "occupancy", "settle", "errors", "fit", "film")
PURPOSES += ("splats",)


def generator_for(seed: int, step: int, purpose: str, device: torch.device) -> torch.Generator:
    """A fresh generator for one purpose of one step."""
    key = mixed(mixed(mixed(seed) ^ step) ^ PURPOSES.index(purpose))
    return torch.Generator(device).manual_seed(key)


def mixed(value: int) -> int:
    """A 64-bit hash (splitmix64's finaliser; Steele, Lea and Flood 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)
