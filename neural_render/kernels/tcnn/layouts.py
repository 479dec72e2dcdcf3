"""Our parameters as tiny-cuda-nn's modules take them, and back: pure functions on tensors.

Grid: the levels' rows one after another, each row's features together, as in our ``xor`` tables.
Network: the layers' matrices one after another, each row-major ``[outputs inputs]``, with inputs
and outputs filled up to a multiple of 16. It sets the inputs that it adds to 1 (`Identity`), so
that their weights must be 0. Widths are filled up as well: a unit without weights changes nothing.

Source: https://github.com/NVlabs/tiny-cuda-nn, ``DOCUMENTATION.md`` for what a module is asked
with, ``encodings/grid.h``, ``encodings/identity.h``, ``networks/fully_fused_mlp.h`` and
``networks/cutlass_mlp.h`` for where its parameters lie.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from neural_render.core.errors import KernelError
from neural_render.kernels.specs import HashGridSpec, MlpSpec

ALIGNMENT = 16  # of inputs, units and outputs
FULLY_FUSED_WIDTHS = (16, 32, 64, 128)
FEATURES = (1, 2, 4, 8)  # of one level


def check_grid(spec: HashGridSpec) -> None:
    """KernelError if tiny-cuda-nn has no such grid."""
    if spec.hash != "xor":
        raise KernelError(
            f"kernels.backend=tcnn opens grids of field.grid.hash=xor only, and this one is"
            f" {spec.hash}: train with field.grid.hash=xor, or leave kernels.backend out."
        )
    if spec.features not in FEATURES:
        raise KernelError(
            f"kernels.backend=tcnn takes field.grid.features of {', '.join(map(str, FEATURES))},"
            f" not {spec.features}; choose one of these, or leave kernels.backend out."
        )


def grid_config(spec: HashGridSpec) -> dict[str, Any]:
    """What a ``tinycudann.Encoding`` is asked with."""
    return {
        "otype": "Grid",
        "type": "Hash",
        "n_levels": spec.levels,
        "n_features_per_level": spec.features,
        "log2_hashmap_size": spec.log2_rows,
        "base_resolution": spec.coarsest,
        "per_level_scale": spec.growth,
        "interpolation": "Linear",
    }


def network_config(spec: MlpSpec) -> dict[str, Any]:
    """What a ``tinycudann.Network`` is asked with."""
    width = _aligned(spec.width)
    fused = spec.hidden_layers > 0 and width in FULLY_FUSED_WIDTHS
    return {
        "otype": "FullyFusedMLP" if fused else "CutlassMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": width,
        "n_hidden_layers": spec.hidden_layers,
    }


def table_to_tcnn(table: Float[Tensor, "rows features"]) -> Float[Tensor, " parameters"]:
    """A grid's parameters; differentiable."""
    return table.reshape(-1)


def weights_to_tcnn(
    weights: Float[Tensor, " weights"], spec: MlpSpec
) -> Float[Tensor, " parameters"]:
    """A network's parameters, 0 where there is no weight of ours; differentiable."""
    matrices = []
    sizes = [outputs * inputs for outputs, inputs in spec.layer_shapes]
    for part, shape in zip(weights.split(sizes), spec.layer_shapes, strict=True):
        more_outputs, more_inputs = (_aligned(size) - size for size in shape)
        matrix = pad(part.reshape(shape), (0, more_inputs, 0, more_outputs))
        matrices.append(matrix.flatten())
    return torch.cat(matrices)


def _aligned(size: int) -> int:
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
