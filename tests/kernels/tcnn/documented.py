"""tiny-cuda-nn a second time: what its sources say, number by number, in plain loops.

It knows nothing of the package and takes what the library takes: a configuration and one flat
vector of parameters. Written from https://github.com/NVlabs/tiny-cuda-nn at commit 6ee3546, file
and function named at each step; no GPU, no half precision.
"""

import math
from typing import Any

import numpy as np

PRIMES = (1, 2654435761, 805459861, 3674653429)  # common_device.h, coherent_prime_hash
MAX_BASES = (0, 0xFFFFFFFF, 0xFFFF, 0x659, 0xFF)  # common_device.h, grid_index
Config = dict[str, Any]


def next_multiple(value: int, divisor: int) -> int:
    """common_host.h."""
    return -(-value // divisor) * divisor


def grid_scale(level: int, config: Config) -> float:
    """common_device.h, in single precision: ``exp2f(level * log2(growth)) * base - 1``."""
    log2_growth = np.float32(math.log2(np.float32(config["per_level_scale"])))
    power = np.float32(2.0 ** float(np.float32(level) * log2_growth))
    return float(power * np.float32(config["base_resolution"]) - np.float32(1))


def grid_resolution(scale: float) -> int:
    """common_device.h."""
    return math.ceil(scale) + 1


def level_offsets(dims: int, config: Config) -> list[int]:
    """encodings/grid.h, constructor: the first entry of each level, and the number of all."""
    offsets = [0]
    for level in range(config["n_levels"]):
        entries = grid_resolution(grid_scale(level, config)) ** dims
        entries = next_multiple(min(entries, 0xFFFFFFFF // 2), 8)
        offsets.append(offsets[-1] + min(entries, 1 << config["log2_hashmap_size"]))
    return offsets


def grid_index(corner: list[int], resolution: int, hashmap_size: int) -> int:
    """common_device.h: strides while they fit, else the hash; both in 32 bits."""
    stride, index = 1, 0
    if resolution <= MAX_BASES[len(corner)]:
        for coordinate in corner:
            index = (index + coordinate * stride) & 0xFFFFFFFF
            stride = (stride * resolution) & 0xFFFFFFFF
    else:
        stride = 0xFFFFFFFF
    if hashmap_size < stride:
        index = 0
        for coordinate, prime in zip(corner, PRIMES, strict=False):
            index ^= (coordinate * prime) & 0xFFFFFFFF
    return index % hashmap_size


def encode(points: np.ndarray, parameters: np.ndarray, config: Config) -> np.ndarray:
    """encodings/grid.h, kernel_grid: features of points, level after level."""
    assert (config["otype"], config["type"], config["interpolation"]) == ("Grid", "Hash", "Linear")
    num_points, dims = points.shape
    num_features = config["n_features_per_level"]
    offsets = level_offsets(dims, config)
    assert len(parameters) == offsets[-1] * num_features
    features = np.zeros((num_points, config["n_levels"] * num_features))
    for level in range(config["n_levels"]):
        scale = grid_scale(level, config)
        resolution, size = grid_resolution(scale), offsets[level + 1] - offsets[level]
        for number, point in enumerate(points):
            position = [float(coordinate) * scale + 0.5 for coordinate in point]  # pos_fract
            cell = [math.floor(coordinate) for coordinate in position]
            for corner_number in range(1 << dims):
                corner, weight = list(cell), 1.0
                for axis in range(dims):
                    fraction = position[axis] - cell[axis]
                    right = corner_number >> axis & 1
                    corner[axis] += right
                    weight *= fraction if right else 1.0 - fraction
                entry = offsets[level] + grid_index(corner, resolution, size)
                for feature in range(num_features):
                    value = parameters[entry * num_features + feature]
                    features[number, level * num_features + feature] += weight * value
    return features


def network(
    inputs: np.ndarray, num_outputs: int, parameters: np.ndarray, config: Config
) -> np.ndarray:
    """networks/fully_fused_mlp.h and cutlass_mlp.h behind encodings/identity.h.

    Both hold the same row-major matrices (``GPUMatrix<T, RM>``), inputs and outputs padded to
    multiples of 16; the identity encoding pads its inputs with ones.
    """
    assert (config["activation"], config["output_activation"]) == ("ReLU", "None")
    width, num_hidden = config["n_neurons"], config["n_hidden_layers"]
    if config["otype"] == "FullyFusedMLP":
        assert width in (16, 32, 64, 128) and num_hidden > 0
    else:
        assert config["otype"] == "CutlassMLP" and width % 8 == 0
    values = np.ones((len(inputs), next_multiple(inputs.shape[1], 16)))
    values[:, : inputs.shape[1]] = inputs
    sizes = [values.shape[1], *[width] * num_hidden, next_multiple(num_outputs, 16)]
    start = 0
    for layer in range(num_hidden + 1):
        columns, rows = sizes[layer], sizes[layer + 1]
        outputs = np.zeros((len(values), rows))
        for row in range(rows):
            first = start + row * columns
            outputs[:, row] = values @ parameters[first : first + columns]
        start += rows * columns
        values = np.maximum(outputs, 0) if layer < num_hidden else outputs
    assert start == len(parameters)
    return values[:, :num_outputs]


def harmonics(unit_cube: np.ndarray) -> np.ndarray:
    """encodings/spherical_harmonics.h and common_device.h, sh_enc, degree 4, in closed form.

    Directions come as ``(v + 1) / 2``.
    """
    x, y, z = (2 * unit_cube - 1).T
    pi = math.sqrt(math.pi)
    values = [
        np.full_like(x, 1 / (2 * pi)),
        -math.sqrt(3) * y / (2 * pi),
        math.sqrt(3) * z / (2 * pi),
        -math.sqrt(3) * x / (2 * pi),
        math.sqrt(15) * x * y / (2 * pi),
        -math.sqrt(15) * y * z / (2 * pi),
        math.sqrt(5) * (3 * z**2 - 1) / (4 * pi),
        -math.sqrt(15) * x * z / (2 * pi),
        math.sqrt(15) * (x**2 - y**2) / (4 * pi),
        math.sqrt(70) * y * (-3 * x**2 + y**2) / (8 * pi),
        math.sqrt(105) * x * y * z / (2 * pi),
        math.sqrt(42) * y * (1 - 5 * z**2) / (8 * pi),
        math.sqrt(7) * z * (5 * z**2 - 3) / (4 * pi),
        math.sqrt(42) * x * (1 - 5 * z**2) / (8 * pi),
        math.sqrt(105) * z * (x**2 - y**2) / (4 * pi),
        math.sqrt(70) * x * (-(x**2) + 3 * y**2) / (8 * pi),
    ]
    return np.stack(values, axis=1)
